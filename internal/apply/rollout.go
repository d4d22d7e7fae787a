package apply

import (
	"context"
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// rolloutInterval: a workload's progress needs several objects, so it is asked for.
const rolloutInterval = 300 * time.Millisecond

// AwaitRollout waits until every DaemonSet and Deployment among the objects runs as
// declared on all its nodes or in all its replicas. After the limit it names the pods
// that are not ready and why.
func (e *Engine) AwaitRollout(ctx context.Context, objects []*unstructured.Unstructured, limit time.Duration) error {
	if e.DryRun {
		return nil
	}
	deadline := time.Now().Add(limit)
	for _, o := range objects {
		if o.GroupVersionKind().Group != "apps" {
			continue
		}
		target, err := e.resource(o)
		if err != nil {
			return err
		}
		err = poll(ctx, max(time.Until(deadline), time.Second), rolloutInterval, func() (string, error) {
			live, err := target.Get(ctx, o.GetName(), metav1.GetOptions{})
			if err != nil {
				return "", err
			}
			missing, err := progress(live)
			if err == nil && missing != "" {
				err = e.Hopeless(ctx, live)
			}
			return missing, err
		})
		if err != nil {
			return fmt.Errorf("%s %s/%s: %w%s", o.GetKind(), o.GetNamespace(), o.GetName(), err, e.Unready(ctx, o))
		}
	}
	return nil
}

// progress says what a workload still lacks.
func progress(live *unstructured.Unstructured) (string, error) {
	switch live.GetKind() {
	case "DaemonSet":
		var d appsv1.DaemonSet
		if err := typed(live, &d); err != nil {
			return "", err
		}
		s := d.Status
		if s.ObservedGeneration < d.Generation || s.UpdatedNumberScheduled < s.DesiredNumberScheduled || s.NumberReady < s.DesiredNumberScheduled {
			return fmt.Sprintf("has %d of %d pods up to date and %d ready", s.UpdatedNumberScheduled, s.DesiredNumberScheduled, s.NumberReady), nil
		}
	case "Deployment":
		var d appsv1.Deployment
		if err := typed(live, &d); err != nil {
			return "", err
		}
		want, s := int32(1), d.Status
		if d.Spec.Replicas != nil {
			want = *d.Spec.Replicas
		}
		if s.ObservedGeneration < d.Generation || s.UpdatedReplicas < want || s.AvailableReplicas < want || s.Replicas > want {
			return fmt.Sprintf("has %d of %d replicas up to date and %d available", s.UpdatedReplicas, want, s.AvailableReplicas), nil
		}
	}
	return "", nil
}

// pods are the workload's.
func (e *Engine) pods(ctx context.Context, o *unstructured.Unstructured) ([]corev1.Pod, error) {
	labels, _, _ := unstructured.NestedStringMap(o.Object, "spec", "selector", "matchLabels")
	list, err := e.client.Resource(schema.GroupVersionResource{Version: "v1", Resource: "pods"}).Namespace(o.GetNamespace()).
		List(ctx, metav1.ListOptions{LabelSelector: metav1.FormatLabelSelector(&metav1.LabelSelector{MatchLabels: labels})})
	if err != nil {
		return nil, err
	}
	pods := make([]corev1.Pod, len(list.Items))
	for i := range list.Items {
		if err := typed(&list.Items[i], &pods[i]); err != nil {
			return nil, err
		}
	}
	return pods, nil
}
