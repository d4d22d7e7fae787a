package controller

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/sdn-tunnel/sdn-tunnel/api/v1alpha1"
	"github.com/sdn-tunnel/sdn-tunnel/internal/peeraccess"
)

// allNodes after a member's name stands for all its nodes, in the queue.
const allNodes = "/*"

// mirrors keeps a mirror of each node of each other member.
type mirrors struct {
	client.Client
	cluster  string
	remotes  *remotes
	queue    *notifier
	status   *notifier
	refusals refusals
	log      *slog.Logger
}

func (r *mirrors) setup(mgr ctrl.Manager) error {
	return builder.ControllerManagedBy(mgr).Named("mirror").
		For(&v1alpha1.TunnelNode{}, builder.WithPredicates(tunnelNodeMatters)).
		WatchesRawSource(r.queue).
		WithOptions(controller.Options{MaxConcurrentReconciles: 4, SkipNameValidation: new(true)}).
		Complete(r)
}

// Reconcile handles the TunnelNode of that name, or all nodes of a member.
func (r *mirrors) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	if cluster, all := strings.CutSuffix(req.Name, allNodes); all {
		return reconcile.Result{}, r.fanOut(ctx, cluster)
	}
	cluster, _, _ := strings.Cut(req.Name, ".")
	existing := &v1alpha1.TunnelNode{}
	if err := r.Get(ctx, req.NamespacedName, existing); apierrors.IsNotFound(err) {
		existing = nil
	} else if err != nil {
		return reconcile.Result{}, err
	}
	if cluster == r.cluster {
		return reconcile.Result{}, nil
	}
	var lc v1alpha1.LinkedCluster
	if err := r.Get(ctx, client.ObjectKey{Name: cluster}, &lc); apierrors.IsNotFound(err) {
		r.refusals.clear(cluster, req.Name)
		return reconcile.Result{}, r.drop(ctx, existing, "its cluster is not a member")
	} else if err != nil {
		return reconcile.Result{}, err
	}
	remote, _ := r.remotes.get(cluster)
	if remote == nil || !remote.state().synced {
		return reconcile.Result{}, nil // nothing is known: keep what there is
	}
	err := r.mirror(ctx, remote, req.Name, existing)
	if errors.Is(err, errTaken) {
		return reconcile.Result{RequeueAfter: takenRetry}, nil // the holder may give it up
	}
	return reconcile.Result{}, err
}

// fanOut queues every node of a member, those here and those there.
func (r *mirrors) fanOut(ctx context.Context, cluster string) error {
	var here v1alpha1.TunnelNodeList
	if err := r.List(ctx, &here, client.MatchingFields{clusterIndex: cluster}); err != nil {
		return err
	}
	for i := range here.Items {
		r.queue.notify(here.Items[i].Name)
	}
	if remote, _ := r.remotes.get(cluster); remote != nil {
		for _, name := range remote.names() {
			r.remoteChanged(cluster, name)
		}
	}
	r.refusals.keep(cluster, func(name string) bool {
		remote, _ := r.remotes.get(cluster)
		return remote != nil && remote.get(name) != nil
	})
	return nil
}

// remoteChanged takes a name that a remote has said. A name that is not one of its own
// never reaches the queue, so that it cannot concern another member's mirrors.
func (r *mirrors) remoteChanged(cluster, name string) {
	remote, _ := r.remotes.get(cluster)
	var n *v1alpha1.TunnelNode
	if remote != nil {
		n = remote.get(name)
	}
	if n != nil && !isOf(n, cluster) {
		why := n.Annotations[annotationRefused]
		if why == "" {
			why = fmt.Sprintf("%s says that it is node %q of cluster %q: a member may speak of its own nodes only", name, n.Spec.Node, n.Spec.Cluster)
		}
		r.refuse(cluster, name, why)
		r.status.notify(statusKey)
		return
	}
	if n == nil {
		r.refusals.clear(cluster, name)
	}
	if strings.HasPrefix(name, cluster+".") {
		r.queue.notify(name)
	}
	r.status.notify(statusKey)
}

// refuse notes why a node is not mirrored, and says it once.
func (r *mirrors) refuse(cluster, name, why string) {
	if r.refusals.add(cluster, name, why) {
		r.log.Warn("refused", "cluster", cluster, "object", peeraccess.Plain(name), "why", peeraccess.Plain(why))
	}
}

func isOf(n *v1alpha1.TunnelNode, cluster string) bool {
	return n.Spec.Cluster == cluster && n.Name == cluster+"."+n.Spec.Node
}

// mirror makes the mirror of one node equal to what its member says.
func (r *mirrors) mirror(ctx context.Context, remote *remote, name string, existing *v1alpha1.TunnelNode) error {
	n := remote.get(name)
	if n == nil || !isOf(n, remote.cluster) {
		return r.drop(ctx, existing, "its cluster does not have it any more")
	}
	var is v1alpha1.TunnelNodeSpec
	if existing != nil {
		is = existing.Spec
		if err := r.taken(ctx, is, n.Spec); errors.Is(err, errTaken) {
			r.refuse(remote.cluster, name, err.Error())
			r.status.notify(statusKey)
			return err
		} else if err != nil {
			return err
		}
	}
	changed, err := applySpec(ctx, r.Client, existing, is, mirrored(n))
	if apierrors.IsInvalid(err) || apierrors.IsBadRequest(err) {
		// It cannot get better before the member says something else.
		r.refuse(remote.cluster, name, err.Error())
		r.status.notify(statusKey)
		return r.drop(ctx, existing, "what its cluster says now is invalid")
	}
	if err != nil {
		return err
	}
	r.refusals.clear(remote.cluster, name)
	if changed {
		r.log.Info("mirrored", "node", name)
	}
	if existing == nil {
		existing = &v1alpha1.TunnelNode{ObjectMeta: metav1.ObjectMeta{Name: name}}
	}
	return r.readiness(ctx, n, existing)
}

// readiness takes over whether the node is ready, when that changes, and not each
// time that its agent says so.
func (r *mirrors) readiness(ctx context.Context, n, existing *v1alpha1.TunnelNode) error {
	said := meta.FindStatusCondition(n.Status.Conditions, v1alpha1.ConditionReady)
	if said == nil || readiness(n) == readiness(existing) {
		return nil
	}
	return applyCondition(ctx, r.Client, existing, metav1.Condition{Type: v1alpha1.ConditionReady,
		Status: said.Status, Reason: said.Reason, Message: said.Message, LastTransitionTime: said.LastTransitionTime})
}

func (r *mirrors) drop(ctx context.Context, existing *v1alpha1.TunnelNode, why string) error {
	if existing == nil {
		return nil
	}
	r.log.Info("removing a mirror", "node", existing.Name, "why", why)
	return remove(ctx, r.Client, existing)
}

// refusals are the objects of other members that are not mirrored, and why.
type refusals struct {
	mu        sync.Mutex
	byCluster map[string]map[string]string
}

// add tells whether the refusal is new.
func (r *refusals) add(cluster, name, why string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.byCluster == nil {
		r.byCluster = map[string]map[string]string{}
	}
	if r.byCluster[cluster] == nil {
		r.byCluster[cluster] = map[string]string{}
	}
	was, known := r.byCluster[cluster][name]
	r.byCluster[cluster][name] = peeraccess.Plain(why)
	return !known || was != peeraccess.Plain(why)
}

func (r *refusals) clear(cluster, name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.byCluster[cluster], name)
}

func (r *refusals) keep(cluster string, still func(string) bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for name := range r.byCluster[cluster] {
		if !still(name) {
			delete(r.byCluster[cluster], name)
		}
	}
}

func (r *refusals) of(cluster string) map[string]string {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make(map[string]string, len(r.byCluster[cluster]))
	for name, why := range r.byCluster[cluster] {
		out[name] = why
	}
	return out
}
