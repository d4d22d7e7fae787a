package controller

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/sdn-tunnel/sdn-tunnel/api/v1alpha1"
	"github.com/sdn-tunnel/sdn-tunnel/internal/kubeaccess"
	"github.com/sdn-tunnel/sdn-tunnel/internal/mesh"
	"github.com/sdn-tunnel/sdn-tunnel/internal/meshobj"
	"github.com/sdn-tunnel/sdn-tunnel/internal/peeraccess"
	"github.com/sdn-tunnel/sdn-tunnel/internal/version"
)

const (
	statusKey = "status"
	// statusDelay gathers the changes of a burst into one computation.
	statusDelay = 500 * time.Millisecond
	shown       = 5 // refusals that a condition spells out
)

// status writes the conditions of all LinkedClusters, computed from one view of the
// mesh, and only those that differ.
type status struct {
	client.Client
	options  Options
	remotes  *remotes
	mirrors  *mirrors
	services *services
	// addresses are the own member's.
	addresses *addresses
	// foreign are the imports that somebody else's stand in the way of.
	foreign *names
	// shares knows the imports that there is no room for.
	shares *shares
	queue  *notifier
	// beat is called after each pass.
	beat func()
	// news says of a member what its conditions say anew.
	news news
	// measured are the members that there are metrics of.
	measured map[string]bool
}

func (r *status) setup(mgr ctrl.Manager) error {
	later := func(q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
		q.AddAfter(request(statusKey), statusDelay)
	}
	all := handler.Funcs{
		CreateFunc: func(_ context.Context, _ event.CreateEvent, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			later(q)
		},
		UpdateFunc: func(_ context.Context, _ event.UpdateEvent, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			later(q)
		},
		DeleteFunc: func(_ context.Context, _ event.DeleteEvent, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			later(q)
		},
	}
	spec := builder.WithPredicates(predicate.GenerationChangedPredicate{})
	return builder.ControllerManagedBy(mgr).Named("status").
		Watches(&v1alpha1.LinkedCluster{}, all, spec).
		Watches(&v1alpha1.TunnelNode{}, all, spec).
		WatchesRawSource(r.queue).
		WithOptions(controller.Options{SkipNameValidation: new(true)}).
		Complete(r)
}

// Reconcile computes everything once.
func (r *status) Reconcile(ctx context.Context, _ reconcile.Request) (reconcile.Result, error) {
	defer r.beat()
	var clusters v1alpha1.LinkedClusterList
	var nodes v1alpha1.TunnelNodeList
	if err := errors.Join(r.List(ctx, &clusters), r.List(ctx, &nodes)); err != nil {
		return reconcile.Result{}, err
	}
	view, refused := meshobj.FromObjects(clusters.Items, nodes.Items, mesh.Ref{Cluster: r.options.Cluster}, uint16(r.options.TunnelPort))
	refused = append(refused, mesh.Compute(view).Refusals...)
	refusedObjects.Reset()
	r.forget(clusters.Items)
	var errs []error
	for i := range clusters.Items {
		lc := &clusters.Items[i]
		f := finding{name: lc.Name}
		for j := range nodes.Items {
			if nodes.Items[j].Spec.Cluster == lc.Name {
				f.nodes = append(f.nodes, &nodes.Items[j])
			}
		}
		f.sort(refused, r.mirrors.refusals.of(lc.Name))
		errs = append(errs, r.write(ctx, lc, &f))
	}
	return reconcile.Result{}, errors.Join(errs...)
}

// forget takes the metrics of members away that are none any more.
func (r *status) forget(members []v1alpha1.LinkedCluster) {
	gone := r.measured
	r.measured = make(map[string]bool, len(members))
	for i := range members {
		r.measured[members[i].Name] = true
		delete(gone, members[i].Name)
	}
	for name := range gone {
		for _, gauge := range perMember {
			gauge.DeleteLabelValues(name)
		}
	}
}

// finding is what there is to say of one member.
type finding struct {
	name    string
	nodes   []*v1alpha1.TunnelNode
	refused []string // in plain words
	objects map[string]bool
	waiting []string
}

// sort takes this member's refusals; what is merely not complete yet is not refused.
func (f *finding) sort(all []mesh.Refusal, notMirrored map[string]string) {
	f.objects = map[string]bool{}
	for _, r := range all {
		switch {
		case r.Ref.Cluster != f.name:
		case r.Reason == mesh.Incomplete:
			f.waiting = append(f.waiting, r.String())
		default:
			f.refused = append(f.refused, r.String())
			f.objects[r.Ref.String()] = true
			refusedObjects.WithLabelValues(f.name, string(r.Reason)).Inc()
		}
	}
	for name, why := range notMirrored {
		f.refused = append(f.refused, peeraccess.Plain(name)+": "+why)
		f.objects[name] = true
		refusedObjects.WithLabelValues(f.name, "NotMirrored").Inc()
	}
	slices.Sort(f.refused)
	slices.Sort(f.waiting)
}

func (r *status) write(ctx context.Context, lc *v1alpha1.LinkedCluster, f *finding) error {
	was := lc.DeepCopy()
	lc.Status.Nodes, lc.Status.Refused = int32(len(f.nodes)), int32(len(f.objects))
	lc.Status.ControllerVersion, lc.Status.Access = version.Version, r.remotes.life(lc.Name)
	conditions := []metav1.Condition{f.accepted()}
	if lc.Name == r.options.Cluster {
		foreign := r.foreign.list()
		if len(foreign) > 0 {
			refusedObjects.WithLabelValues(lc.Name, "ServiceNotImported").Set(float64(len(foreign)))
		}
		conditions = append(conditions, local(f, r.addresses.without())...)
		tooMany, byMember := r.shares.tooMany()
		for member, n := range byMember {
			refusedObjects.WithLabelValues(member, "ServiceNotImported").Set(float64(n))
		}
		conditions = append(conditions, servicesImported(foreign, tooMany))
	} else {
		conditions = append(conditions, r.remote(lc, f)...)
	}
	for _, c := range conditions {
		c.ObservedGeneration = lc.Generation
		meta.SetStatusCondition(&lc.Status.Conditions, c)
	}
	nodesKnown.WithLabelValues(lc.Name).Set(float64(len(f.nodes)))
	if equality.Semantic.DeepEqual(was.Status, lc.Status) {
		return nil
	}
	is := lc.DeepCopy() // the answer may have later ones
	if err := r.Status().Patch(ctx, lc, client.MergeFrom(was), client.FieldOwner(v1alpha1.ManagerController)); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("write the status of LinkedCluster %s: %w", lc.Name, err)
	}
	r.news.say(was, is)
	return nil
}

func condition(kind string, ok bool, reason, message string) metav1.Condition {
	c := metav1.Condition{Type: kind, Status: metav1.ConditionFalse, Reason: reason, Message: message}
	if ok {
		c.Status = metav1.ConditionTrue
	}
	return c
}

func (f *finding) accepted() metav1.Condition {
	if len(f.refused) > 0 {
		return condition(v1alpha1.ConditionAccepted, false, "Refused",
			fmt.Sprintf("%d refused, all else is used: %s", len(f.objects), few(f.refused)))
	}
	return condition(v1alpha1.ConditionAccepted, true, "Accepted", "nothing is refused")
}

// few spells out the first of a list.
func few(all []string) string {
	if len(all) <= shown {
		return strings.Join(all, "; ")
	}
	return fmt.Sprintf("%s; and %d more", strings.Join(all[:shown], "; "), len(all)-shown)
}

// local: the own member is in sync when each node can be a peer. noAddress are the
// nodes for which no tunnel address is left.
func local(f *finding, noAddress []string) []metav1.Condition {
	reachable := condition(v1alpha1.ConditionReachable, true, "Local", "this is the cluster itself")
	if len(noAddress) > 0 {
		return []metav1.Condition{reachable, condition(v1alpha1.ConditionInSync, false, "PoolFull", few(noAddress))}
	}
	if len(f.waiting) > 0 {
		return []metav1.Condition{reachable, condition(v1alpha1.ConditionInSync, false, "Incomplete", few(f.waiting))}
	}
	return []metav1.Condition{reachable, condition(v1alpha1.ConditionInSync, true, "Complete", "every node can be a peer")}
}

func (r *status) remote(lc *v1alpha1.LinkedCluster, f *finding) []metav1.Condition {
	remote, broken := r.remotes.get(lc.Name)
	var h health
	if remote != nil {
		h = remote.state()
	} else if broken == nil && lc.Spec.API == nil {
		broken = errors.New("spec.api is missing: run the deploy again")
	}
	reachable := reachableCondition(lc.Name, h, broken)
	value := 0.0
	if reachable.Status == metav1.ConditionTrue {
		value = 1
	}
	remoteReachable.WithLabelValues(lc.Name).Set(value)
	if heard := lastHeard(h, lc.Status.Conditions); !heard.IsZero() {
		memberHeard.WithLabelValues(lc.Name).Set(float64(heard.Unix()))
	}
	return []metav1.Condition{reachable, inSyncCondition(lc, f, remote, h, reachable), r.servicesOf(lc, reachable)}
}

// lastHeard is when the member last answered. Of one that was away when this process began
// its condition tells; zero: nothing is known.
func lastHeard(h health, was []metav1.Condition) time.Time {
	if c := meta.FindStatusCondition(was, v1alpha1.ConditionReachable); h.heard.IsZero() && c != nil && c.Status == metav1.ConditionFalse {
		return c.LastTransitionTime.Time
	}
	return h.heard
}

func reachableCondition(cluster string, h health, broken error) metav1.Condition {
	err := broken
	if err == nil {
		err = h.err()
	}
	said := ""
	if err != nil {
		said = peeraccess.PlainError(err)
	}
	switch {
	case broken != nil:
		return condition(v1alpha1.ConditionReachable, false, "NoAccess", said)
	case errors.Is(err, kubeaccess.ErrUntrusted):
		return condition(v1alpha1.ConditionReachable, false, "Untrusted", said)
	case errors.Is(err, kubeaccess.ErrCredentials):
		return condition(v1alpha1.ConditionReachable, false, "Unauthorized", fmt.Sprintf(
			"%s refuses this cluster's identity: it was revoked there, or it expired; run the deploy again to renew it (%s)", cluster, said))
	case apierrors.IsForbidden(err):
		return condition(v1alpha1.ConditionReachable, false, "Forbidden", fmt.Sprintf(
			"%s no longer lets this cluster read its nodes: its rights were revoked there; run the deploy again to grant them (%s)", cluster, said))
	case err != nil:
		return condition(v1alpha1.ConditionReachable, false, "Unreachable", said)
	case !h.synced:
		return metav1.Condition{Type: v1alpha1.ConditionReachable, Status: metav1.ConditionUnknown, Reason: "Connecting", Message: "no answer yet"}
	}
	return condition(v1alpha1.ConditionReachable, true, "Answers", "the API server answers")
}

func inSyncCondition(lc *v1alpha1.LinkedCluster, f *finding, remote *remote, h health, reachable metav1.Condition) metav1.Condition {
	if reachable.Status != metav1.ConditionTrue {
		return condition(v1alpha1.ConditionInSync, false, reachable.Reason,
			fmt.Sprintf("the %d nodes that are known are kept as they were last seen", len(f.nodes)))
	}
	if h.declared != nil && !sameDeclaration(&lc.Spec, h.declared) {
		return condition(v1alpha1.ConditionInSync, false, "DeclarationDiffers", fmt.Sprintf(
			"the member declares pods %s, services %s, tunnels %s, but here it is pods %v, services %v, tunnels %s: run the deploy again",
			peeraccess.Plain(fmt.Sprint(h.declared.PodCIDRs)), peeraccess.Plain(fmt.Sprint(h.declared.ServiceCIDRs)),
			peeraccess.Plain(string(h.declared.TunnelCIDR)), lc.Spec.PodCIDRs, lc.Spec.ServiceCIDRs, lc.Spec.TunnelCIDR))
	}
	here := map[string]bool{}
	for _, n := range f.nodes {
		here[n.Name] = true
	}
	var missing []string
	for _, name := range remote.names() {
		if !here[name] && !f.objects[name] {
			missing = append(missing, peeraccess.Plain(name))
		}
	}
	if len(missing) > 0 {
		return condition(v1alpha1.ConditionInSync, false, "Copying", "not copied yet: "+few(missing))
	}
	return condition(v1alpha1.ConditionInSync, true, "InSync", fmt.Sprintf("%d nodes, as the member says", len(f.nodes)))
}

// sameDeclaration compares what two clusters hold of one member.
func sameDeclaration(a, b *v1alpha1.LinkedClusterSpec) bool {
	if a == nil || b == nil {
		return a == b
	}
	sorted := func(s []v1alpha1.CIDR) []v1alpha1.CIDR { s = slices.Clone(s); slices.Sort(s); return s }
	return slices.Equal(sorted(a.PodCIDRs), sorted(b.PodCIDRs)) &&
		slices.Equal(sorted(a.ServiceCIDRs), sorted(b.ServiceCIDRs)) && a.TunnelCIDR == b.TunnelCIDR
}
