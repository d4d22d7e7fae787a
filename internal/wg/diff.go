package wg

import (
	"cmp"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/sdn-tunnel/sdn-tunnel/internal/mesh"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

const (
	// keepalive keeps the way through NATs open (wg(8) recommends 25 s).
	keepalive = 25 * time.Second
	// rejectAfter is how long a session lasts: a peer whose handshake is older is not
	// heard from any more (REJECT_AFTER_TIME, WireGuard paper section 6.1).
	rejectAfter = 180 * time.Second
)

// want is a peer as it should be, its endpoint resolved.
type want struct {
	mesh.Peer
	endpoint netip.AddrPort // invalid: not known (yet)
	// moved: the endpoint differs from what this process set before.
	moved bool
	// astray: the peer is not heard from, wherever it was heard last.
	astray bool
	// keepalive is how often it is sent something, at the least; 0: need not be.
	keepalive time.Duration
	// carried are the networks that the tunnel leads to.
	carried []netip.Prefix
}

// diff is what to send to the device so that it has the peers wanted, and a line for
// each. Peers that gain allowed IPs come first: a prefix that another peer has goes
// over in that instant, and the loser needs no message at all.
func diff(wanted []want, have []wgtypes.Peer) ([]wgtypes.PeerConfig, []string) {
	present := make(map[wgtypes.Key]wgtypes.Peer, len(have))
	for _, p := range have {
		present[p.PublicKey] = p
	}
	owner := make(map[netip.Prefix]wgtypes.Key)
	for _, w := range wanted {
		for _, p := range w.AllowedIPs {
			owner[p] = wgtypes.Key(w.PublicKey)
		}
	}
	var cfgs []wgtypes.PeerConfig
	var lines []string
	for _, w := range wanted {
		key := wgtypes.Key(w.PublicKey)
		p, known := present[key]
		delete(present, key)
		c, line := newPeer(w), fmt.Sprintf("peer %v added", w.Ref)
		if known {
			c, line = changed(w, p, owner)
		}
		if line != "" {
			cfgs, lines = append(cfgs, c), append(lines, line)
		}
	}
	gone := make([]wgtypes.PeerConfig, 0, len(present))
	for key := range present {
		gone = append(gone, wgtypes.PeerConfig{PublicKey: key, Remove: true, UpdateOnly: true})
	}
	slices.SortFunc(gone, func(a, b wgtypes.PeerConfig) int { return cmp.Compare(a.PublicKey.String(), b.PublicKey.String()) })
	for _, g := range gone {
		lines = append(lines, fmt.Sprintf("peer with key %v removed", g.PublicKey))
	}
	slices.SortStableFunc(cfgs, func(a, b wgtypes.PeerConfig) int { return rank(a) - rank(b) })
	return append(cfgs, gone...), lines
}

// rank puts peers that gain before peers that lose.
func rank(c wgtypes.PeerConfig) int {
	if c.ReplaceAllowedIPs {
		return 1
	}
	return 0
}

func newPeer(w want) wgtypes.PeerConfig {
	every := w.keepalive
	return wgtypes.PeerConfig{
		PublicKey:                   wgtypes.Key(w.PublicKey),
		Endpoint:                    udpAddr(w.endpoint),
		PersistentKeepaliveInterval: &every,
		AllowedIPs:                  ipNets(w.AllowedIPs),
	}
}

// changed compares a peer that is there with the one wanted; no line, no change.
func changed(w want, have wgtypes.Peer, owner map[netip.Prefix]wgtypes.Key) (wgtypes.PeerConfig, string) {
	c := wgtypes.PeerConfig{PublicKey: have.PublicKey, UpdateOnly: true}
	var what string
	if moveEndpoint(w, have) {
		c.Endpoint = udpAddr(w.endpoint)
		what += fmt.Sprintf(" endpoint %v", w.endpoint)
	}
	if have.PersistentKeepaliveInterval != w.keepalive {
		every := w.keepalive
		c.PersistentKeepaliveInterval = &every
		what += fmt.Sprintf(" keepalive %v", every)
	}
	gains, losses := allowedDiff(w, have, owner)
	switch {
	case len(losses) > 0:
		c.ReplaceAllowedIPs, c.AllowedIPs = true, ipNets(w.AllowedIPs)
	case len(gains) > 0:
		c.AllowedIPs = ipNets(gains)
	}
	if len(gains)+len(losses) > 0 {
		what += fmt.Sprintf(" allowed IPs +%v -%v", gains, losses)
	}
	if what == "" {
		return c, ""
	}
	return c, fmt.Sprintf("peer %v:%s", w.Ref, what)
}

// allowedDiff leaves out of the losses what goes to another peer anyway: giving that
// peer the prefix takes it from this one.
func allowedDiff(w want, have wgtypes.Peer, owner map[netip.Prefix]wgtypes.Key) (gains, losses []netip.Prefix) {
	current := prefixes(have.AllowedIPs)
	for _, p := range w.AllowedIPs {
		if !slices.Contains(current, p) {
			gains = append(gains, p)
		}
	}
	for _, p := range current {
		if slices.Contains(w.AllowedIPs, p) {
			continue
		}
		if o, taken := owner[p]; !taken || o == have.PublicKey {
			losses = append(losses, p)
		}
	}
	return gains, losses
}

// moveEndpoint says whether to overwrite the peer's endpoint, which is where WireGuard
// heard it last: when there is none, when the wanted one is another than before, when the
// peer is astray, or when what is sent there would come back into the tunnel: a node that
// changes its addresses may for a moment send with the one of its pod network.
func moveEndpoint(w want, have wgtypes.Peer) bool {
	at := addrPort(have.Endpoint)
	if !w.endpoint.IsValid() || at == w.endpoint {
		return false
	}
	within := func(n netip.Prefix) bool { return n.Contains(at.Addr()) }
	return have.Endpoint == nil || w.moved || w.astray || slices.ContainsFunc(w.carried, within)
}

func udpAddr(a netip.AddrPort) *net.UDPAddr {
	if !a.IsValid() {
		return nil
	}
	return net.UDPAddrFromAddrPort(a)
}

func addrPort(a *net.UDPAddr) netip.AddrPort {
	if a == nil {
		return netip.AddrPort{}
	}
	ap := a.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}

func ipNets(ps []netip.Prefix) []net.IPNet {
	nets := make([]net.IPNet, len(ps))
	for i, p := range ps {
		nets[i] = net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
	}
	return nets
}

func prefixes(nets []net.IPNet) []netip.Prefix {
	ps := make([]netip.Prefix, 0, len(nets))
	for _, n := range nets {
		if a, ok := netip.AddrFromSlice(n.IP); ok {
			bits, _ := n.Mask.Size()
			ps = append(ps, netip.PrefixFrom(a.Unmap(), bits))
		}
	}
	slices.SortFunc(ps, func(a, b netip.Prefix) int { return cmp.Or(a.Addr().Compare(b.Addr()), a.Bits()-b.Bits()) })
	return ps
}
