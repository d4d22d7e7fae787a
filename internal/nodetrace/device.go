package nodetrace

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/sdn-tunnel/sdn-tunnel/internal/diagnose"
)

// readDevice reads WireGuard. What is secret in it goes no further than this file.
func (l *looker) readDevice(ctx context.Context) (*wgtypes.Device, error) {
	return within(ctx, deviceTimeout, func() (dev *wgtypes.Device, err error) {
		err = l.Namespace.Do(func() error {
			c, err := wgctrl.New()
			if err != nil {
				return fmt.Errorf("open WireGuard's control: %w", err)
			}
			defer c.Close()
			dev, err = c.Device(deviceLink)
			if err != nil {
				return fmt.Errorf("read %s: %w", deviceLink, err)
			}
			dev.PrivateKey = wgtypes.Key{}
			return nil
		})
		return dev, err
	})
}

// device is what is shown of WireGuard: peers that were asked for, or that have one of the
// addresses, with what came and went between the two readings.
func (l *looker) device(before, after *wgtypes.Device) *diagnose.Device {
	d := &diagnose.Device{PublicKey: after.PublicKey.String(), ListenPort: after.ListenPort, Peers: []diagnose.DevicePeer{}}
	counted := map[wgtypes.Key]wgtypes.Peer{}
	for _, p := range before.Peers {
		counted[p.PublicKey] = p
	}
	for _, p := range after.Peers {
		peer := diagnose.DevicePeer{PublicKey: p.PublicKey.String(), AllowedIPs: []netip.Prefix{},
			Received: p.ReceiveBytes - counted[p.PublicKey].ReceiveBytes, Sent: p.TransmitBytes - counted[p.PublicKey].TransmitBytes}
		if p.Endpoint != nil {
			peer.Endpoint = p.Endpoint.String()
		}
		if !p.LastHandshakeTime.IsZero() {
			peer.LastHandshake = new(p.LastHandshakeTime.UTC())
		}
		for _, n := range p.AllowedIPs {
			if a, ok := netip.AddrFromSlice(n.IP); ok {
				bits, _ := n.Mask.Size()
				peer.AllowedIPs = append(peer.AllowedIPs, netip.PrefixFrom(a.Unmap(), bits))
			}
		}
		if l.concerns(peer) {
			d.Peers = append(d.Peers, peer)
		}
	}
	return d
}

func (l *looker) concerns(p diagnose.DevicePeer) bool {
	asked := slices.ContainsFunc(l.ask.Peers, func(a diagnose.PeerAsk) bool { return a.PublicKey == p.PublicKey })
	return asked || slices.ContainsFunc(l.addresses(), func(a netip.Addr) bool {
		return slices.ContainsFunc(p.AllowedIPs, func(n netip.Prefix) bool { return n.Contains(a) })
	})
}

// addresses are all those that were asked about.
func (l *looker) addresses() []netip.Addr {
	all := slices.Clone(l.ask.Routes)
	for _, p := range l.ask.Peers {
		if p.TunnelAddress.IsValid() {
			all = append(all, p.TunnelAddress)
		}
	}
	return all
}

const (
	// patience is how soon peers that are there have answered.
	patience = 300 * time.Millisecond
	// brief is enough where there are sessions: packets are sent by them, and not only every
	// 5 s (REKEY_TIMEOUT) when a handshake is tried anew.
	brief = 2500 * time.Millisecond
	// session is for how long one lives (REJECT_AFTER_TIME).
	session = 180 * time.Second
)

// patience is for how long peers are waited for.
func (l *looker) patience(dev *wgtypes.Device) time.Duration {
	for _, a := range l.ask.Peers {
		i := slices.IndexFunc(dev.Peers, func(p wgtypes.Peer) bool { return p.PublicKey.String() == a.PublicKey })
		if i >= 0 && time.Since(dev.Peers[i].LastHandshakeTime) > session {
			return l.ask.Watch
		}
	}
	return min(brief, l.ask.Watch)
}

// tunnel has the peers answer through the tunnel, while it watches WireGuard's counters and
// the datagrams at its port.
func (l *looker) tunnel(ctx context.Context) {
	before, err := l.readDevice(ctx)
	if err != nil {
		l.set(func(v *diagnose.NodeView) { v.DeviceError = err.Error() })
		before = &wgtypes.Device{ListenPort: int(l.plan.ListenPort)}
	}
	port := before.ListenPort
	if port == 0 {
		port = int(l.plan.ListenPort)
	}
	stop := l.listen(uint16(port))
	peers := l.pingPeers(ctx, l.patience(before))
	seen, err := stop()
	l.failed("listen at the node's interfaces", err)
	l.set(func(v *diagnose.NodeView) { v.Datagrams, v.Peers = seen, peers })
	if after, err := l.readDevice(ctx); err == nil {
		l.set(func(v *diagnose.NodeView) { v.Device, v.DeviceError = l.device(before, after), "" })
	} else {
		l.set(func(v *diagnose.NodeView) { v.DeviceError = err.Error() })
	}
	if slices.ContainsFunc(peers, func(p diagnose.PeerView) bool { return !p.Answers }) {
		rules, err := l.firewall(ctx, port)
		l.failed("the node's firewall", err)
		l.set(func(v *diagnose.NodeView) { v.Firewall = rules })
	}
}
