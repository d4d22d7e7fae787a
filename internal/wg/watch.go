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
// made by hand, nor a peer falling silent, nor the clock being set.
func (p *Part) watchPeers(ctx context.Context, notify func()) {
	next := time.NewTimer(p.cfg.CheckPeers)
	defer next.Stop()
	var c clock
	for {
		select {
		case <-ctx.Done():
			return
		case <-next.C:
			if by := c.setBy(time.Now()); by != 0 {
				p.cfg.Log.Warn("the node's clock was set: peers take no new handshakes of a clock that was set back, and are called anew when their sessions are over", "by", by.Round(time.Millisecond))
			}
			if p.drifted() {
				notify()
			}
			next.Reset(Rest(p.cfg.CheckPeers, p.count()))
		}
	}
}

// count is how many peers there are to be.
func (p *Part) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.wanted.Peers)
}

// sparing is the time without a look, for each peer: a look takes 46,000 instructions for
// each, or some 15 µs, so that is about 2 % of a processor, however many they are.
const sparing = 700 * time.Microsecond

// Rest is the time until all peers, of which there are so many, are looked at again. It does
// not go by what the last look took, for that says how busy the node is.
func Rest(interval time.Duration, peers int) time.Duration {
	return max(interval, time.Duration(peers)*sparing)
}

// drifted tells whether another Apply of the same plan would change the device. Peers whose
// sessions have lapsed it makes anew, which is no change of their configuration.
func (p *Part) drifted() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.applied {
		return false
	}
	differs := false
	var stale []netip.AddrPort
	err := p.device(func(c *wgctrl.Client, dev *wgtypes.Device) error {
		wanted, now := p.resolved(p.wanted), time.Now()
		p.ways.look(wanted, dev.Peers, now)
		stale = p.ways.due(wanted, now)
		peers, _ := diff(wanted, dev.Peers)
		differs = len(peers) > 0 || dev.PrivateKey != p.cfg.Key.raw() || dev.ListenPort != int(p.wanted.ListenPort)
		if differs {
			return nil // first things first
		}
		return p.renew(c, dev, p.ways.lapsed(wanted, now))
	})
	p.forget(stale)
	return err != nil || differs
}
