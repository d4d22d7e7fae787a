package controller

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	mcsv1alpha1 "sigs.k8s.io/mcs-api/pkg/apis/v1alpha1"

	"github.com/sdn-tunnel/sdn-tunnel/api/v1alpha1"
	"github.com/sdn-tunnel/sdn-tunnel/internal/catalog"
	"github.com/sdn-tunnel/sdn-tunnel/internal/kubeaccess"
)

const (
	// probeInterval is how often a member is asked whether it still answers: a watch
	// on a network that swallows packets says nothing for long.
	probeInterval = 10 * time.Second
	probeTimeout  = 5 * time.Second
	// brokenShown is longer than the informer's longest pause between two attempts.
	brokenShown = time.Minute
)

// health is what is known of the way to a member.
type health struct {
	synced   bool  // its nodes were listed since the start
	watchErr error // why they are not watched at the moment
	probeErr error // why it does not answer
	declared *v1alpha1.LinkedClusterSpec
	heard    time.Time // when it last answered a probe; zero: not since the start
	// brokenErr is why a watch broke off, at brokenAt. It is shown for a while, as the
	// next watch begins well.
	brokenErr error
	brokenAt  time.Time
}

func (h health) err() error {
	switch {
	case h.watchErr != nil:
		return h.watchErr
	case h.brokenErr != nil && time.Since(h.brokenAt) < brokenShown:
		return h.brokenErr
	}
	return h.probeErr
}

// remote watches one other member's own TunnelNodes, in a goroutine of its own.
type remote struct {
	cluster string
	access  string // identifies the access, to know whether it changed
	server  string
	reader  client.WithWatch
	store   cache.Store
	catalog *catalog.Catalog        // its services; nil: not watched
	changed func(tunnelNode string) // a node of the member changed
	moved   func()                  // health changed

	mu     sync.Mutex
	health health
	known  map[string]bool // the nodes' names as listed and watched
	cancel context.CancelFunc
	done   chan struct{}
}

// newRemote makes a remote with the identity in cfg, that of peeraccess.RestConfig; it
// needs to list and watch tunnelnodes and linkedclusters there, and what the catalog reads.
func newRemote(cluster, access string, cfg *rest.Config, scheme *runtime.Scheme) (*remote, error) {
	cfg = rest.CopyConfig(cfg)
	cfg.QPS, cfg.Burst = 10, 20
	cfg.UserAgent = "sdn-tunnel-controller"
	mapper := meta.NewDefaultRESTMapper(nil) // no discovery: all kinds are known
	mapper.Add(v1alpha1.GroupVersion.WithKind(tunnelNodeKind), meta.RESTScopeRoot)
	mapper.Add(v1alpha1.GroupVersion.WithKind("LinkedCluster"), meta.RESTScopeRoot)
	for _, kind := range []schema.GroupVersionKind{corev1.SchemeGroupVersion.WithKind("Service"),
		discoveryv1.SchemeGroupVersion.WithKind("EndpointSlice"), mcsv1alpha1.SchemeGroupVersion.WithKind(mcsv1alpha1.ServiceExportKindName)} {
		mapper.Add(kind, meta.RESTScopeNamespace)
	}
	reader, err := client.NewWithWatch(cfg, client.Options{Scheme: scheme, Mapper: mapper})
	if err != nil {
		return nil, fmt.Errorf("client for cluster %s: %w", cluster, err)
	}
	return &remote{cluster: cluster, access: access, server: cfg.Host, reader: reader, done: make(chan struct{})}, nil
}

// start runs until stop is called or ctx ends.
func (r *remote) start(ctx context.Context) {
	ctx, r.cancel = context.WithCancel(ctx)
	var informer cache.Controller
	r.store, informer = cache.NewInformerWithOptions(cache.InformerOptions{
		ListerWatcher: r.listWatch(),
		ObjectType:    &v1alpha1.TunnelNode{},
		Handler: cache.ResourceEventHandlerFuncs{
			AddFunc:    func(o any) { r.event(o) },
			UpdateFunc: func(was, is any) { r.updated(was, is) },
			DeleteFunc: func(o any) { r.event(o) },
		},
	})
	var wait sync.WaitGroup
	wait.Go(func() { informer.RunWithContext(ctx) })
	wait.Go(func() { r.probe(ctx) })
	if r.catalog != nil {
		wait.Go(func() { r.catalog.Run(ctx) })
	}
	wait.Go(func() {
		if cache.WaitForCacheSync(ctx.Done(), informer.HasSynced) {
			r.set(func(h *health) { h.synced = true })
			r.changed("") // all: what is not there any more has to go
		}
	})
	go func() { wait.Wait(); close(r.done) }()
}

// stop ends the watch and waits for it.
func (r *remote) stop() {
	r.cancel()
	<-r.done
}

// watched notes how a request of the informer ended. That a version is too old is part
// of its work.
func (r *remote) watched(ctx context.Context, err error) {
	if ctx.Err() != nil || apierrors.IsResourceExpired(err) || apierrors.IsGone(err) {
		return
	}
	err = r.explain(err)
	r.set(func(h *health) { h.watchErr = err })
}

// probe asks for what the member declares of itself, again and again.
func (r *remote) probe(ctx context.Context) {
	tick := time.NewTicker(probeInterval)
	defer tick.Stop()
	for {
		pctx, cancel := context.WithTimeout(ctx, probeTimeout)
		var lc v1alpha1.LinkedCluster
		err := r.reader.Get(pctx, client.ObjectKey{Name: r.cluster}, &lc)
		cancel()
		if ctx.Err() != nil {
			return
		}
		r.set(func(h *health) {
			switch {
			case err == nil:
				h.probeErr, h.declared, h.heard = nil, &lc.Spec, time.Now()
			case apierrors.IsNotFound(err):
				h.probeErr, h.declared, h.heard = nil, nil, time.Now() // it answers, but is not deployed (yet)
			default:
				h.probeErr = r.explain(err)
			}
		})
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (r *remote) explain(err error) error {
	return kubeaccess.Explain(kubeaccess.Args{Name: r.cluster}, r.server, err)
}

// set changes the health and tells of it if it matters to people.
func (r *remote) set(change func(*health)) {
	r.mu.Lock()
	was := r.health
	change(&r.health)
	is := r.health
	r.mu.Unlock()
	if was.synced != is.synced || text(was.err()) != text(is.err()) || !sameDeclaration(was.declared, is.declared) {
		r.moved()
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func (r *remote) state() health {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.health
}

// get is the member's node as last seen, nil if there is none.
func (r *remote) get(name string) *v1alpha1.TunnelNode {
	o, ok, err := r.store.GetByKey(name)
	if err != nil || !ok {
		return nil
	}
	n, _ := o.(*v1alpha1.TunnelNode)
	return n
}

// names are the member's nodes as last seen.
func (r *remote) names() []string {
	names := r.store.ListKeys()
	slices.Sort(names)
	return names
}

func (r *remote) event(o any) {
	if d, ok := o.(cache.DeletedFinalStateUnknown); ok {
		o = d.Obj
	}
	if n, ok := o.(*v1alpha1.TunnelNode); ok {
		r.changed(n.Name)
	}
}

// updated lets pass what is not mirrored: counters, heartbeats.
func (r *remote) updated(was, is any) {
	a, ok := was.(*v1alpha1.TunnelNode)
	b, ok2 := is.(*v1alpha1.TunnelNode)
	if ok && ok2 && a.UID == b.UID && a.Generation == b.Generation && readiness(a) == readiness(b) {
		return
	}
	r.event(is)
}

func readiness(n *v1alpha1.TunnelNode) metav1.ConditionStatus {
	if c := meta.FindStatusCondition(n.Status.Conditions, v1alpha1.ConditionReady); c != nil {
		return c.Status
	}
	return ""
}
