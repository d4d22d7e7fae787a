package controller

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"reflect"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/sdn-tunnel/sdn-tunnel/api/v1alpha1"
	"github.com/sdn-tunnel/sdn-tunnel/internal/nodeservice"
)

// LabelGateway on a Node, with value "true", makes it a gateway of topology Gateway.
const LabelGateway = "sdntunnel.io/gateway"

// poolRetry is how soon a node is looked at again for which no tunnel address was left.
const poolRetry = 30 * time.Second

// nodes keeps, for each node of the own cluster, its Service and the controller's part
// of its TunnelNode, and removes both when the Node is deleted. A Node that is not
// ready keeps its place: WireGuard knows better whether its tunnel works.
type nodes struct {
	client.Client
	options   nodeservice.Options
	addresses addresses
	status    *notifier
	log       *slog.Logger
}

func (r *nodes) setup(mgr ctrl.Manager) error {
	return builder.ControllerManagedBy(mgr).Named("node").
		For(&corev1.Node{}, builder.WithPredicates(predicate.Funcs{UpdateFunc: nodeMatters})).
		Watches(&corev1.Service{}, handler.EnqueueRequestsFromMapFunc(byAnnotation)).
		Watches(&discoveryv1.EndpointSlice{}, handler.EnqueueRequestsFromMapFunc(byAnnotation),
			builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Watches(&v1alpha1.TunnelNode{}, handler.EnqueueRequestsFromMapFunc(r.byTunnelNode),
			builder.WithPredicates(tunnelNodeMatters)).
		Watches(&v1alpha1.LinkedCluster{}, handler.EnqueueRequestsFromMapFunc(r.byMember),
			builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		// One at a time: tunnel addresses are handed out here.
		WithOptions(controller.Options{MaxConcurrentReconciles: 1, SkipNameValidation: new(true)}).
		Complete(r)
}

// nodeMatters lets the kubelets' heartbeats pass by.
func nodeMatters(e event.UpdateEvent) bool {
	was, ok := e.ObjectOld.(*corev1.Node)
	is, ok2 := e.ObjectNew.(*corev1.Node)
	return ok && ok2 && (!reflect.DeepEqual(was.Status.Addresses, is.Status.Addresses) ||
		was.Labels[LabelGateway] != is.Labels[LabelGateway])
}

func byAnnotation(_ context.Context, o client.Object) []reconcile.Request {
	if node := o.GetAnnotations()[v1alpha1.AnnotationNode]; node != "" {
		return []reconcile.Request{request(node)}
	}
	return nil
}

func (r *nodes) byTunnelNode(_ context.Context, o client.Object) []reconcile.Request {
	if n, ok := o.(*v1alpha1.TunnelNode); ok && n.Spec.Cluster == r.options.Cluster {
		return []reconcile.Request{request(n.Spec.Node)}
	}
	return nil
}

// byMember: a new tunnelCIDR of the own member concerns all its nodes.
func (r *nodes) byMember(ctx context.Context, o client.Object) []reconcile.Request {
	if o.GetName() != r.options.Cluster {
		return nil
	}
	var list corev1.NodeList
	if err := r.List(ctx, &list); err != nil {
		r.log.Error("list the nodes", "err", err)
		return nil
	}
	out := make([]reconcile.Request, len(list.Items))
	for i := range list.Items {
		out[i] = request(list.Items[i].Name)
	}
	return out
}

func request(name string) reconcile.Request {
	return reconcile.Request{NamespacedName: types.NamespacedName{Name: name}}
}

// Reconcile handles the Node of that name.
func (r *nodes) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	var node corev1.Node
	if err := r.Get(ctx, req.NamespacedName, &node); apierrors.IsNotFound(err) {
		return reconcile.Result{}, r.gone(ctx, req.Name)
	} else if err != nil {
		return reconcile.Result{}, err
	}
	service, err := r.service(ctx, &node)
	if err != nil {
		return reconcile.Result{}, fmt.Errorf("node %s: %w", node.Name, err)
	}
	err = r.tunnelNode(ctx, &node, nodeservice.Observe(&node, service, r.options))
	if errors.Is(err, errPoolFull) {
		r.log.Error("a node cannot be a peer", "node", node.Name, "err", err)
		r.status.notify(statusKey)
		return reconcile.Result{RequeueAfter: poolRetry}, nil
	}
	return reconcile.Result{}, err
}

// service makes the node's Service as it should be, or takes away that of another type.
func (r *nodes) service(ctx context.Context, node *corev1.Node) (*corev1.Service, error) {
	is, err := r.state(ctx, node.Name)
	if err != nil {
		return nil, err
	}
	if !r.options.HasService() {
		changes, err := nodeservice.Remove(ctx, r, node.Name, is, false)
		for _, c := range changes {
			r.log.Info("node service", "node", node.Name, "change", c.String())
		}
		return nil, err
	}
	changes, service, err := nodeservice.EnsureNode(ctx, r, node, is, r.options, false)
	for _, c := range changes {
		r.log.Info("node service", "node", node.Name, "change", c.String())
	}
	return service, err
}

// state reads one node's Service and EndpointSlice.
func (r *nodes) state(ctx context.Context, node string) (nodeservice.State, error) {
	s := nodeservice.State{Services: map[string]*corev1.Service{}, Slices: map[string]*discoveryv1.EndpointSlice{}}
	key := client.ObjectKey{Namespace: r.options.Namespace, Name: nodeservice.Name(node)}
	service, slice := &corev1.Service{}, &discoveryv1.EndpointSlice{}
	switch err := r.Get(ctx, key, service); {
	case err == nil:
		s.Services[node] = service
	case !apierrors.IsNotFound(err):
		return s, fmt.Errorf("read Service %s: %w", key, err)
	}
	switch err := r.Get(ctx, key, slice); {
	case err == nil:
		s.Slices[node] = slice
	case !apierrors.IsNotFound(err):
		return s, fmt.Errorf("read EndpointSlice %s: %w", key, err)
	}
	return s, nil
}

// tunnelNode declares the controller's part of the node's TunnelNode.
func (r *nodes) tunnelNode(ctx context.Context, node *corev1.Node, seen nodeservice.Observed) error {
	existing, err := r.existing(ctx, node.Name)
	if err != nil {
		return err
	}
	want := v1alpha1.TunnelNodeSpec{Cluster: r.options.Cluster, Node: node.Name,
		ListenPort: seen.ListenPort, Gateway: node.Labels[LabelGateway] == "true"}
	var is v1alpha1.TunnelNodeSpec
	if existing != nil {
		is = own(existing)
		want.Endpoint = is.Endpoint // the last one known, while there is no other
	}
	if seen.Endpoint != nil {
		want.Endpoint = &v1alpha1.Endpoint{Host: seen.Endpoint.Host, Port: seen.Endpoint.Port}
	}
	addr, addrErr := r.tunnelAddress(ctx, node.Name)
	if addrErr == nil && addr.IsValid() {
		want.TunnelAddress = addr.String()
	}
	changed, err := applySpec(ctx, r.Client, existing, is, want)
	if err != nil {
		return err
	}
	if changed {
		r.log.Info("tunnel node", "node", node.Name, "listenPort", want.ListenPort,
			"endpoint", seen.Endpoint, "tunnelAddress", want.TunnelAddress)
	}
	if existing == nil {
		existing = &v1alpha1.TunnelNode{ObjectMeta: metav1.ObjectMeta{Name: want.Cluster + "." + want.Node}}
	}
	if err := applyCondition(ctx, r.Client, existing, endpointCondition(seen, addrErr)); err != nil {
		return err
	}
	return addrErr
}

// endpointCondition says whether other clusters can reach the node, and why not.
func endpointCondition(seen nodeservice.Observed, addrErr error) metav1.Condition {
	if errors.Is(addrErr, errPoolFull) {
		return metav1.Condition{Type: v1alpha1.ConditionEndpointReady, Status: metav1.ConditionFalse,
			Reason: "PoolFull", Message: addrErr.Error()}
	}
	if seen.Endpoint == nil {
		return metav1.Condition{Type: v1alpha1.ConditionEndpointReady, Status: metav1.ConditionFalse,
			Reason: "Waiting", Message: seen.Missing}
	}
	return metav1.Condition{Type: v1alpha1.ConditionEndpointReady, Status: metav1.ConditionTrue,
		Reason: "Known", Message: "other clusters reach the tunnel at " + seen.Endpoint.String()}
}

func (r *nodes) existing(ctx context.Context, node string) (*v1alpha1.TunnelNode, error) {
	n := &v1alpha1.TunnelNode{}
	err := r.Get(ctx, client.ObjectKey{Name: r.options.Cluster + "." + node}, n)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	return n, err
}

// tunnelAddress hands out an address from the own member's tunnelCIDR; an invalid one
// while the own LinkedCluster is not there yet.
func (r *nodes) tunnelAddress(ctx context.Context, node string) (netip.Addr, error) {
	var self v1alpha1.LinkedCluster
	if err := r.Get(ctx, client.ObjectKey{Name: r.options.Cluster}, &self); err != nil {
		return netip.Addr{}, client.IgnoreNotFound(err)
	}
	pool, err := netip.ParsePrefix(string(self.Spec.TunnelCIDR))
	if err != nil {
		return netip.Addr{}, fmt.Errorf("LinkedCluster %s: spec.tunnelCIDR: %w", self.Name, err)
	}
	var known v1alpha1.TunnelNodeList
	if err := r.List(ctx, &known, client.MatchingFields{clusterIndex: r.options.Cluster}); err != nil {
		return netip.Addr{}, err
	}
	return r.addresses.assign(pool, node, known.Items)
}

// gone removes what was made for a Node that is deleted.
func (r *nodes) gone(ctx context.Context, node string) error {
	is, err := r.state(ctx, node)
	if err != nil {
		return err
	}
	changes, err := nodeservice.Remove(ctx, r, node, is, false)
	for _, c := range changes {
		r.log.Info("node is gone", "node", node, "change", c.String())
	}
	if err != nil {
		return err
	}
	existing, err := r.existing(ctx, node)
	if err != nil {
		return err
	}
	if existing != nil {
		if err := remove(ctx, r.Client, existing); err != nil {
			return err
		}
		r.log.Info("node is gone", "node", node, "change", "delete TunnelNode "+existing.Name)
	}
	r.addresses.release(node)
	return nil
}
