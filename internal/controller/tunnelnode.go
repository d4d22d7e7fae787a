package controller

import (
	"context"
	"fmt"
	"reflect"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"github.com/sdn-tunnel/sdn-tunnel/api/v1alpha1"
)

const tunnelNodeKind = "TunnelNode"

// tunnelNodeMatters lets the agents' reports pass by. Labels matter: the other members
// see a node only by its label.
var tunnelNodeMatters = predicate.Or(predicate.GenerationChangedPredicate{}, predicate.LabelChangedPredicate{})

// own is the controller's part of the TunnelNode of a node of its own member.
func own(is *v1alpha1.TunnelNode) v1alpha1.TunnelNodeSpec {
	return v1alpha1.TunnelNodeSpec{
		Cluster: is.Spec.Cluster, Node: is.Spec.Node, ListenPort: is.Spec.ListenPort,
		Endpoint: is.Spec.Endpoint, TunnelAddress: is.Spec.TunnelAddress, Gateway: is.Spec.Gateway,
	}
}

// mirrored is what is taken over from another member's TunnelNode. Its node addresses
// are of use inside that member only.
func mirrored(remote *v1alpha1.TunnelNode) v1alpha1.TunnelNodeSpec {
	spec := *remote.Spec.DeepCopy()
	spec.NodeAddresses = nil
	return spec
}

// applySpec declares a TunnelNode with exactly spec as the controller's part, if that
// is not so already. existing is nil where there is none.
func applySpec(ctx context.Context, c client.Client, existing *v1alpha1.TunnelNode, is, want v1alpha1.TunnelNodeSpec) (bool, error) {
	name := want.Cluster + "." + want.Node
	if existing != nil && existing.Labels[v1alpha1.LabelCluster] == want.Cluster && reflect.DeepEqual(is, want) {
		return false, nil
	}
	spec, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&want)
	if err != nil {
		return false, fmt.Errorf("encode TunnelNode %s: %w", name, err)
	}
	u := tunnelNode(name)
	u.SetLabels(map[string]string{v1alpha1.LabelCluster: want.Cluster})
	u.Object["spec"] = spec
	if err := c.Apply(ctx, client.ApplyConfigurationFromUnstructured(u),
		client.FieldOwner(v1alpha1.ManagerController), client.ForceOwnership); err != nil {
		return false, fmt.Errorf("apply TunnelNode %s: %w", name, err)
	}
	return true, nil
}

// applyCondition declares one condition of a TunnelNode, if it says something new.
// The time of an unchanged status stays.
func applyCondition(ctx context.Context, c client.Client, existing *v1alpha1.TunnelNode, want metav1.Condition) error {
	is := meta.FindStatusCondition(existing.Status.Conditions, want.Type)
	if is != nil && is.Status == want.Status && is.Reason == want.Reason && is.Message == want.Message {
		return nil
	}
	if want.LastTransitionTime.IsZero() {
		want.LastTransitionTime = metav1.Now()
		if is != nil && is.Status == want.Status {
			want.LastTransitionTime = is.LastTransitionTime
		}
	}
	u := tunnelNode(existing.Name)
	u.Object["status"] = map[string]any{"conditions": []any{map[string]any{
		"type": want.Type, "status": string(want.Status), "reason": want.Reason, "message": want.Message,
		"lastTransitionTime": want.LastTransitionTime.UTC().Format(time.RFC3339),
	}}}
	if err := c.Status().Apply(ctx, client.ApplyConfigurationFromUnstructured(u),
		client.FieldOwner(v1alpha1.ManagerController), client.ForceOwnership); err != nil {
		return fmt.Errorf("apply condition %s of TunnelNode %s: %w", want.Type, existing.Name, err)
	}
	return nil
}

func tunnelNode(name string) *unstructured.Unstructured {
	u := &unstructured.Unstructured{Object: map[string]any{}}
	u.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(tunnelNodeKind))
	u.SetName(name)
	return u
}

// remove deletes a TunnelNode that was read before; one that was made anew since stays.
func remove(ctx context.Context, c client.Client, n *v1alpha1.TunnelNode) error {
	uid := n.UID
	err := c.Delete(ctx, n, client.Preconditions{UID: &uid})
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("delete TunnelNode %s: %w", n.Name, err)
	}
	return nil
}
