package apply

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sdn-tunnel/sdn-tunnel/internal/events"
)

// explainTimeout bounds the questions after a rollout that failed.
const explainTimeout = 5 * time.Second

// remedies are by the reason that a container's status or a pod's event gives.
var remedies = map[string]string{
	"FailedCreatePodSandBox": "see that the pod network of the node works: OpenShift SDN and Open vSwitch",
	"FailedMount":            "see that the node has what is mounted",
	"ErrImagePull":           "give an image that the node can pull, or load it there",
	"ErrImageNeverPull":      "load the image on the node, or set image_pull_policy",
	"ImagePullBackOff":       "give an image that the node can pull, or load it there",
	"InvalidImageName":       "correct the image's name",
}

// Unready lists the workload's pods that are not ready, each with its node and reason.
func (e *Engine) Unready(ctx context.Context, o *unstructured.Unstructured) string {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), explainTimeout)
	defer cancel()
	pods, err := e.pods(ctx, o)
	if err != nil {
		return ""
	}
	var b strings.Builder
	for _, pod := range pods {
		if ready(&pod) {
			continue
		}
		why, remedy := whyNot(&pod)
		if remedy == "" && !started(&pod) {
			if said, reason := e.lastWarning(ctx, pod.Namespace, pod.UID); said != "" {
				why, remedy = said, remedies[reason]
			}
		}
		if remedy != "" {
			remedy = " (" + remedy + ")"
		}
		_, _ = fmt.Fprintf(&b, "\npod %s on %s: %s%s", pod.Name, cmp.Or(pod.Spec.NodeName, "no node"), why, remedy)
	}
	return b.String()
}

func ready(pod *corev1.Pod) bool {
	return slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

// started tells whether any container of the pod runs or has run.
func started(pod *corev1.Pod) bool {
	return slices.ContainsFunc(containers(pod), func(s corev1.ContainerStatus) bool {
		return s.State.Waiting == nil || s.LastTerminationState.Terminated != nil
	})
}

func containers(pod *corev1.Pod) []corev1.ContainerStatus {
	return slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses)
}

// whyNot is the most telling thing that a pod's status says, and the remedy if one is
// known.
func whyNot(pod *corev1.Pod) (why, remedy string) {
	for _, s := range containers(pod) {
		waiting, ended := s.State.Waiting, s.State.Terminated
		if ended == nil {
			ended = s.LastTerminationState.Terminated
		}
		switch {
		case ended != nil && ended.ExitCode != 0 && (s.State.Terminated != nil || waiting != nil):
			return strings.TrimSpace(fmt.Sprintf("%s ended with code %d: %s", s.Name, ended.ExitCode, lastLine(ended.Message))), ""
		case waiting != nil && waiting.Reason != "PodInitializing":
			return strings.TrimSpace(s.Name + " " + waiting.Reason + " " + waiting.Message), remedies[waiting.Reason]
		}
	}
	for _, c := range pod.Status.Conditions {
		if c.Status != corev1.ConditionTrue && c.Message != "" {
			return c.Message, ""
		}
	}
	return string(pod.Status.Phase), ""
}

// lastLine is where programs say why they end.
func lastLine(message string) string {
	message = strings.TrimSpace(message)
	return message[strings.LastIndexByte(message, '\n')+1:]
}

// lastWarning is what was said last about a pod that does not start.
func (e *Engine) lastWarning(ctx context.Context, namespace string, pod types.UID) (message, reason string) {
	list, err := e.client.Resource(schema.GroupVersionResource{Version: "v1", Resource: "events"}).Namespace(namespace).
		List(ctx, metav1.ListOptions{FieldSelector: fields.Set{"involvedObject.uid": string(pod), "type": corev1.EventTypeWarning}.String()})
	if err != nil || len(list.Items) == 0 {
		return "", ""
	}
	all := make([]corev1.Event, len(list.Items))
	for i := range list.Items {
		if err := typed(&list.Items[i], &all[i]); err != nil {
			return "", ""
		}
	}
	last := slices.MaxFunc(all, func(a, b corev1.Event) int { return events.Seen(&a).Compare(events.Seen(&b)) })
	return strings.TrimSpace(last.Message), last.Reason
}
