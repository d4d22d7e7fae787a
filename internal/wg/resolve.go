package wg

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"k8s.io/client-go/util/workqueue"

	"github.com/sdn-tunnel/sdn-tunnel/internal/mesh"
)

// How often names are looked up: again while they work, and ever more slowly from
// retryMin to again while they do not.
const (
	lookupAgain   = time.Minute
	retryMin      = time.Second
	lookupTimeout = 5 * time.Second
	// lookupsAtOnce is how many names of one cluster are looked up at the same time.
	lookupsAtOnce = 4
)

// Resolver looks names up; *net.Resolver is one.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// names keeps the addresses of peers whose endpoints are DNS names. What was found
// last stays in use while a name cannot be looked up. Each cluster's names are looked up
// apart from those of others: if nobody answers for them, only they wait.
type names struct {
	resolver Resolver
	log      *slog.Logger

	mu       sync.Mutex
	clusters map[string]*clusterNames
	within   []netip.Prefix      // networks that the mesh carries: no node's endpoint is in one
	begin    func(*clusterNames) // looks its names up; nil: run is not running
}

type clusterNames struct {
	addrs map[string]netip.Addr // by host; invalid: never found
	queue hostQueue             // while run is running
}

type hostQueue = workqueue.TypedRateLimitingInterface[string]

func newNames(r Resolver, log *slog.Logger) *names {
	return &names{resolver: r, log: log, clusters: map[string]*clusterNames{}}
}

// want sets which endpoints are to be kept resolved.
func (n *names) want(dp mesh.DataPlane) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.within = slices.Concat(dp.LocalPods, dp.Remote, dp.RemoteService, dp.RemoteTunnel)
	wanted := map[string]map[string]bool{}
	for _, p := range dp.Peers {
		if _, err := netip.ParseAddr(p.Endpoint.Host); err == nil || p.Endpoint.Host == "" {
			continue
		}
		if wanted[p.Ref.Cluster] == nil {
			wanted[p.Ref.Cluster] = map[string]bool{}
		}
		wanted[p.Ref.Cluster][p.Endpoint.Host] = true
	}
	for cluster, c := range n.clusters {
		maps.DeleteFunc(c.addrs, func(host string, _ netip.Addr) bool { return !wanted[cluster][host] })
		if len(c.addrs) == 0 {
			c.end()
			delete(n.clusters, cluster)
		}
	}
	for cluster, hosts := range wanted {
		n.add(cluster, hosts)
	}
}

// add has a cluster's hosts looked up, those that are new.
func (n *names) add(cluster string, hosts map[string]bool) {
	c := n.clusters[cluster]
	if c == nil {
		c = &clusterNames{addrs: map[string]netip.Addr{}}
		n.clusters[cluster] = c
		if n.begin != nil {
			n.begin(c)
		}
	}
	for host := range hosts {
		if _, known := c.addrs[host]; known {
			continue
		}
		c.addrs[host] = netip.Addr{}
		if c.queue != nil {
			c.queue.Add(host)
		}
	}
}

func (c *clusterNames) end() {
	if c.queue != nil {
		c.queue.ShutDown()
		c.queue = nil
	}
}

// addrPort is where a cluster's endpoint is at the moment; invalid if that is not known yet.
func (n *names) addrPort(cluster string, e mesh.Endpoint) netip.AddrPort {
	a, err := netip.ParseAddr(e.Host)
	if err != nil {
		n.mu.Lock()
		defer n.mu.Unlock()
		if c := n.clusters[cluster]; c != nil {
			a = c.addrs[e.Host]
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
	var lookups sync.WaitGroup
	begin := func(c *clusterNames) {
		queue := workqueue.NewTypedRateLimitingQueue(workqueue.NewTypedItemExponentialFailureRateLimiter[string](retryMin, lookupAgain))
		for host := range c.addrs {
			queue.Add(host)
		}
		for range lookupsAtOnce {
			lookups.Go(func() {
				for host, over := queue.Get(); !over; host, over = queue.Get() {
					if n.lookup(ctx, c, queue, host) {
						notify()
					}
					queue.Done(host)
				}
			})
		}
		c.queue = queue
	}
	n.mu.Lock()
	n.begin = begin
	for _, c := range n.clusters {
		begin(c)
	}
	n.mu.Unlock()
	<-ctx.Done()
	n.mu.Lock()
	n.begin = nil
	for _, c := range n.clusters {
		c.end()
	}
	n.mu.Unlock()
	lookups.Wait()
}

// ask gives the addresses of a name that can be a node's, in their plain form: resolvers may
// answer ::ffff:192.0.2.1 for 192.0.2.1. A member says what its names lead to: to addresses
// that every node has, or that are behind the tunnel, nothing is sent.
func (n *names) ask(ctx context.Context, host string) ([]netip.Addr, error) {
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	found, err := n.resolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	var usable []netip.Addr
	for _, a := range found {
		a = a.Unmap()
		if a.IsGlobalUnicast() && !slices.ContainsFunc(n.within, func(p netip.Prefix) bool { return p.Contains(a) }) {
			usable = append(usable, a)
		}
	}
	if len(usable) == 0 {
		return nil, fmt.Errorf("it leads to %v, of which none can be a node's address on the underlay", found)
	}
	return usable, nil
}

// lookup tells whether the address of host is another one than before. An address that
// is still among those of the name is kept.
func (n *names) lookup(ctx context.Context, c *clusterNames, queue hostQueue, host string) bool {
	n.mu.Lock()
	kept, wanted := c.addrs[host]
	n.mu.Unlock()
	if !wanted || ctx.Err() != nil {
		queue.Forget(host)
		return false
	}
	found, err := n.ask(ctx, host)
	if err != nil {
		if queue.NumRequeues(host) == 0 {
			n.log.Warn("a peer's endpoint cannot be resolved; it is tried again", "host", host, "kept", kept, "error", err)
		}
		queue.AddRateLimited(host)
		return false
	}
	if queue.NumRequeues(host) > 0 {
		n.log.Info("a peer's endpoint is resolved again", "host", host)
	}
	queue.Forget(host)
	queue.AddAfter(host, lookupAgain)
	if slices.Contains(found, kept) {
		return false
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if _, wanted = c.addrs[host]; wanted {
		c.addrs[host] = found[0]
	}
	return wanted
}
