package rollout

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	k8stesting "k8s.io/client-go/testing"
)

var place = Place{Cluster: "east", Namespace: "ns", AppName: "app", Owner: "deploy"}

// nobody has nothing to say about pods.
type nobody struct{}

func (nobody) Unready(context.Context, *unstructured.Unstructured) string { return "; why" }
func (nobody) Hopeless(context.Context, *unstructured.Unstructured) error { return nil }

// daemonSet is a cluster whose DaemonSet controller makes a pod anew once it is deleted;
// broken tells on which nodes those do not become ready.
func daemonSet(t *testing.T, strategy appsv1.DaemonSetUpdateStrategyType, nodes []string, broken func(string) bool) *fake.Clientset {
	t.Helper()
	labels := map[string]string{"component": "agent"}
	d := &appsv1.DaemonSet{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "app-agent", UID: "d", Generation: 2},
		Spec:       appsv1.DaemonSetSpec{Selector: &metav1.LabelSelector{MatchLabels: labels}, UpdateStrategy: appsv1.DaemonSetUpdateStrategy{Type: strategy}},
		Status:     appsv1.DaemonSetStatus{ObservedGeneration: 2},
	}
	owner := []metav1.OwnerReference{*metav1.NewControllerRef(d, appsv1.SchemeGroupVersion.WithKind("DaemonSet"))}
	objects := []runtime.Object{d}
	for i, hash := range []string{"old", "new"} {
		objects = append(objects, &appsv1.ControllerRevision{
			ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: hash, OwnerReferences: owner, Labels: map[string]string{"component": "agent", appsv1.DefaultDaemonSetUniqueLabelKey: hash}},
			Revision:   int64(i + 1),
		})
	}
	pod := func(node, hash string, ready corev1.ConditionStatus) *corev1.Pod {
		return &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: hash + "-" + node, OwnerReferences: owner, Labels: map[string]string{"component": "agent", appsv1.DefaultDaemonSetUniqueLabelKey: hash}},
			Spec:       corev1.PodSpec{NodeName: node},
			Status:     corev1.PodStatus{Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: ready}}},
		}
	}
	for _, n := range nodes {
		objects = append(objects, pod(n, "old", corev1.ConditionTrue), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: n}})
	}
	c := fake.NewClientset(objects...)
	c.PrependReactor("delete", "pods", func(action k8stesting.Action) (bool, runtime.Object, error) {
		_, node, _ := strings.Cut(action.(k8stesting.DeleteAction).GetName(), "-")
		ready := corev1.ConditionTrue
		if broken(node) {
			ready = corev1.ConditionFalse
		}
		return false, nil, c.Tracker().Create(corev1.SchemeGroupVersion.WithResource("pods"), pod(node, "new", ready), "ns")
	})
	return c
}

// TestRoll: a batch after the other with the gate between; what fails ends it there.
func TestRoll(t *testing.T) {
	nodes := []string{"a", "b", "c", "d"}
	for _, tt := range []struct {
		name     string
		strategy appsv1.DaemonSetUpdateStrategyType
		broken   string // node whose new pod is never ready
		refuses  string // node that the gate refuses
		gates    []string
		want     string // in the error
	}{
		{"all", appsv1.OnDeleteDaemonSetStrategyType, "", "", []string{"a", "b c", "d"}, ""},
		{"a pod that does not become ready", appsv1.OnDeleteDaemonSetStrategyType, "c", "", []string{"a"}, "cluster east: batch 2 of 3 (b, c): after 0s it still has no ready agent of the new version on c; why"},
		{"a gate that refuses", appsv1.OnDeleteDaemonSetStrategyType, "", "a", []string{"a"}, "cluster east: batch 1 of 3 (a): no way"},
		{"pods that are replaced by themselves", appsv1.RollingUpdateDaemonSetStrategyType, "", "", nil, "its update strategy is RollingUpdate, want OnDelete"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := daemonSet(t, tt.strategy, nodes, func(n string) bool { return n == tt.broken })
			var gates []string
			a := Agents{Client: c, Place: place, Batch: "2", Canary: true, Timeout: 400 * time.Millisecond, Workload: nobody{},
				Gate: func(_ context.Context, batch []string) error {
					gates = append(gates, strings.Join(batch, " "))
					if batch[0] == tt.refuses {
						return errors.New("no way")
					}
					return nil
				}}
			touched, _, err := a.Roll(t.Context())
			if diff := cmp.Diff(tt.gates, gates); diff != "" {
				t.Errorf("gates: %s", diff)
			}
			if tt.want == "" && (err != nil || len(touched) != len(nodes)) || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("touched %v: %v", touched, err)
			}
			if tt.want == "" {
				if touched, _, err := a.Roll(t.Context()); err != nil || len(touched) > 0 {
					t.Errorf("once more: %v, %v", touched, err)
				}
			}
		})
	}
}

// TestRollGoesOn: a rollout that was ended takes up the rest, and does not wait for a node
// that is deleted meanwhile.
func TestRollGoesOn(t *testing.T) {
	c := daemonSet(t, appsv1.OnDeleteDaemonSetStrategyType, []string{"a", "b", "c"}, func(n string) bool { return n == "b" })
	if err := c.CoreV1().Pods("ns").Delete(t.Context(), "old-a", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := c.CoreV1().Nodes().Delete(t.Context(), "b", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	a := Agents{Client: c, Place: place, Batch: "1", Timeout: 5 * time.Second, Workload: nobody{}, Gate: func(context.Context, []string) error { return nil }}
	if touched, _, err := a.Roll(t.Context()); err != nil || fmt.Sprint(touched) != "[b c]" {
		t.Errorf("touched %v: %v", touched, err)
	}
}

// TestRollPassesOver: a node that is down keeps its pod, and holds up nobody.
func TestRollPassesOver(t *testing.T) {
	c := daemonSet(t, appsv1.OnDeleteDaemonSetStrategyType, []string{"a", "b", "c"}, func(n string) bool { return n == "a" })
	down := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "a"}, Status: corev1.NodeStatus{Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionUnknown}}}}
	if _, err := c.CoreV1().Nodes().Update(t.Context(), down, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	a := Agents{Client: c, Place: place, Batch: "2", Timeout: 5 * time.Second, Workload: nobody{}, Gate: func(context.Context, []string) error { return nil }}
	if touched, passed, err := a.Roll(t.Context()); err != nil || fmt.Sprint(touched, passed) != "[b c] [a]" {
		t.Errorf("touched %v, passed over %v: %v", touched, passed, err)
	}
}
