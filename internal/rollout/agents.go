package rollout

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/kubernetes"
)

// interval: whether a batch is up needs several objects, so they are asked for.
const interval = 300 * time.Millisecond

// Agents replaces the pods of a DaemonSet whose update strategy is OnDelete.
type Agents struct {
	Client kubernetes.Interface
	Place  Place
	// Batch is how many nodes at a time, a number or a share; Canary has the first batch be
	// one node.
	Batch  string
	Canary bool
	// Timeout bounds what a batch may take until its pods are ready.
	Timeout  time.Duration
	Workload Workload
	// Gate is asked after each batch, with its nodes; an error ends the rollout.
	Gate func(ctx context.Context, nodes []string) error
}

// Workload tells of pods that are not ready: apply.Engine.
type Workload interface {
	// Unready says which and why.
	Unready(ctx context.Context, o *unstructured.Unstructured) string
	// Hopeless is an error if waiting for them is no use.
	Hopeless(ctx context.Context, live *unstructured.Unstructured) error
}

// Roll replaces what is of another revision than the DaemonSet declares, and returns the
// nodes that it has touched, also when it fails. Nodes that are down are passed over: the
// DaemonSet, once it replaces pods by itself again, does so there when they are back.
func (a Agents) Roll(ctx context.Context) (touched, passed []string, err error) {
	d, revision, err := a.current(ctx)
	if err != nil {
		return nil, nil, err
	}
	pods, err := a.pods(ctx, d)
	if err != nil {
		return nil, nil, err
	}
	down, err := a.down(ctx)
	if err != nil {
		return nil, nil, err
	}
	var nodes []string
	for _, n := range outdated(pods, revision) {
		if down[n] {
			passed = append(passed, n)
		} else {
			nodes = append(nodes, n)
		}
	}
	batches, err := Batches(nodes, a.Batch, a.Canary)
	if err != nil {
		return nil, passed, err
	}
	for i, nodes := range batches {
		touched = append(touched, nodes...)
		if err := a.batch(ctx, d, revision, nodes); err != nil {
			return touched, passed, fmt.Errorf("cluster %s: batch %d of %d (%s): %w", a.Place.Cluster, i+1, len(batches), strings.Join(nodes, ", "), err)
		}
	}
	return touched, passed, nil
}

// down are the nodes whose kubelet is not heard of.
func (a Agents) down(ctx context.Context) (map[string]bool, error) {
	list, err := a.Client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("cluster %s: nodes: %w", a.Place.Cluster, err)
	}
	down := map[string]bool{}
	for i := range list.Items {
		down[list.Items[i].Name] = slices.ContainsFunc(list.Items[i].Status.Conditions, func(c corev1.NodeCondition) bool {
			return c.Type == corev1.NodeReady && c.Status == corev1.ConditionUnknown
		})
	}
	return down, nil
}

// batch replaces the pods of some nodes, and asks the gate.
func (a Agents) batch(ctx context.Context, d *appsv1.DaemonSet, revision string, nodes []string) error {
	err := a.replace(ctx, d, revision, nodes)
	if err != nil && ctx.Err() == nil {
		return fmt.Errorf("%w%s", err, a.Workload.Unready(ctx, untyped(d)))
	}
	if err != nil {
		return err
	}
	return a.Gate(ctx, nodes)
}

// current is the DaemonSet and the revision that its new pods get.
func (a Agents) current(ctx context.Context) (*appsv1.DaemonSet, string, error) {
	sets := a.Client.AppsV1().DaemonSets(a.Place.Namespace)
	d, err := wait(ctx, a.Timeout, func() (*appsv1.DaemonSet, string, error) {
		d, err := sets.Get(ctx, a.Place.agents(), metav1.GetOptions{})
		if err == nil && d.Status.ObservedGeneration < d.Generation {
			return d, "is not taken up by its controller", nil
		}
		return d, "", err
	})
	if err != nil {
		return nil, "", fmt.Errorf("cluster %s: DaemonSet %s: %w", a.Place.Cluster, a.Place.agents(), err)
	}
	if d.Spec.UpdateStrategy.Type != appsv1.OnDeleteDaemonSetStrategyType {
		return nil, "", fmt.Errorf("cluster %s: DaemonSet %s: its update strategy is %s, want %s", a.Place.Cluster, d.Name, d.Spec.UpdateStrategy.Type, appsv1.OnDeleteDaemonSetStrategyType)
	}
	revision, err := a.revision(ctx, d)
	return d, revision, err
}

// untyped is the DaemonSet as package apply has it.
func untyped(d *appsv1.DaemonSet) *unstructured.Unstructured {
	object, err := runtime.DefaultUnstructuredConverter.ToUnstructured(d)
	if err != nil {
		panic(err) // a DaemonSet that came from an API server
	}
	u := &unstructured.Unstructured{Object: object}
	u.SetGroupVersionKind(appsv1.SchemeGroupVersion.WithKind("DaemonSet"))
	return u
}

// Current tells whether all pods of the agents' DaemonSet are of its newest revision and
// ready, and its update strategy is not the one for a rollout.
func Current(ctx context.Context, c kubernetes.Interface, p Place) (bool, error) {
	d, err := c.AppsV1().DaemonSets(p.Namespace).Get(ctx, p.agents(), metav1.GetOptions{})
	if err != nil {
		return false, p.missing(err)
	}
	s := d.Status
	return d.Spec.UpdateStrategy.Type != appsv1.OnDeleteDaemonSetStrategyType && s.ObservedGeneration >= d.Generation &&
		s.UpdatedNumberScheduled >= s.DesiredNumberScheduled && s.NumberReady >= s.DesiredNumberScheduled, nil
}

// revision is the hash that pods of the newest template are labelled with.
func (a Agents) revision(ctx context.Context, d *appsv1.DaemonSet) (string, error) {
	list, err := a.Client.AppsV1().ControllerRevisions(d.Namespace).List(ctx, selector(d))
	if err != nil {
		return "", fmt.Errorf("cluster %s: revisions of DaemonSet %s: %w", a.Place.Cluster, d.Name, err)
	}
	var newest *appsv1.ControllerRevision
	for i := range list.Items {
		r := &list.Items[i]
		if metav1.IsControlledBy(r, d) && (newest == nil || r.Revision > newest.Revision) {
			newest = r
		}
	}
	if newest == nil {
		return "", fmt.Errorf("cluster %s: DaemonSet %s has no revision yet", a.Place.Cluster, d.Name)
	}
	return newest.Labels[appsv1.DefaultDaemonSetUniqueLabelKey], nil
}

func selector(d *appsv1.DaemonSet) metav1.ListOptions {
	return metav1.ListOptions{LabelSelector: metav1.FormatLabelSelector(d.Spec.Selector)}
}

func (a Agents) pods(ctx context.Context, d *appsv1.DaemonSet) ([]corev1.Pod, error) {
	list, err := a.Client.CoreV1().Pods(d.Namespace).List(ctx, selector(d))
	if err != nil {
		return nil, fmt.Errorf("cluster %s: pods of DaemonSet %s: %w", a.Place.Cluster, d.Name, err)
	}
	return slices.DeleteFunc(list.Items, func(p corev1.Pod) bool { return !metav1.IsControlledBy(&p, d) }), nil
}

// outdated are the nodes whose pod is of another revision, those first whose pod is not
// ready: they have least to lose.
func outdated(pods []corev1.Pod, revision string) []string {
	var unready, rest []string
	for i := range pods {
		switch p := &pods[i]; {
		case p.Labels[appsv1.DefaultDaemonSetUniqueLabelKey] == revision || p.Spec.NodeName == "":
		case ready(p):
			rest = append(rest, p.Spec.NodeName)
		default:
			unready = append(unready, p.Spec.NodeName)
		}
	}
	slices.Sort(unready)
	slices.Sort(rest)
	return slices.Concat(unready, rest)
}

func ready(p *corev1.Pod) bool {
	return p.DeletionTimestamp == nil && slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

// replace ends the old pods of some nodes and waits until the new ones are ready.
func (a Agents) replace(ctx context.Context, d *appsv1.DaemonSet, revision string, nodes []string) error {
	pods, err := a.pods(ctx, d)
	if err != nil {
		return err
	}
	for i := range pods {
		p := &pods[i]
		if !slices.Contains(nodes, p.Spec.NodeName) || p.Labels[appsv1.DefaultDaemonSetUniqueLabelKey] == revision {
			continue
		}
		err := a.Client.CoreV1().Pods(p.Namespace).Delete(ctx, p.Name, metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(p.UID))})
		if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
			return fmt.Errorf("end pod %s: %w", p.Name, err)
		}
	}
	_, err = wait(ctx, a.Timeout, func() (struct{}, string, error) {
		missing, err := a.missing(ctx, d, revision, nodes)
		if err == nil && missing != "" {
			err = a.Workload.Hopeless(ctx, untyped(d))
		}
		return struct{}{}, missing, err
	})
	return err
}

// missing says which of the nodes have no ready pod of the revision.
func (a Agents) missing(ctx context.Context, d *appsv1.DaemonSet, revision string, nodes []string) (string, error) {
	pods, err := a.pods(ctx, d)
	if err != nil {
		return "", err
	}
	var lack []string
	for _, node := range nodes {
		if !slices.ContainsFunc(pods, func(p corev1.Pod) bool {
			return p.Spec.NodeName == node && p.Labels[appsv1.DefaultDaemonSetUniqueLabelKey] == revision && ready(&p)
		}) {
			lack = append(lack, node)
		}
	}
	if len(lack) == 0 {
		return "", nil
	}
	// A node that was deleted meanwhile gets no pod any more.
	for _, node := range lack {
		_, err := a.Client.CoreV1().Nodes().Get(ctx, node, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			lack = slices.DeleteFunc(slices.Clone(lack), func(n string) bool { return n == node })
		} else if err != nil {
			return "", err
		}
	}
	if len(lack) == 0 {
		return "", nil
	}
	return "has no ready agent of the new version on " + strings.Join(lack, ", "), nil
}

// wait asks until nothing is missing or the limit is over. Errors of the API are asked
// about again until then, other errors end it.
func wait[T any](ctx context.Context, limit time.Duration, ask func() (T, string, error)) (T, error) {
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		got, missing, err := ask()
		if err == nil && missing == "" {
			return got, nil
		}
		if err != nil && !passing(err) {
			return got, err
		}
		select {
		case <-ctx.Done():
			return got, ctx.Err()
		case <-deadline.C:
			if err != nil {
				return got, err
			}
			return got, fmt.Errorf("after %s it still %s", limit.Round(time.Second), missing)
		case <-tick.C:
		}
	}
}

// passing tells of an error of an API server that may be over soon.
func passing(err error) bool {
	return apierrors.IsServerTimeout(err) || apierrors.IsTimeout(err) || apierrors.IsTooManyRequests(err) ||
		apierrors.IsServiceUnavailable(err) || apierrors.IsInternalError(err) || utilnet.IsConnectionRefused(err) || utilnet.IsConnectionReset(err)
}
