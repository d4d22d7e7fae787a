package svcproxy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	corev1 "k8s.io/api/core/v1"

	"github.com/sdn-tunnel/sdn-tunnel/internal/mesh"
	"github.com/sdn-tunnel/sdn-tunnel/internal/remoteservice"
	"github.com/sdn-tunnel/sdn-tunnel/internal/tunnelns"
)

// Config says where to balance. Zero values give the defaults.
type Config struct {
	Namespace tunnelns.Namespace // default: At(tunnelns.DefaultPath)
	// Inside is the link of the namespace that clients come by.
	Inside string // default: tunnelns.DefaultInside
	Log    *slog.Logger
}

func (c Config) withDefaults() Config {
	if c.Namespace == (tunnelns.Namespace{}) {
		c.Namespace = tunnelns.At(tunnelns.DefaultPath)
	}
	if c.Inside == "" {
		c.Inside = tunnelns.DefaultInside
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

// Part balances the services that Services holds. Until it was told of all of them once,
// it leaves what an earlier process loaded as it is.
type Part struct {
	cfg Config
	*Services

	kernel sync.Mutex // one transaction at a time
	table  table
	served map[remoteservice.Key][]netip.AddrPort // of UDP, as they were last programmed
	// waiting is the sweep that is still to be made; nil: there is none. pace says when.
	waiting *sweeper
	pace    pace
	sweep   func(sweeper) (forgotten uint, err error)
}

// New checks the configuration; it touches nothing.
func New(c Config) (*Part, error) {
	c = c.withDefaults()
	if len(c.Inside) > 15 {
		return nil, fmt.Errorf("link name %q: at most 15 bytes", c.Inside)
	}
	p := &Part{cfg: c, Services: newServices(), served: map[remoteservice.Key][]netip.AddrPort{}}
	p.table = table{namespace: c.Namespace, inside: c.Inside, own: map[uint32]bool{}}
	p.sweep = func(s sweeper) (uint, error) { return s.sweep(c.Namespace) }
	return p, nil
}

// Name is the part's name in logs and metrics.
func (*Part) Name() string { return "services" }

// Apply makes the proxy take the services of the other members that dp has, and no others.
// The routes come after the table: what comes by them and is not translated is rejected,
// and another proxy may still do that.
func (p *Part) Apply(ctx context.Context, dp mesh.DataPlane) ([]string, error) {
	networks := networksOf(dp)
	p.declare(dp.RemoteClusters, networks)
	p.drifted()
	changes, err := p.sync(ctx)
	if err != nil || !p.loaded() {
		return changes, err
	}
	routes, err := syncRoutes(p.cfg.Namespace, networks)
	return append(changes, routes...), err
}

// Serving tells whether the services are in the kernel, so that nothing else has to
// balance them.
func (p *Part) Serving() bool { return p.loaded() }

// networksOf are the service networks of the other members, as far as the table, which is
// of family ip, can have them.
func networksOf(dp mesh.DataPlane) []netip.Prefix {
	return slices.DeleteFunc(slices.Clone(dp.RemoteService), func(n netip.Prefix) bool { return !n.Addr().Is4() })
}

// syncRoutes lets packets to services that are not translated arrive in the namespace,
// where they are rejected, with the service's address as source.
func syncRoutes(n tunnelns.Namespace, networks []netip.Prefix) (changes []string, err error) {
	h, err := n.Netlink()
	if err != nil {
		return nil, err
	}
	defer h.Close()
	lo, err := h.LinkByName("lo")
	if err != nil {
		return nil, fmt.Errorf("find lo in %v: %w", n, err)
	}
	want := make([]tunnelns.Route, 0, len(networks))
	for _, dst := range networks {
		want = append(want, tunnelns.Route{Dst: dst, Local: true})
	}
	return tunnelns.SyncRoutes(h, lo, want)
}

// sync brings the table up to date with the services: what has changed, or all of it when
// it is not known what the table holds.
func (p *Part) sync(ctx context.Context) (changes []string, err error) {
	p.kernel.Lock()
	defer p.kernel.Unlock()
	began := time.Now()
	d, ok := p.take(false)
	if !ok {
		return nil, nil
	}
	if p.table.holds(d.networks) {
		if len(d.services) == 0 {
			return nil, nil
		}
		if err = p.table.change(ctx, d.services); err == nil {
			err = p.forget(d, false)
			p.note(time.Since(began))
			return nil, err
		}
		p.cfg.Log.Warn("a change of the table failed; loading all of it", "error", err)
	}
	d, _ = p.take(true)
	if err := p.table.load(ctx, d.networks, d.services); err != nil {
		return nil, err
	}
	err = p.forget(d, true)
	p.note(time.Since(began))
	return []string{fmt.Sprintf("nftables table ip %s loaded with %d ports of services", Table, len(d.services))}, err
}

// forget has flows swept away, if a UDP service has lost a backend, or if all flows are to
// be judged: they may be of a time that this process knows nothing of. While sweeps follow
// each other, those that have to rest are for sweepWaiting.
func (p *Part) forget(d due, all bool) error {
	if all {
		clear(p.served)
		p.waiting = &sweeper{backends: map[remoteservice.Key][]netip.AddrPort{}, all: true}
	}
	for k, b := range d.services {
		if k.Protocol != corev1.ProtocolUDP {
			continue
		}
		if p.waiting == nil && lost(p.served[k], b.Serve) {
			p.waiting = &sweeper{backends: map[remoteservice.Key][]netip.AddrPort{}}
		}
		if p.waiting != nil {
			p.waiting.backends[k] = b.Serve
		}
		if p.served[k] = b.Serve; len(b.Serve) == 0 {
			delete(p.served, k)
		}
	}
	if p.waiting == nil {
		return nil
	}
	p.waiting.networks = d.networks
	if !all && p.pace.wait(time.Now()) > 0 {
		p.wake() // whoever follows the changes sweeps when it is time
		return nil
	}
	return p.sweepNow()
}

// sweepNow makes the sweep that waits.
func (p *Part) sweepNow() error {
	s, began := *p.waiting, time.Now()
	p.waiting = nil
	forgotten, err := p.sweep(s)
	p.pace.swept(began, time.Now())
	if forgotten > 0 {
		p.cfg.Log.Debug("forgot UDP flows to backends that are gone", "flows", forgotten)
	}
	if err != nil {
		p.table.program = nil // all flows are judged when it is loaded again
	}
	return err
}

// sweepWaiting makes the sweep that waits, if it is time.
func (p *Part) sweepWaiting() error {
	p.kernel.Lock()
	defer p.kernel.Unlock()
	if p.waiting == nil || p.pace.wait(time.Now()) > 0 {
		return nil
	}
	return p.sweepNow()
}

// nextSweep is when that is; nil: no sweep waits.
func (p *Part) nextSweep() <-chan time.Time {
	p.kernel.Lock()
	defer p.kernel.Unlock()
	if p.waiting == nil {
		return nil
	}
	return time.After(p.pace.wait(time.Now()))
}

// Remove takes table and routes away.
func (p *Part) Remove(ctx context.Context) error {
	_, err := p.Clear(ctx)
	return err
}

// Clear is Remove that tells what it took away, nothing where there was nothing.
func (p *Part) Clear(ctx context.Context) (changes []string, err error) {
	if !p.cfg.Namespace.Exists() {
		return nil, nil
	}
	p.kernel.Lock()
	defer p.kernel.Unlock()
	// Without the routes, what is not translated any more is another proxy's at once.
	changes, routes := syncRoutes(p.cfg.Namespace, nil)
	p.waiting = nil
	there, err := p.table.remove(ctx)
	if there {
		changes = append(changes, fmt.Sprintf("nftables table ip %s deleted", Table))
	}
	return changes, errors.Join(routes, err)
}

var _ netlink.CustomConntrackFilter = sweeper{}
