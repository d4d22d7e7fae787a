package agent

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	networkv1 "github.com/openshift/api/network/v1"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	"github.com/sdn-tunnel/sdn-tunnel/api/v1alpha1"
	"github.com/sdn-tunnel/sdn-tunnel/internal/mesh"
	"github.com/sdn-tunnel/sdn-tunnel/internal/meshobj"
)

// Cluster is the API of the node's own cluster, as far as the agent reads it: the
// members, the nodes of all of them, its own Node, with OpenShift SDN its own HostSubnet,
// and the mirrors of remote services. It is the loop's Observer.
type Cluster struct {
	self mesh.Ref
	port uint16
	log  *slog.Logger

	tunnel, core, network, discovery, events rest.Interface

	members *store[v1alpha1.LinkedCluster, *v1alpha1.LinkedCluster]
	nodes   *store[v1alpha1.TunnelNode, *v1alpha1.TunnelNode]
	node    *store[corev1.Node, *corev1.Node]
	subnet  *store[networkv1.HostSubnet, *networkv1.HostSubnet]

	namespace string   // of the mirrored EndpointSlices
	services  Services // nil: nobody wants them

	sdn       atomic.Pointer[bool] // OpenShift SDN serves HostSubnets; nil: not known yet
	connected atomic.Bool
}

// NewCluster makes the clients; it asks nothing yet. port is the mesh's default UDP port.
func NewCluster(access *rest.Config, self mesh.Ref, port uint16, log *slog.Logger) (*Cluster, error) {
	c := &Cluster{
		self: self, port: port, log: log,
		members: newStore[v1alpha1.LinkedCluster](), nodes: newStore[v1alpha1.TunnelNode](),
		node: newStore[corev1.Node](), subnet: newStore[networkv1.HostSubnet](),
	}
	access = rest.CopyConfig(access)
	access.QPS, access.Burst = 20, 40
	access.Wrap(func(next http.RoundTripper) http.RoundTripper { return &witness{next: next, cluster: c} })
	scheme := runtime.NewScheme()
	kinds := runtime.NewSchemeBuilder(v1alpha1.AddToScheme, corev1.AddToScheme, networkv1.Install, discoveryv1.AddToScheme, eventsv1.AddToScheme)
	if err := kinds.AddToScheme(scheme); err != nil {
		return nil, fmt.Errorf("know the API's objects: %w", err)
	}
	for _, client := range []struct {
		into    *rest.Interface
		version schema.GroupVersion
	}{{&c.tunnel, v1alpha1.GroupVersion}, {&c.core, corev1.SchemeGroupVersion}, {&c.network, networkv1.GroupVersion}, {&c.discovery, discoveryv1.SchemeGroupVersion},
		{&c.events, eventsv1.SchemeGroupVersion}} {
		cfg := rest.CopyConfig(access)
		cfg.GroupVersion, cfg.APIPath = &client.version, "/apis"
		if client.version.Group == "" {
			cfg.APIPath = "/api"
		}
		cfg.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
		made, err := rest.RESTClientFor(cfg)
		if err != nil {
			return nil, fmt.Errorf("make a client of %s for %s: %w", access.Host, client.version, err)
		}
		*client.into = made
	}
	return c, nil
}

// Tell has the mirrored EndpointSlices of the namespace told to services. It is to be
// called before Run.
func (c *Cluster) Tell(namespace string, services Services) {
	c.namespace, c.services = namespace, services
}

// witness notes whether the API answers. A refusal is an answer.
type witness struct {
	next    http.RoundTripper
	cluster *Cluster
}

func (w *witness) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := w.next.RoundTrip(req)
	if req.Context().Err() != nil {
		return resp, err // ended by us: says nothing of the API
	}
	if was := w.cluster.connected.Swap(err == nil); was != (err == nil) {
		if err == nil {
			w.cluster.log.Info("the API answers")
		} else {
			w.cluster.log.Warn("the API does not answer; the data plane stays as it is", "error", err)
		}
	}
	return resp, err
}

// Connected tells whether the API answered the last request.
func (c *Cluster) Connected() bool { return c.connected.Load() }

// Run keeps the stores up to date until ctx ends.
func (c *Cluster) Run(ctx context.Context, notify func()) error {
	for _, changed := range []*func(){&c.members.changed, &c.nodes.changed, &c.node.changed, &c.subnet.changed} {
		*changed = notify
	}
	own := fields.OneTermEqualSelector("metadata.name", c.self.Node)
	group, ctx := errgroup.WithContext(ctx)
	reflectInto := func(from cache.ListerWatcherWithContext, resource string, kind runtime.Object, into cache.ReflectorStore) {
		group.Go(func() error {
			cache.NewReflectorWithOptions(paced(from), kind, into, cache.ReflectorOptions{
				Name: resource,
				// For watches that end at once. It is short, for a reflector sits it out
				// also when its context has ended; requests that fail are paced by paced.
				Backoff: &wait.Backoff{Duration: 50 * time.Millisecond, Factor: 2, Jitter: 0.5, Steps: 5, Cap: 400 * time.Millisecond},
			}).RunWithContext(ctx)
			return nil
		})
	}
	global := func(client rest.Interface, resource string, which fields.Selector, kind runtime.Object, into cache.ReflectorStore) {
		reflectInto(cache.NewListWatchFromClient(client, resource, "", which), resource, kind, into)
	}
	global(c.tunnel, "linkedclusters", fields.Everything(), &v1alpha1.LinkedCluster{}, c.members)
	global(c.tunnel, "tunnelnodes", fields.Everything(), &v1alpha1.TunnelNode{}, c.nodes)
	global(c.core, "nodes", own, &corev1.Node{}, c.node)
	if c.services != nil {
		reflectInto(mirrors(c.discovery, c.namespace), "endpointslices", &discoveryv1.EndpointSlice{}, sliceStore{c.services})
	}
	group.Go(func() error {
		if c.detectSDN(ctx) {
			global(c.network, "hostsubnets", own, &networkv1.HostSubnet{}, c.subnet)
		}
		notify()
		return nil
	})
	return group.Wait()
}

// paced waits after each request that failed, longer each time: a node asks often
// enough to follow soon after an outage, and seldom enough for a thousand of them not
// to keep the API down. The wait ends with the request's context.
func paced(from cache.ListerWatcherWithContext) cache.ListerWatcher {
	failures := 0 // a reflector makes one request at a time
	wait := func(ctx context.Context, err error) {
		if err == nil {
			failures = 0
			return
		}
		failures++
		sleep(ctx, time.Duration(float64(backoff(500*time.Millisecond, 10*time.Second, failures))*(0.5+rand.Float64())))
	}
	return &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			list, err := from.ListWithContext(ctx, o)
			wait(ctx, err)
			return list, err
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			w, err := from.WatchWithContext(ctx, o)
			wait(ctx, err)
			return w, err
		},
	}
}

// detectSDN asks until the API says whether it serves HostSubnets.
func (c *Cluster) detectSDN(ctx context.Context) bool {
	for failures := 1; ; failures++ {
		err := c.network.Get().AbsPath("/apis/network.openshift.io/v1").Do(ctx).Error()
		if err == nil || apierrors.IsNotFound(err) {
			found := err == nil
			c.sdn.Store(&found)
			return found
		}
		if !sleep(ctx, backoff(500*time.Millisecond, 10*time.Second, failures)) {
			return false
		}
	}
}

// ownNodes is how many nodes of the own cluster are in the mesh.
func (c *Cluster) ownNodes() (n int) {
	all, _ := c.nodes.list()
	for _, o := range all {
		if o.Spec.Cluster == c.self.Cluster {
			n++
		}
	}
	return n
}

// View is the mesh as the API last said.
func (c *Cluster) View() (mesh.View, []mesh.Refusal, bool) {
	members, ok := c.members.list()
	nodes, alsoOK := c.nodes.list()
	if !ok || !alsoOK {
		return mesh.View{}, nil, false
	}
	slices.SortFunc(members, func(a, b *v1alpha1.LinkedCluster) int { return strings.Compare(a.Name, b.Name) })
	slices.SortFunc(nodes, func(a, b *v1alpha1.TunnelNode) int { return strings.Compare(a.Name, b.Name) })
	view, refused := meshobj.FromObjects(values(members), values(nodes), c.self, c.port)
	return view, refused, true
}

func values[T any](pointers []*T) []T {
	out := make([]T, len(pointers))
	for i, p := range pointers {
		out[i] = *p
	}
	return out
}
