package wg

import (
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/sdn-tunnel/sdn-tunnel/internal/mesh"
)

// How often names are looked up: again while they work, and ever more slowly from
// retryMin to again while they do not.
const (
	lookupAgain   = time.Minute
	retryMin      = time.Second
	lookupTimeout = 5 * time.Second
)

// Resolver looks names up; *net.Resolver is one.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// names keeps the addresses of peers whose endpoints are DNS names. What was found
// last stays in use while a name cannot be looked up.
type names struct {
	resolver Resolver
	log      *slog.Logger
	poke     chan struct{} // the set of hosts changed

	mu    sync.Mutex
	hosts map[string]*name
}

type name struct {
	addr netip.Addr // invalid: never found
	next time.Time
	wait time.Duration // before the next attempt after a failure
}

func newNames(r Resolver, log *slog.Logger) *names {
	return &names{resolver: r, log: log, poke: make(chan struct{}, 1), hosts: map[string]*name{}}
}

// want sets which endpoints are to be kept resolved.
func (n *names) want(peers []mesh.Peer) {
	n.mu.Lock()
	defer n.mu.Unlock()
	wanted := map[string]bool{}
	for _, p := range peers {
		if _, err := netip.ParseAddr(p.Endpoint.Host); err != nil && p.Endpoint.Host != "" {
			wanted[p.Endpoint.Host] = true
		}
	}
	changed := false
	for h := range n.hosts {
		if !wanted[h] {
			delete(n.hosts, h)
			changed = true
		}
	}
	for h := range wanted {
		if n.hosts[h] == nil {
			n.hosts[h] = &name{}
			changed = true
		}
	}
	if changed {
		select {
		case n.poke <- struct{}{}:
		default:
		}
	}
}

// addrPort is where an endpoint is at the moment; invalid if that is not known yet.
func (n *names) addrPort(e mesh.Endpoint) netip.AddrPort {
	a, err := netip.ParseAddr(e.Host)
	if err != nil {
		n.mu.Lock()
		defer n.mu.Unlock()
		if h := n.hosts[e.Host]; h != nil {
			a = h.addr
		}
	}
	if !a.IsValid() {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(a.Unmap(), e.Port)
}

// run looks names up when they are due, until ctx ends, and calls notify when an
// address changed.
func (n *names) run(ctx context.Context, notify func()) {
	for {
		host, due := n.nextDue()
		timer := time.NewTimer(time.Until(due))
		if host == "" {
			timer.Stop()
		}
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-n.poke:
			timer.Stop()
		case <-timer.C:
			if n.lookup(ctx, host) {
				notify()
			}
		}
	}
}

func (n *names) nextDue() (host string, due time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for h, s := range n.hosts {
		if host == "" || s.next.Before(due) {
			host, due = h, s.next
		}
	}
	return host, due
}

// lookup tells whether the address of host is another one than before. An address that
// is still among those of the name is kept.
func (n *names) lookup(ctx context.Context, host string) bool {
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	found, err := n.resolver.LookupNetIP(ctx, "ip", host)
	n.mu.Lock()
	defer n.mu.Unlock()
	s := n.hosts[host]
	if s == nil {
		return false
	}
	if err != nil || len(found) == 0 {
		s.wait = min(max(2*s.wait, retryMin), lookupAgain)
		s.next = time.Now().Add(s.wait)
		n.log.Warn("a peer's endpoint cannot be resolved", "host", host, "kept", s.addr, "again", s.wait, "error", err)
		return false
	}
	s.wait, s.next = 0, time.Now().Add(lookupAgain)
	// Resolvers may answer ::ffff:192.0.2.1 for 192.0.2.1; kept is the plain form.
	if slices.ContainsFunc(found, func(a netip.Addr) bool { return a.Unmap() == s.addr }) {
		return false
	}
	s.addr = found[0].Unmap()
	return true
}
