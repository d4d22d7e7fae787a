package apply

import (
	"context"
	"fmt"
	"strconv"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// maxRestarts: a pod may fail a few times while what it needs comes up beside it.
const maxRestarts = 4

// Hopeless tells of a pod of the workload that failed so often, or does not get its image,
// that waiting is no use. It is asked again and again: an Engine remembers since when images
// fail. Pods of an earlier version, which this rollout takes away, may fail as they like.
func (e *Engine) Hopeless(ctx context.Context, live *unstructured.Unstructured) error {
	pods, err := e.pods(ctx, live)
	if err != nil {
		return nil //nolint:nilerr // the rollout itself is asked for again, and says what is wrong
	}
	label, version := e.version(ctx, live)
	for i := range pods {
		pod := &pods[i]
		if version == "" || pod.Labels[label] != version {
			continue
		}
		if n := restarts(pod); n >= maxRestarts {
			return fmt.Errorf("pod %s failed %d times", pod.Name, n+1)
		}
		if pod.DeletionTimestamp != nil {
			continue
		}
		if err := e.images.hopeless(pod, time.Now(), e.Note); err != nil {
			return err
		}
	}
	return nil
}

// restarts is how often a container that is not to be tried again soon has failed.
func restarts(pod *corev1.Pod) (most int32) {
	for _, s := range containers(pod) {
		if s.State.Waiting != nil && s.State.Waiting.Reason == "CrashLoopBackOff" {
			most = max(most, s.RestartCount)
		}
	}
	return most
}

// version is the label, and its value, of the pods that a workload makes now; the value
// is empty as long as the workload's controller has not seen the change.
func (e *Engine) version(ctx context.Context, live *unstructured.Unstructured) (label, value string) {
	var seen struct {
		Metadata struct{ Generation int64 }
		Status   struct{ ObservedGeneration int64 }
	}
	if err := typed(live, &seen); err != nil || seen.Status.ObservedGeneration < seen.Metadata.Generation {
		return "", ""
	}
	history := "controllerrevisions"
	if label = "controller-revision-hash"; live.GetKind() == "Deployment" {
		history, label = "replicasets", "pod-template-hash"
	}
	selector, _, _ := unstructured.NestedStringMap(live.Object, "spec", "selector", "matchLabels")
	list, err := e.client.Resource(schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: history}).Namespace(live.GetNamespace()).
		List(ctx, metav1.ListOptions{LabelSelector: metav1.FormatLabelSelector(&metav1.LabelSelector{MatchLabels: selector})})
	if err != nil {
		return label, ""
	}
	newest := int64(-1)
	for i := range list.Items {
		if n := revision(&list.Items[i]); n > newest {
			newest, value = n, list.Items[i].GetLabels()[label]
		}
	}
	return label, value
}

// revision counts the versions of a workload, as its controller does.
func revision(o *unstructured.Unstructured) int64 {
	if o.GetKind() == "ControllerRevision" {
		var version appsv1.ControllerRevision
		if err := typed(o, &version); err != nil {
			return -1
		}
		return version.Revision
	}
	n, err := strconv.ParseInt(o.GetAnnotations()["deployment.kubernetes.io/revision"], 10, 64)
	if err != nil {
		return -1
	}
	return n
}
