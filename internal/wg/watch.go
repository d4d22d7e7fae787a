package wg

import (
	"context"
	"net/netip"
	"time"

	"github.com/sdn-tunnel/sdn-tunnel/internal/tunnelns"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/wgctrl"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

// Watch calls notify when a link or route of the namespace changes, a peer's name leads
// elsewhere, or the device's peers differ from those of the last Apply.
func (p *Part) Watch(ctx context.Context, notify func()) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		p.names.run(ctx, notify)
		return nil
	})
	g.Go(func() error {
		p.watchPeers(ctx, notify)
		return nil
	})
	g.Go(func() error {
		return tunnelns.KeepWatching(ctx, p.cfg.Log, func(ctx context.Context) error {
			return p.cfg.Namespace.WhileSame(ctx, notify, func(ctx context.Context) error {
				if !p.cfg.Namespace.Exists() {
					<-ctx.Done()
					return nil
				}
				return p.cfg.Namespace.Listen(ctx, unix.NETLINK_ROUTE, tunnelns.RouteGroups, func(tunnelns.Event) { notify() })
			})
		})
	})
	return g.Wait()
}

// watchPeers looks at the device at short intervals, since nothing announces changes
// made by hand, nor a peer falling silent.
func (p *Part) watchPeers(ctx context.Context, notify func()) {
	tick := time.NewTicker(p.cfg.CheckPeers)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if p.drifted() {
				notify()
			}
		}
	}
}

// drifted tells whether another Apply of the same plan would change the device.
func (p *Part) drifted() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.applied {
		return false
	}
	differs := false
	var stale []netip.AddrPort
	err := p.device(func(_ *wgctrl.Client, dev *wgtypes.Device) error {
		wanted, now := p.resolved(p.wanted), time.Now()
		p.ways.look(wanted, dev.Peers, now)
		stale = p.ways.due(wanted, now)
		peers, _ := diff(wanted, dev.Peers)
		differs = len(peers) > 0 || dev.PrivateKey != p.cfg.Key.raw() || dev.ListenPort != int(p.wanted.ListenPort)
		return nil
	})
	p.forget(stale)
	return err != nil || differs
}
