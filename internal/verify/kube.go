package verify

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/sdn-tunnel/sdn-tunnel/internal/mesh"
)

const (
	fieldManager = "sdn-tunnel-verify"
	ownerLabel   = "app.kubernetes.io/part-of"
	ownerValue   = "sdn-tunnel"
	nameLabel    = "app.kubernetes.io/name"
	// pollInterval is how often readiness and removal are looked at.
	pollInterval = 250 * time.Millisecond
)

// kubeCluster is a cluster behind a real API.
type kubeCluster struct {
	member  string
	config  *rest.Config
	client  kubernetes.Interface
	dynamic dynamic.Interface
}

func connect(m Member) (cluster, error) {
	if m.Config == nil {
		return nil, errors.New("no client configuration")
	}
	client, err := kubernetes.NewForConfig(m.Config)
	if err != nil {
		return nil, err
	}
	dyn, err := dynamic.NewForConfig(m.Config)
	if err != nil {
		return nil, err
	}
	return &kubeCluster{member: m.Name, config: m.Config, client: client, dynamic: dyn}, nil
}

func (k *kubeCluster) name() string { return k.member }

// namespaces are those that a run makes in each cluster.
func (o *Options) namespaces() []string {
	if o.SkipNodes {
		return []string{o.Namespace}
	}
	return []string{o.Namespace, o.hostNamespace()}
}

func (k *kubeCluster) apply(ctx context.Context, o *Options) error {
	objects, err := o.manifests()
	if err != nil {
		return err
	}
	for _, u := range objects {
		if u.GetKind() == "Namespace" {
			err = k.claim(ctx, u, o)
		} else {
			err = k.applyOne(ctx, u)
		}
		if err != nil {
			return fmt.Errorf("%s %s: %w", u.GetKind(), u.GetName(), err)
		}
	}
	return nil
}

// applyOne is a server-side apply.
func (k *kubeCluster) applyOne(ctx context.Context, u *unstructured.Unstructured) error {
	var client dynamic.ResourceInterface = k.dynamic.Resource(resources[u.GetKind()])
	if ns := u.GetNamespace(); ns != "" {
		client = k.dynamic.Resource(resources[u.GetKind()]).Namespace(ns)
	}
	_, err := client.Apply(ctx, u.GetName(), u, metav1.ApplyOptions{FieldManager: fieldManager, Force: true})
	return err
}

func (k *kubeCluster) waitGone(ctx context.Context, name string) error {
	for {
		_, err := k.client.CoreV1().Namespaces().Get(ctx, name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		if !pause(ctx, pollInterval) {
			return fmt.Errorf("namespace %s is still being removed: something in it does not end (kubectl get all -n %s)", name, name)
		}
	}
}

// ready waits until each DaemonSet has a ready pod on each of its nodes.
func (k *kubeCluster) ready(ctx context.Context, o *Options) ([]pod, error) {
	var pods []pod
	for _, ns := range o.namespaces() {
		got, err := k.readyIn(ctx, ns)
		if err != nil {
			return nil, err
		}
		pods = append(pods, got...)
	}
	return pods, nil
}

func (k *kubeCluster) readyIn(ctx context.Context, ns string) ([]pod, error) {
	state := "not seen yet"
	for {
		sets, err := k.client.AppsV1().DaemonSets(ns).List(ctx, metav1.ListOptions{})
		if err == nil && len(sets.Items) == 1 {
			var ok bool
			if ok, state = rolledOut(sets.Items[0].Generation, sets.Items[0].Status); ok {
				return k.podsIn(ctx, ns, sets.Items[0].Labels[nameLabel])
			}
		} else if err != nil {
			state = err.Error()
		}
		if !pause(ctx, pollInterval) {
			return nil, k.notReady(ctx, ns, state)
		}
	}
}

// rolledOut tells whether a DaemonSet is complete, and what it has.
func rolledOut(generation int64, s appsv1.DaemonSetStatus) (bool, string) {
	state := fmt.Sprintf("%d of %d pods ready", s.NumberReady, s.DesiredNumberScheduled)
	return s.ObservedGeneration >= generation && s.DesiredNumberScheduled > 0 &&
		s.UpdatedNumberScheduled == s.DesiredNumberScheduled && s.NumberReady == s.DesiredNumberScheduled, state
}

func (k *kubeCluster) podsIn(ctx context.Context, ns, app string) ([]pod, error) {
	list, err := k.client.CoreV1().Pods(ns).List(ctx, metav1.ListOptions{LabelSelector: nameLabel + "=" + app})
	if err != nil {
		return nil, fmt.Errorf("list the pods of the test application: %w", err)
	}
	var pods []pod
	for _, p := range list.Items {
		if p.DeletionTimestamp != nil {
			continue
		}
		pods = append(pods, pod{
			ref:       mesh.Ref{Cluster: k.member, Node: p.Spec.NodeName},
			namespace: ns, name: p.Name, ip: p.Status.PodIP, host: p.Spec.HostNetwork,
		})
	}
	return pods, nil
}

// notReady says which pods are not ready and what their events say.
func (k *kubeCluster) notReady(ctx context.Context, ns, state string) error {
	cause := context.Cause(ctx)
	if !errors.Is(cause, context.DeadlineExceeded) {
		return cause
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	text := "the test application did not become ready in time: " + state
	if pods, err := k.client.CoreV1().Pods(ns).List(ctx, metav1.ListOptions{}); err == nil {
		for _, p := range pods.Items {
			if why := waitingFor(p); why != "" {
				text += fmt.Sprintf("\n  pod %s on node %s: %s", p.Name, p.Spec.NodeName, why)
			}
		}
	}
	if events, err := k.client.CoreV1().Events(ns).List(ctx, metav1.ListOptions{FieldSelector: "type=" + corev1.EventTypeWarning}); err == nil {
		for _, line := range eventLines(events.Items, 8) {
			text += "\n  " + line
		}
	}
	return errors.New(text)
}

// waitingFor is why a pod is not ready; empty if it is.
func waitingFor(p corev1.Pod) string {
	for _, c := range p.Status.ContainerStatuses {
		switch {
		case c.State.Waiting != nil:
			return strings.TrimSpace(c.State.Waiting.Reason + " " + c.State.Waiting.Message)
		case c.State.Terminated != nil:
			return fmt.Sprintf("ended with code %d: %s", c.State.Terminated.ExitCode, c.State.Terminated.Reason)
		}
	}
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady && c.Status != corev1.ConditionTrue {
			return strings.TrimSpace(string(p.Status.Phase) + " " + c.Reason + " " + c.Message)
		}
	}
	if len(p.Status.Conditions) == 0 {
		return "not seen by a kubelet: is the node up?"
	}
	return ""
}

// eventLines are the last few events, without repetition.
func eventLines(events []corev1.Event, limit int) []string {
	slices.SortStableFunc(events, func(a, b corev1.Event) int { return a.LastTimestamp.Compare(b.LastTimestamp.Time) })
	var lines []string
	for _, e := range events {
		line := fmt.Sprintf("event of %s %s: %s: %s", e.InvolvedObject.Kind, e.InvolvedObject.Name, e.Reason, e.Message)
		if !slices.Contains(lines, line) {
			lines = append(lines, line)
		}
	}
	return lines[max(0, len(lines)-limit):]
}
