package controller

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	mcsv1alpha1 "sigs.k8s.io/mcs-api/pkg/apis/v1alpha1"

	"github.com/sdn-tunnel/sdn-tunnel/api/v1alpha1"
	"github.com/sdn-tunnel/sdn-tunnel/internal/clusterset"
)

const (
	// derivedIndex finds the slices that stand for an import, localIndex those of a service
	// of the own cluster.
	derivedIndex, localIndex = "import", "local"
	// mirroredIndex finds the mirrors of the services of that namespace and name of all
	// members, namespaceIndex those of one namespace.
	mirroredIndex, namespaceIndex = "mirrored", "mirrored namespace"

	importWriters    = 4
	importWriteAgain = time.Second
)

// imports makes, of each service that members of the set export, the own one included, a
// ServiceImport and what it needs, where the service's namespace is there (KEP-1645). All
// that it reads is in the own cluster: what the other members export is in their mirrors.
type imports struct {
	client.Client
	// writer has the rate of many writes.
	writer             client.Client
	cluster, namespace string
	// foreign are those that there are not, as somebody else's have their names; status is
	// told of them.
	foreign *names
	// shares are what the other members' have of the own service networks.
	shares *shares
	// remembered: those of before this process are in it.
	remembering sync.Mutex
	remembered  bool
	queue       notifier // lets imports be looked at again
	// changedBy is, by request, the member whose mirror of the service changed last: imports
	// wait in its line. What the own cluster does has a line of its own.
	changedBy sync.Map
	status    *notifier
	log       *slog.Logger
}

func (r *imports) setup(mgr ctrl.Manager) error {
	return whenDefined(mgr, r.log, r.watch, mcsv1alpha1.ServiceImportKindName, mcsv1alpha1.ServiceExportKindName)
}

func (r *imports) watch(mgr ctrl.Manager) error {
	return builder.ControllerManagedBy(mgr).Named("import").
		For(&mcsv1alpha1.ServiceImport{}).
		Watches(&mcsv1alpha1.ServiceExport{}, &handler.EnqueueRequestForObject{}).
		Watches(&corev1.Service{}, handler.EnqueueRequestsFromMapFunc(r.byService)).
		Watches(&discoveryv1.EndpointSlice{}, handler.EnqueueRequestsFromMapFunc(r.bySlice)).
		Watches(&v1alpha1.LinkedCluster{}, handler.EnqueueRequestsFromMapFunc(r.byOwnCluster), builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		WatchesRawSource(&r.queue).
		Watches(&corev1.Namespace{}, handler.EnqueueRequestsFromMapFunc(r.byNamespace), builder.WithPredicates(comesOrGoes)).
		WithOptions(controller.Options{MaxConcurrentReconciles: importWriters, NewQueue: newTurns(r.changer).queue, SkipNameValidation: new(true)}).
		Complete(r)
}

// comesOrGoes passes an update only if the object is now being deleted.
var comesOrGoes = predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
	return (e.ObjectOld.GetDeletionTimestamp() == nil) != (e.ObjectNew.GetDeletionTimestamp() == nil)
}}

func importRequest(namespace, name string) []reconcile.Request {
	return []reconcile.Request{{NamespacedName: client.ObjectKey{Namespace: namespace, Name: name}}}
}

// importOf is the import that an object stands for; not ok: it is none of ours. namespace
// is that of sdn-tunnel: in any other, labels say nothing of other people's services.
func importOf(o client.Object, namespace string) (clusterset.ID, bool) {
	l := o.GetLabels()
	id := clusterset.ID{Namespace: l[clusterset.LabelNamespace], Name: l[clusterset.LabelName]}
	return id, l[clusterset.LabelManagedBy] == clusterset.ManagedBy && id.Namespace != "" && id.Name != "" &&
		(o.GetNamespace() == namespace || o.GetNamespace() == id.Namespace)
}

// byService: a service matters if it is exported, or stands for an import.
func (r *imports) byService(ctx context.Context, o client.Object) []reconcile.Request {
	if o.GetNamespace() == r.namespace {
		if id, ok := importOf(o, r.namespace); ok {
			return importRequest(id.Namespace, id.Name)
		}
		return nil
	}
	return r.ifExported(ctx, o.GetNamespace(), o.GetName())
}

// ifExported: an export that comes is seen by itself.
func (r *imports) ifExported(ctx context.Context, namespace, name string) []reconcile.Request {
	var e mcsv1alpha1.ServiceExport
	if err := r.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, &e); err != nil {
		return nil
	}
	return importRequest(namespace, name)
}

func (r *imports) bySlice(ctx context.Context, o client.Object) []reconcile.Request {
	if id, ok := mirrorOf(o); ok && o.GetNamespace() == r.namespace {
		all := importRequest(id.Namespace, id.Name)
		r.changedBy.Store(all[0], id.Cluster)
		return all
	}
	if id, ok := importOf(o, r.namespace); ok {
		return importRequest(id.Namespace, id.Name)
	}
	if name := o.GetLabels()[discoveryv1.LabelServiceName]; name != "" && o.GetNamespace() != r.namespace {
		return r.ifExported(ctx, o.GetNamespace(), name)
	}
	return nil
}

// changer is whose turn it is when it is the request's.
func (r *imports) changer(q reconcile.Request) string {
	member, _ := r.changedBy.Load(q)
	name, _ := member.(string)
	return name
}

// byNamespace are all services of the namespace that are exported here or shared elsewhere.
func (r *imports) byNamespace(ctx context.Context, o client.Object) []reconcile.Request {
	seen := map[reconcile.Request]bool{}
	var here mcsv1alpha1.ServiceExportList
	if err := r.List(ctx, &here, client.InNamespace(o.GetName())); err != nil {
		r.log.Error("list the exports", "namespace", o.GetName(), "err", err)
	}
	for i := range here.Items {
		seen[reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&here.Items[i])}] = true
	}
	var mirrors discoveryv1.EndpointSliceList
	if err := r.List(ctx, &mirrors, client.InNamespace(r.namespace), client.MatchingFields{namespaceIndex: o.GetName()}, client.UnsafeDisableDeepCopy); err != nil {
		r.log.Error("list the mirrors", "namespace", o.GetName(), "err", err)
	}
	for i := range mirrors.Items {
		if id, ok := mirrorOf(&mirrors.Items[i]); ok {
			seen[importRequest(id.Namespace, id.Name)[0]] = true
		}
	}
	all := make([]reconcile.Request, 0, len(seen))
	for request := range seen {
		all = append(all, request)
	}
	return all
}

// Reconcile handles the service of that namespace and name.
func (r *imports) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	id := clusterset.ID{Namespace: req.Namespace, Name: req.Name}
	facts, err := r.facts(ctx, id)
	if err != nil {
		return reconcile.Result{}, fmt.Errorf("import %s: %w", id, err)
	}
	plan, err := planImport(id, facts, r.cluster, r.namespace)
	if err != nil {
		return reconcile.Result{}, err
	}
	is, foreign := &mcsv1alpha1.ServiceImport{}, false
	if err := r.Get(ctx, req.NamespacedName, is); apierrors.IsNotFound(err) {
		is = nil
	} else if err != nil {
		return reconcile.Result{}, fmt.Errorf("read ServiceImport %s: %w", req, err)
	} else if _, ours := importOf(is, r.namespace); !ours {
		foreign = plan.wanted
		is, plan.wanted = nil, false
	}
	if r.foreign.set(id.Namespace+"/"+id.Name, foreign) {
		r.status.notify(statusKey)
	}
	if err = r.make(ctx, id, plan, is); err == nil && !plan.wanted {
		r.changedBy.Delete(req)
		r.leave(id)
	}
	if behind := (behindError{}); errors.As(err, &behind) {
		return reconcile.Result{RequeueAfter: importWriteAgain}, nil
	} else if err != nil {
		return reconcile.Result{}, err
	}
	if facts.export != nil {
		_, exported := ownExport(facts, r.cluster)
		return reconcile.Result{}, tell(ctx, r.Client, facts.export, v1alpha1.ManagerImports,
			saying{clusterset.ConflictCondition(plan.conflicts), sameConflict},
			saying{exportReady(id, exported, foreign), sameReadiness})
	}
	return reconcile.Result{}, nil
}

// make makes what is planned, as far as there is room.
func (r *imports) make(ctx context.Context, id clusterset.ID, p importPlan, is *mcsv1alpha1.ServiceImport) error {
	if p.wanted {
		ok, err := r.room(ctx, id, p)
		if err != nil {
			return err
		}
		if ok {
			return r.write(ctx, id, p, is)
		}
	}
	return r.remove(ctx, id, is)
}

// facts reads what the caches have of the service; the rest of the cluster costs nothing.
func (r *imports) facts(ctx context.Context, id clusterset.ID) (f importFacts, err error) {
	key := client.ObjectKey{Namespace: id.Namespace, Name: id.Name}
	var ns corev1.Namespace
	if err := r.Get(ctx, client.ObjectKey{Name: id.Namespace}, &ns); err == nil {
		f.namespace = ns.DeletionTimestamp == nil
	} else if !apierrors.IsNotFound(err) {
		return f, err
	}
	var export mcsv1alpha1.ServiceExport
	if err := r.Get(ctx, key, &export); err == nil {
		f.export = &export
	} else if !apierrors.IsNotFound(err) {
		return f, err
	}
	if f.export != nil {
		var s corev1.Service
		if err := r.Get(ctx, key, &s); err == nil {
			f.service = &s
		} else if !apierrors.IsNotFound(err) {
			return f, err
		}
		if f.slices, err = r.slices(ctx, id.Namespace, localIndex, id.Name); err != nil {
			return f, err
		}
	}
	f.mirrors, err = r.slices(ctx, r.namespace, mirroredIndex, id.String())
	return f, err
}

func (r *imports) slices(ctx context.Context, namespace, index, value string) ([]*discoveryv1.EndpointSlice, error) {
	var list discoveryv1.EndpointSliceList
	if err := r.List(ctx, &list, client.InNamespace(namespace), client.MatchingFields{index: value}, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("list its slices: %w", err)
	}
	all := make([]*discoveryv1.EndpointSlice, len(list.Items))
	for i := range list.Items {
		all[i] = &list.Items[i]
	}
	return all, nil
}

// indexImports lets the cache find the slices of a service of the set.
func indexImports(ctx context.Context, i client.FieldIndexer, namespace string) error {
	mirrored := func(o client.Object) (clusterset.ID, bool) {
		id, ok := mirrorOf(o)
		return clusterset.ID{Namespace: id.Namespace, Name: id.Name}, ok && o.GetNamespace() == namespace
	}
	for field, key := range map[string]func(client.Object) (string, bool){
		derivedIndex:   func(o client.Object) (string, bool) { id, ok := importOf(o, namespace); return id.String(), ok },
		mirroredIndex:  func(o client.Object) (string, bool) { id, ok := mirrored(o); return id.String(), ok },
		namespaceIndex: func(o client.Object) (string, bool) { id, ok := mirrored(o); return id.Namespace, ok },
		localIndex: func(o client.Object) (string, bool) {
			name := o.GetLabels()[discoveryv1.LabelServiceName]
			return name, name != "" && o.GetNamespace() != namespace
		},
	} {
		if err := i.IndexField(ctx, &discoveryv1.EndpointSlice{}, field, func(o client.Object) []string {
			if value, ok := key(o); ok {
				return []string{value}
			}
			return nil
		}); err != nil {
			return fmt.Errorf("index the EndpointSlices: %w", err)
		}
	}
	return nil
}
