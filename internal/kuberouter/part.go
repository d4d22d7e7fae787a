package kuberouter

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/sdn-tunnel/sdn-tunnel/internal/mesh"
	"github.com/sdn-tunnel/sdn-tunnel/internal/remoteservice"
	"github.com/sdn-tunnel/sdn-tunnel/internal/tunnelns"
)

// Fit is how many services and ports of a member kube-router follows well: it goes through
// all of them for each change.
const Fit = 1000

// Config says where to balance and with what. Zero values give the defaults.
type Config struct {
	Namespace tunnelns.Namespace // the tunnel's; default: At(tunnelns.DefaultPath)
	// Inside is the link of the namespace that clients come by.
	Inside string // default: tunnelns.DefaultInside
	// Program is kube-router; default: that in PATH.
	Program string
	// MTU tells, at each Apply, that of the tunnel; nil or 0: the kernel's choice.
	MTU func() int
	Log *slog.Logger
}

func (c Config) withDefaults() Config {
	if c.Namespace == (tunnelns.Namespace{}) {
		c.Namespace = tunnelns.At(tunnelns.DefaultPath)
	}
	if c.Inside == "" {
		c.Inside = tunnelns.DefaultInside
	}
	if c.Program == "" {
		c.Program = "kube-router"
	}
	if c.MTU == nil {
		c.MTU = func() int { return 0 }
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

// Part balances the services that Services holds. Until it was told of all of them once,
// it starts nothing, and what an earlier process set up goes on.
type Part struct {
	cfg Config
	*Services

	rooms map[string]*room // Apply's alone
	steer *ruleset

	mu     sync.Mutex
	known  bool // wanted is
	wanted map[string]instanceKey
	health map[string]*health
	turn   chan struct{} // wanted has changed
}

// instanceKey is what a running kube-router depends on: another one needs a new process.
type instanceKey struct {
	node     string
	address  netip.Addr
	identity [2]uint64 // of the namespace
}

// New checks the configuration; it touches nothing.
func New(c Config) (*Part, error) {
	c = c.withDefaults()
	if c.Namespace.Path() == "" {
		return nil, errors.New("the tunnel namespace needs a name: those of the members are beside it")
	}
	if len(c.Inside) > 15 {
		return nil, fmt.Errorf("link name %q: at most 15 bytes", c.Inside)
	}
	return &Part{
		cfg: c, Services: newServices(), rooms: map[string]*room{}, steer: &ruleset{namespace: c.Namespace},
		wanted: map[string]instanceKey{}, health: map[string]*health{}, turn: make(chan struct{}, 1),
	}, nil
}

// Name is the part's name in logs and metrics.
func (*Part) Name() string { return "services" }

// Apply makes a namespace for each member that has services, leads clients to it, and takes
// those of others away. It fails as long as a member's kube-router does.
func (p *Part) Apply(ctx context.Context, dp mesh.DataPlane) (changes []string, err error) {
	p.declare(dp.RemoteClusters)
	if !dp.TunnelAddress.Is4() {
		return nil, nil // without it the node is in no mesh yet
	}
	var leads []lead
	wanted := map[string]instanceKey{}
	for _, m := range dp.RemoteClusters {
		services := slices.DeleteFunc(slices.Clone(m.Services), func(n netip.Prefix) bool { return !n.Addr().Is4() })
		if len(services) == 0 {
			continue
		}
		done, l, err := p.syncRoom(ctx, m.Name, plan{dp.TunnelAddress, services, p.cfg.MTU()})
		changes = append(changes, done...)
		if err != nil {
			return changes, err
		}
		leads = append(leads, l)
		wanted[m.Name] = instanceKey{dp.Self.Node, dp.TunnelAddress, p.rooms[m.Name].namespace.Identity()}
	}
	done, err := p.syncSteering(ctx, leads)
	changes = append(changes, done...)
	if err != nil {
		return changes, err
	}
	p.want(wanted)
	gone, err := p.removeOthers(wanted)
	return append(changes, gone...), errors.Join(err, p.failure())
}

func (p *Part) syncRoom(ctx context.Context, member string, to plan) (changes []string, l lead, err error) {
	r := p.rooms[member]
	if r == nil {
		r = newRoom(p.cfg.Namespace, member)
		p.rooms[member] = r
	}
	if changes, err = r.sync(ctx, to); err != nil {
		return changes, l, err
	}
	h, err := p.cfg.Namespace.Netlink()
	if err != nil {
		return changes, l, err
	}
	defer h.Close()
	link, err := h.LinkByName(r.link)
	if err != nil {
		return changes, l, fmt.Errorf("find %s in %v: %w", r.link, p.cfg.Namespace, err)
	}
	return changes, lead{r.link, link.Attrs().Index, to.services}, nil
}

// syncSteering leads packets: back first, then there.
func (p *Part) syncSteering(ctx context.Context, leads []lead) (changes []string, err error) {
	if len(leads) == 0 {
		changes, err = p.steer.remove(ctx, tableSteer)
	} else {
		changes, err = p.steer.sync(ctx, tableSteer, steerRules(leads))
	}
	if err != nil {
		return changes, err
	}
	done, err := syncRules(p.cfg.Namespace, p.cfg.Inside, leads)
	return append(changes, done...), err
}

// want tells Watch which kube-routers are to run.
func (p *Part) want(wanted map[string]instanceKey) {
	p.mu.Lock()
	p.known, p.wanted = true, wanted
	p.mu.Unlock()
	wake(p.turn)
}

// removeOthers takes away the namespaces of members that are not wanted any more.
func (p *Part) removeOthers(wanted map[string]instanceKey) (changes []string, err error) {
	have, err := membersWithRooms(p.cfg.Namespace)
	if err != nil {
		return nil, err
	}
	for _, member := range have {
		if _, stays := wanted[member]; stays {
			continue
		}
		delete(p.rooms, member)
		done, e := newRoom(p.cfg.Namespace, member).remove()
		changes, err = append(changes, done...), errors.Join(err, e)
	}
	return changes, errors.Join(err, p.removeStrays(wanted))
}

// removeStrays takes links away whose namespaces somebody else has deleted: as long as
// anything runs in these, they stay.
func (p *Part) removeStrays(wanted map[string]instanceKey) error {
	if !p.cfg.Namespace.Exists() {
		return nil
	}
	ours := map[string]bool{}
	for member := range wanted {
		ours[newRoom(p.cfg.Namespace, member).link] = true
	}
	h, err := p.cfg.Namespace.Netlink()
	if err != nil {
		return err
	}
	defer h.Close()
	links, err := h.LinkList()
	if err != nil {
		return fmt.Errorf("list links of %v: %w", p.cfg.Namespace, err)
	}
	for _, l := range links {
		if name := l.Attrs().Name; strings.HasPrefix(name, linkPrefix) && !ours[name] {
			err = errors.Join(err, tunnelns.DeleteLink(p.cfg.Namespace, name))
		}
	}
	return err
}

// failure says what is wrong with the kube-routers, or nil.
func (p *Part) failure() (err error) {
	for _, s := range p.Status() {
		err = errors.Join(err, s.failure())
	}
	return err
}

// Status is how the kube-routers fare, by member.
func (p *Part) Status() (all []Status) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, h := range p.health {
		all = append(all, h.status())
	}
	slices.SortFunc(all, func(a, b Status) int { return strings.Compare(a.Member, b.Member) })
	return all
}

// Stats tells how things are now: of all members, and of the slowest how long its last
// change took.
func (p *Part) Stats() remoteservice.Stats {
	s := p.stats()
	for _, k := range p.Status() {
		s.Sync = max(s.Sync, k.Sync)
	}
	return s
}

// Serving tells whether each member's services are in IPVS, all of them, or were once: then
// nothing else has to balance them.
func (p *Part) Serving() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for member := range p.wanted {
		if h := p.health[member]; h == nil || !h.status().Serving {
			return false
		}
	}
	return p.known
}

// Healthy is an error when a kube-router has been failing for longer than starting it again
// takes to help.
func (p *Part) Healthy() error {
	const hopeless = 10 * time.Minute
	for _, s := range p.Status() {
		if s.Behind > hopeless && s.failure() != nil {
			return s.failure()
		}
	}
	return nil
}

// Watch runs a kube-router for each member and calls notify when one begins or ceases to
// serve, or fails, and when something else has touched what leads to them. When ctx ends
// all of them have ended when it returns; IPVS goes on.
func (p *Part) Watch(ctx context.Context, notify func()) error {
	var group errgroup.Group
	group.Go(func() error {
		p.conduct(ctx, notify)
		return nil
	})
	group.Go(func() error {
		return tunnelns.KeepWatching(ctx, p.cfg.Log, func(ctx context.Context) error {
			return p.cfg.Namespace.WhileSame(ctx, notify,
				p.inside(unix.NETLINK_NETFILTER, tunnelns.NfTables, func(e tunnelns.Event) {
					if family, table, ok := e.RulesetTable(); e.Type == 0 || ok && family == unix.NFPROTO_IPV4 && table == tableSteer {
						notify()
					}
				}),
				p.inside(unix.NETLINK_ROUTE, unix.RTNLGRP_IPV4_RULE, func(tunnelns.Event) { notify() }),
				p.inside(unix.NETLINK_ROUTE, unix.RTNLGRP_LINK, func(tunnelns.Event) { notify() }),
			)
		})
	})
	return group.Wait()
}

// inside listens in the tunnel namespace as long as there is one.
func (p *Part) inside(family int, group uint32, event func(tunnelns.Event)) func(context.Context) error {
	return func(ctx context.Context) error {
		if !p.cfg.Namespace.Exists() {
			<-ctx.Done()
			return nil
		}
		return p.cfg.Namespace.Listen(ctx, family, []uint32{group}, event)
	}
}

// Remove takes away everything that leads to the members' namespaces, and these.
func (p *Part) Remove(ctx context.Context) error {
	_, err := p.Clear(ctx)
	return err
}

// Clear is Remove that tells what it took away, nothing where there was nothing.
func (p *Part) Clear(ctx context.Context) (changes []string, err error) {
	if p.cfg.Namespace.Exists() {
		if changes, err = p.syncSteering(ctx, nil); err != nil {
			return changes, err
		}
	}
	gone, err := p.removeOthers(nil)
	clear(p.rooms)
	return append(changes, gone...), err
}
