package controller

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/sdn-tunnel/sdn-tunnel/api/v1alpha1"
	"github.com/sdn-tunnel/sdn-tunnel/internal/catalog"
	"github.com/sdn-tunnel/sdn-tunnel/internal/peeraccess"
	"github.com/sdn-tunnel/sdn-tunnel/internal/remoteservice"
)

const (
	// allServices after a member's name stands for all its services, in the queue.
	allServices = "/*"
	// serviceIndex finds the mirrors of a service in the cache.
	serviceIndex = "service"
	// gather is how long the changes of one service are collected: a Service and its
	// EndpointSlices come by watches of their own.
	gather = 20 * time.Millisecond
	// gatherNew is how long a service without any EndpointSlice may take to get one.
	gatherNew = 300 * time.Millisecond
	// Mirrors are written by so many at once, and so many a second: 10,000 services come
	// within a minute, and the API server has time for others.
	serviceWriters    = 8
	serviceWriteRate  = 200
	serviceWriteBurst = 400
	serviceWriteAgain = time.Second
	// So many mirrors of one service are written before it is another one's turn, as its
	// member makes as many slices as it likes; the rest comes after a moment, in which the
	// cache sees what was written.
	serviceWritesInARow = 64
	serviceWriteMore    = 100 * time.Millisecond
	serviceStatusDelay  = 2 * time.Second
)

// services keeps, for each service that another member shares, EndpointSlices that mirror
// the service's, in the namespace of sdn-tunnel.
type services struct {
	client.Client
	// writer has a rate of its own, so that many services do not keep the nodes waiting.
	writer             client.Writer
	cluster, namespace string
	remotes            *remotes
	queue, status      *notifier
	order              *turns // of what is in the queue
	tally              tally
	log                *slog.Logger
}

func newWriter(mgr ctrl.Manager) (client.Client, error) {
	cfg := rest.CopyConfig(mgr.GetConfig())
	cfg.QPS, cfg.Burst = serviceWriteRate, serviceWriteBurst
	c, err := client.New(cfg, client.Options{HTTPClient: mgr.GetHTTPClient(), Scheme: mgr.GetScheme(), Mapper: mgr.GetRESTMapper()})
	if err != nil {
		return nil, fmt.Errorf("client for the mirrors of services: %w", err)
	}
	return c, nil
}

func (r *services) setup(mgr ctrl.Manager) error {
	return builder.ControllerManagedBy(mgr).Named("service").
		Watches(&discoveryv1.EndpointSlice{}, handler.EnqueueRequestsFromMapFunc(byMirror),
			builder.WithPredicates(predicate.NewPredicateFuncs(func(o client.Object) bool { return o.GetNamespace() == r.namespace }))).
		Watches(&v1alpha1.LinkedCluster{}, handler.EnqueueRequestsFromMapFunc(byCluster),
			builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		WatchesRawSource(r.queue).
		WithOptions(controller.Options{MaxConcurrentReconciles: serviceWriters, NewQueue: r.order.queue, SkipNameValidation: new(true)}).
		Complete(r)
}

// byMirror also sees what a mirror was before somebody changed its labels.
func byMirror(_ context.Context, o client.Object) []reconcile.Request {
	if id, ok := mirrorOf(o); ok {
		return []reconcile.Request{request(serviceKey(id))}
	}
	return nil
}

func byCluster(_ context.Context, o client.Object) []reconcile.Request {
	return []reconcile.Request{request(o.GetName() + allServices)}
}

// serviceKey names a remote service in the queue. No part has a slash in it.
func serviceKey(id remoteservice.Identity) string {
	return id.Cluster + "/" + id.Namespace + "/" + id.Name
}

// memberOf is the member that a key in the queue is for.
func memberOf(r reconcile.Request) string {
	cluster, _, _ := strings.Cut(r.Name, "/")
	return cluster
}

// mirrorOf is the service that a mirror is of; not ok: it is none of ours.
func mirrorOf(o client.Object) (remoteservice.Identity, bool) {
	l := o.GetLabels()
	id := remoteservice.Identity{Cluster: l[v1alpha1.LabelCluster], Namespace: l[remoteservice.LabelNamespace], Name: l[remoteservice.LabelName]}
	// The slices of node services have the same manager, but no proxy of ours.
	return id, l[discoveryv1.LabelManagedBy] == remoteservice.ManagedBy && l[remoteservice.LabelProxy] == remoteservice.ProxyName && id.Cluster != ""
}

// Reconcile handles the service of that key, or all services of a member.
func (r *services) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	select {
	case <-ctx.Done(): // the controller ends: what is left in the queue is not to fail one by one
		return reconcile.Result{}, nil
	default:
	}
	if cluster, all := strings.CutSuffix(req.Name, allServices); all {
		return reconcile.Result{}, r.fanOut(ctx, cluster)
	}
	parts := strings.SplitN(req.Name, "/", 3)
	id := remoteservice.Identity{Cluster: parts[0], Namespace: parts[1], Name: parts[2]}
	plan, known, err := r.plan(ctx, id)
	if err != nil {
		return reconcile.Result{}, err
	}
	if !known {
		return reconcile.Result{}, r.kept(ctx, id)
	}
	again, err := r.write(ctx, id, plan.slices)
	if apierrors.IsInvalid(err) || apierrors.IsBadRequest(err) || apierrors.IsRequestEntityTooLargeError(err) {
		// It cannot get better before the member says something else.
		plan = mirrorPlan{refused: err.Error()}
		again, err = r.write(ctx, id, nil)
	}
	if err != nil {
		return reconcile.Result{}, err
	}
	r.report(id, plan)
	return reconcile.Result{RequeueAfter: again}, nil
}

// fanOut queues every service of a member, those here and those there.
func (r *services) fanOut(ctx context.Context, cluster string) error {
	var here discoveryv1.EndpointSliceList
	if err := r.List(ctx, &here, client.InNamespace(r.namespace), client.MatchingFields{clusterIndex: cluster}, client.UnsafeDisableDeepCopy); err != nil {
		return fmt.Errorf("list the mirrors of cluster %s: %w", cluster, err)
	}
	for i := range here.Items {
		if id, ok := mirrorOf(&here.Items[i]); ok {
			r.queue.idle(serviceKey(id))
		}
	}
	for _, key := range r.tally.keys(cluster) {
		r.queue.idle(key) // refused ones have no mirrors
	}
	remote, _ := r.remotes.get(cluster)
	if remote == nil || remote.catalog == nil {
		return nil
	}
	for _, k := range remote.catalog.Keys() {
		r.queue.idle(serviceKey(remoteservice.Identity{Cluster: cluster, Namespace: k.Namespace, Name: k.Name}))
	}
	return nil
}

// plan tells what there should be of a service; not known: leave what there is.
func (r *services) plan(ctx context.Context, id remoteservice.Identity) (p mirrorPlan, known bool, err error) {
	var lc v1alpha1.LinkedCluster
	if err := r.Get(ctx, client.ObjectKey{Name: id.Cluster}, &lc); apierrors.IsNotFound(err) || id.Cluster == r.cluster {
		return mirrorPlan{}, true, nil
	} else if err != nil {
		return mirrorPlan{}, false, fmt.Errorf("read LinkedCluster %s: %w", id.Cluster, err)
	}
	remote, _ := r.remotes.get(id.Cluster)
	if remote == nil || remote.catalog == nil || !remote.catalog.State().Synced {
		return mirrorPlan{}, false, nil
	}
	s := remote.catalog.Get(catalog.Key{Namespace: id.Namespace, Name: id.Name})
	if s == nil {
		return mirrorPlan{}, true, nil
	}
	return planMirror(id, s, networksOf(&lc), r.namespace), true, nil
}

// write makes the mirrors of a service equal to want. again, if not 0, is when to go on: the
// cache was behind, or there are too many for once.
func (r *services) write(ctx context.Context, id remoteservice.Identity, want []*discoveryv1.EndpointSlice) (again time.Duration, err error) {
	var here discoveryv1.EndpointSliceList
	if err := r.List(ctx, &here, client.InNamespace(r.namespace), client.MatchingFields{serviceIndex: serviceKey(id)}, client.UnsafeDisableDeepCopy); err != nil {
		return 0, fmt.Errorf("list the mirrors of service %s: %w", id, err)
	}
	surplus := make(map[string]*discoveryv1.EndpointSlice, len(here.Items))
	for i := range here.Items {
		surplus[here.Items[i].Name] = &here.Items[i]
	}
	written := 0
	for _, w := range want {
		is := surplus[w.Name]
		delete(surplus, w.Name)
		if is != nil && sameMirror(is, w) {
			continue
		}
		if written++; written > serviceWritesInARow {
			return serviceWriteMore, nil
		}
		behind, err := r.writeOne(ctx, id, is, w)
		if err != nil {
			return 0, err
		}
		if behind {
			again = serviceWriteAgain
		}
	}
	for _, is := range surplus {
		if written++; written > serviceWritesInARow {
			return serviceWriteMore, nil
		}
		if err := r.writer.Delete(ctx, is.DeepCopy(), client.Preconditions{UID: &is.UID}); client.IgnoreNotFound(err) != nil {
			return 0, fmt.Errorf("delete the mirror %s of service %s: %w", is.Name, id, err)
		}
		serviceWrites.WithLabelValues(id.Cluster, "delete").Inc()
	}
	return again, nil
}

// writeOne makes one mirror as wanted; is may be nil.
func (r *services) writeOne(ctx context.Context, id remoteservice.Identity, is, want *discoveryv1.EndpointSlice) (behind bool, err error) {
	if is == nil { // or it has lost its labels
		var found discoveryv1.EndpointSlice
		if err := r.Get(ctx, client.ObjectKeyFromObject(want), &found); err == nil {
			is = &found
		} else if !apierrors.IsNotFound(err) {
			return false, fmt.Errorf("read the mirror %s of service %s: %w", want.Name, id, err)
		}
	}
	owner := client.FieldOwner(v1alpha1.ManagerController)
	verb := "create"
	switch {
	case is == nil:
		err = r.writer.Create(ctx, want, owner)
	case sameMirror(is, want):
		return false, nil
	case is.AddressType != want.AddressType: // it cannot be changed
		verb = "delete"
		err = r.writer.Delete(ctx, is.DeepCopy())
		behind = true
	default:
		verb = "patch"
		now := is.DeepCopy()
		now.Labels, now.Endpoints, now.Ports = want.Labels, want.Endpoints, want.Ports
		if now.Annotations == nil {
			now.Annotations = map[string]string{}
		}
		now.Annotations[remoteservice.Annotation] = want.Annotations[remoteservice.Annotation]
		err = r.writer.Patch(ctx, now, client.MergeFrom(is), owner)
	}
	if apierrors.IsAlreadyExists(err) || apierrors.IsNotFound(err) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("%s the mirror %s of service %s: %w", verb, want.Name, id, err)
	}
	serviceWrites.WithLabelValues(id.Cluster, verb).Inc()
	return behind, nil
}

// kept notes the mirrors of a member that has not been heard of since the start.
func (r *services) kept(ctx context.Context, id remoteservice.Identity) error {
	var here discoveryv1.EndpointSliceList
	if err := r.List(ctx, &here, client.InNamespace(r.namespace), client.MatchingFields{serviceIndex: serviceKey(id)}, client.UnsafeDisableDeepCopy); err != nil {
		return fmt.Errorf("list the mirrors of service %s: %w", id, err)
	}
	if !r.tally.has(id.Cluster, serviceKey(id)) {
		r.tally.set(id.Cluster, serviceKey(id), outcome{slices: len(here.Items)})
		r.status.soon(statusKey, serviceStatusDelay)
	}
	return nil
}

// report notes what has become of a service.
func (r *services) report(id remoteservice.Identity, p mirrorPlan) {
	is := outcome{slices: len(p.slices), leftOut: p.leftOut, refused: peeraccess.Plain(p.refused)}
	was := r.tally.set(id.Cluster, serviceKey(id), is)
	if was == is {
		return
	}
	if is.refused != "" && is.refused != was.refused {
		r.log.Warn("refused", "cluster", id.Cluster, "service", id.Namespace+"/"+id.Name, "why", is.refused)
	}
	r.status.soon(statusKey, serviceStatusDelay)
}
