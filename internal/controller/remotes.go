package controller

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/sdn-tunnel/sdn-tunnel/api/v1alpha1"
	"github.com/sdn-tunnel/sdn-tunnel/internal/catalog"
	"github.com/sdn-tunnel/sdn-tunnel/internal/peeraccess"
	"github.com/sdn-tunnel/sdn-tunnel/internal/remoteservice"
)

// remotes are the members that are watched, by name.
type remotes struct {
	scheme  *runtime.Scheme
	mirrors *notifier // told of members whose nodes are all to be looked at
	status  *notifier
	// services is told of services, and of members all of whose services are to be looked at.
	services *notifier
	// namespace is that of sdn-tunnel.
	namespace string
	// exportedOnly: only services with a ServiceExport are of use here.
	exportedOnly bool
	// nodeChanged is told of one node of a member.
	nodeChanged func(cluster, name string)

	mu     sync.Mutex
	ctx    context.Context // of the manager: remotes outlive the reconcile that starts them
	closed bool
	byName map[string]*remote
	broken map[string]error // members whose access cannot be used
	lives  map[string]v1alpha1.AccessLife
}

// Start holds the remotes until ctx ends, and then ends them.
func (rs *remotes) Start(ctx context.Context) error {
	<-ctx.Done()
	rs.mu.Lock()
	rs.closed = true
	all := slices.Collect(maps.Values(rs.byName))
	rs.mu.Unlock()
	for _, r := range all {
		r.stop()
	}
	return nil
}

// ensure watches a member with cfg, anew if access says that it is another one.
func (rs *remotes) ensure(cluster, access string, cfg *rest.Config) error {
	if old, _ := rs.get(cluster); old != nil && old.access == access {
		return nil
	}
	r, err := newRemote(cluster, access, cfg, rs.scheme)
	if err != nil {
		return err
	}
	rs.drop(cluster, nil)
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if rs.closed {
		return nil
	}
	r.changed = func(name string) {
		if name != "" {
			rs.nodeChanged(cluster, name)
			return
		}
		rs.status.notify(statusKey)
		rs.mirrors.notify(cluster + allNodes)
	}
	r.moved = func() { rs.status.notify(statusKey) }
	r.catalog = catalog.New(catalog.Options{
		Cluster: cluster, Namespace: rs.namespace, ExportedOnly: rs.exportedOnly, Reader: r.reader,
		Changed: func(k catalog.Key) {
			after := gather
			if s := r.catalog.Get(k); s != nil && len(s.Slices) == 0 {
				after = gatherNew
			}
			rs.services.soon(serviceKey(remoteservice.Identity{Cluster: cluster, Namespace: k.Namespace, Name: k.Name}), after)
		},
		All:   func() { rs.services.notify(cluster + allServices) },
		Moved: func() { rs.status.soon(statusKey, statusDelay) },
	})
	rs.byName[cluster] = r
	r.start(rs.ctx)
	rs.status.notify(statusKey)
	return nil
}

// drop ends the watch of a member; why tells what is wrong with its access, nil that
// it is not to be watched.
func (rs *remotes) drop(cluster string, why error) {
	rs.mu.Lock()
	old := rs.byName[cluster]
	delete(rs.byName, cluster)
	if delete(rs.broken, cluster); why != nil {
		rs.broken[cluster] = why
		delete(rs.lives, cluster)
	}
	rs.mu.Unlock()
	if old != nil {
		old.stop() // without the lock: what it ends may wait for it
	}
	rs.status.notify(statusKey)
}

// get is the watch of a member, or nil and why there is none.
func (rs *remotes) get(cluster string) (*remote, error) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	return rs.byName[cluster], rs.broken[cluster]
}

// live notes how long the access to a member lasts.
func (rs *remotes) live(cluster string, t peeraccess.Token) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if rs.lives == nil {
		rs.lives = map[string]v1alpha1.AccessLife{}
	}
	rs.lives[cluster] = v1alpha1.AccessLife{Issued: metav1.NewTime(t.Issued), Expires: metav1.NewTime(t.Expiry)}
}

// life is what live noted of a member that is watched, or nil.
func (rs *remotes) life(cluster string) *v1alpha1.AccessLife {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if l, ok := rs.lives[cluster]; ok {
		return &l
	}
	return nil
}

// notifier puts requests into a controller's queue from outside of its caches. It is a
// source.Source.
type notifier struct {
	mu    sync.Mutex
	queue workqueue.TypedRateLimitingInterface[reconcile.Request]
	early []reconcile.Request // before the controller runs
	// press is told of what is not idle before it is added; nil: the queue has priorities.
	press func(reconcile.Request)
}

// Start takes the controller's queue.
func (n *notifier) Start(_ context.Context, q workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.queue = q
	for _, r := range n.early {
		q.Add(r)
	}
	n.early = nil
	return nil
}

func (n *notifier) notify(name string) { n.add(request(name), priorityqueue.AddOpts{}) }

// soon gathers what is said of a name within the time into one.
func (n *notifier) soon(name string, after time.Duration) {
	n.add(request(name), priorityqueue.AddOpts{After: after})
}

// idle lets what others say go first.
func (n *notifier) idle(name string) {
	n.add(request(name), priorityqueue.AddOpts{Priority: new(handler.LowPriority)})
}

func (n *notifier) add(r reconcile.Request, o priorityqueue.AddOpts) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.press != nil && o.Priority == nil {
		n.press(r)
	}
	switch q := n.queue.(type) {
	case nil:
		n.early = append(n.early, r)
	case priorityqueue.PriorityQueue[reconcile.Request]:
		q.AddWithOpts(o, r)
	default:
		q.AddAfter(r, o.After)
	}
}
