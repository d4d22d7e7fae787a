package wg

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/sdn-tunnel/sdn-tunnel/internal/mesh"
)

const (
	// settling is for how long after a change others may still send by the old way: until
	// their agents, the node's service proxy and the load balancer know of it.
	settling = 10 * time.Second
	// silence is longer than a living peer's keepalives let it be silent.
	silence = keepalive + 5*time.Second
	// pause is how long a peer that has just moved may not be heard from.
	pause = time.Second
	// retry is WireGuard's own interval between handshakes (REKEY_TIMEOUT).
	retry = 5 * time.Second
)

// ways knows for which peers the node's connection tracking may be wrong. It remembers
// the address translation of a load balancer's or service's flow for as long as packets
// pass, also when that service is gone: what WireGuard then sends to a peer's own address
// leaves with the address that the service had, where nothing answers any more, and each
// retry keeps the entry alive.
type ways map[mesh.Key]*way

type way struct {
	settled          time.Time
	moved            time.Time // the peer is said to be elsewhere since then
	received         int64     // as the device counts, for the peer that it has now
	heard, forgotten time.Time
	session          session
	past             traffic // of the same peer, as the device had it before it was renewed
}

type traffic struct{ rx, tx int64 }

// silent tells whether the peer should have been heard from.
func (w *way) silent(now time.Time) bool { return now.Sub(w.heard) > silence }

// astray tells whether the peer is no longer where WireGuard heard it last: it is silent,
// or it has moved of late and was not heard since the last look.
func (w *way) astray(now time.Time) bool {
	return w.silent(now) || now.Sub(w.moved) < settling && now.Sub(w.heard) >= pause
}

func (w ways) of(key mesh.Key, now time.Time) *way {
	if w[key] == nil {
		w[key] = &way{heard: now}
	}
	return w[key]
}

// changed notes that the way to these peers is another one since now.
func (w ways) changed(peers []want, now time.Time) {
	for _, p := range peers {
		s := w.of(p.PublicKey, now)
		s.settled = now.Add(settling)
		if p.moved {
			s.moved = now
		}
	}
}

// look notes who has been heard from since the last look, and which of the peers wanted
// are astray, whose session is over among them.
func (w ways) look(wanted []want, have []wgtypes.Peer, now time.Time) {
	present := make(map[wgtypes.Key]wgtypes.Peer, len(have))
	for _, p := range have {
		present[p.PublicKey] = p
	}
	known := make(map[mesh.Key]bool, len(wanted))
	for i, p := range wanted {
		known[p.PublicKey] = true
		s, there := w.of(p.PublicKey, now), present[wgtypes.Key(p.PublicKey)]
		s.session.look(there.LastHandshakeTime, now)
		if there.ReceiveBytes != s.received {
			s.received, s.heard = there.ReceiveBytes, now
		}
		wanted[i].astray = s.astray(now) || s.session.over(now)
	}
	for key := range w {
		if !known[key] {
			delete(w, key)
		}
	}
}

// due gives the endpoints whose flows are to be forgotten: those of peers whose way has
// changed of late, and of peers that are silent.
func (w ways) due(wanted []want, now time.Time) []netip.AddrPort {
	var out []netip.AddrPort
	for _, p := range wanted {
		s := w.of(p.PublicKey, now)
		silent := s.silent(now) && now.Sub(s.forgotten) >= retry
		if p.endpoint.IsValid() && (now.Before(s.settled) || silent) {
			s.forgotten = now
			out = append(out, p.endpoint)
		}
	}
	return out
}

// otherWay gives the peers that are sent to, or hear us, in another way than before.
func otherWay(wanted []want, have []wgtypes.Peer, port bool) []want {
	if port {
		return wanted
	}
	present := make(map[mesh.Key]bool, len(have))
	for _, p := range have {
		present[mesh.Key(p.PublicKey)] = true
	}
	return slices.DeleteFunc(slices.Clone(wanted), func(w want) bool { return !w.moved && present[w.PublicKey] })
}

// forget deletes from the node's connection tracking the flows that packets from the
// tunnel's port to these endpoints belong to. A right one is there again with the next
// packet.
func (p *Part) forget(endpoints []netip.AddrPort) {
	if len(endpoints) == 0 {
		return
	}
	err := p.cfg.Node.Do(func() error {
		for _, to := range endpoints {
			from, ok := sourceFor(to.Addr())
			if !ok {
				continue // no route: nothing is sent either
			}
			if err := deleteFlow(netip.AddrPortFrom(from, p.wanted.ListenPort), to); err != nil {
				return fmt.Errorf("to %v: %w", to, err)
			}
		}
		return nil
	})
	if err != nil {
		p.cfg.Log.Warn("cannot make the node forget tracked flows; a peer whose endpoint has changed may stay silent", "error", err)
	}
}

// sourceFor is the node's address that packets to another leave with.
func sourceFor(to netip.Addr) (netip.Addr, bool) {
	routes, err := netlink.RouteGet(to.AsSlice())
	if err != nil || len(routes) == 0 {
		return netip.Addr{}, false
	}
	from, ok := netip.AddrFromSlice(routes[0].Src)
	return from.Unmap(), ok
}

// deleteFlow deletes the entry of either direction that has these ends, if there is one.
func deleteFlow(from, to netip.AddrPort) error {
	family, source, destination := unix.AF_INET, nl.CTA_IP_V4_SRC, nl.CTA_IP_V4_DST
	if to.Addr().Is6() {
		family, source, destination = unix.AF_INET6, nl.CTA_IP_V6_SRC, nl.CTA_IP_V6_DST
	}
	tuple := nl.NewRtAttr(unix.NLA_F_NESTED|nl.CTA_TUPLE_ORIG, nil)
	ip := tuple.AddRtAttr(unix.NLA_F_NESTED|nl.CTA_TUPLE_IP, nil)
	ip.AddRtAttr(source, from.Addr().AsSlice())
	ip.AddRtAttr(destination, to.Addr().AsSlice())
	proto := tuple.AddRtAttr(unix.NLA_F_NESTED|nl.CTA_TUPLE_PROTO, nil)
	proto.AddRtAttr(nl.CTA_PROTO_NUM, []byte{unix.IPPROTO_UDP})
	proto.AddRtAttr(nl.CTA_PROTO_SRC_PORT, nl.BEUint16Attr(from.Port()))
	proto.AddRtAttr(nl.CTA_PROTO_DST_PORT, nl.BEUint16Attr(to.Port()))

	request := nl.NewNetlinkRequest(unix.NFNL_SUBSYS_CTNETLINK<<8|nl.IPCTNL_MSG_CT_DELETE, unix.NLM_F_ACK)
	request.AddData(&nl.Nfgenmsg{NfgenFamily: uint8(family), Version: nl.NFNETLINK_V0})
	request.AddData(tuple)
	_, err := request.Execute(unix.NETLINK_NETFILTER, 0)
	if errors.Is(err, unix.ENOENT) || untracked(err) {
		return nil
	}
	return err
}

// untracked tells from an error that the kernel tracks no connections (nfnetlink answers
// EINVAL for a subsystem that it does not have).
func untracked(err error) bool {
	return errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EPROTONOSUPPORT) || errors.Is(err, unix.EINVAL)
}
