package apply

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/runtime"
	dynamicfake "k8s.io/client-go/dynamic/fake"
)

// TestHopeless: only what the rollout makes now can end it; what it takes away cannot.
func TestHopeless(t *testing.T) {
	const deployment = `{apiVersion: apps/v1, kind: Deployment, metadata: {name: d, namespace: n, generation: 2}, spec: {selector: {matchLabels: {app: d}}}, status: {observedGeneration: 2}}`
	const daemonset = `{apiVersion: apps/v1, kind: DaemonSet, metadata: {name: d, namespace: n, generation: 2}, spec: {selector: {matchLabels: {app: d}}}, status: {observedGeneration: 2}}`
	replicas := func(hash, revision string) string {
		return "{apiVersion: apps/v1, kind: ReplicaSet, metadata: {name: d-" + hash + ", namespace: n, labels: {app: d, pod-template-hash: " + hash +
			"}, annotations: {deployment.kubernetes.io/revision: \"" + revision + "\"}}}"
	}
	version := func(hash, revision string) string {
		return "{apiVersion: apps/v1, kind: ControllerRevision, metadata: {name: d-" + hash + ", namespace: n, labels: {app: d, controller-revision-hash: " + hash + "}}, revision: " + revision + "}"
	}
	pod := func(label, hash, restarts string) string {
		return "{apiVersion: v1, kind: Pod, metadata: {name: p, namespace: n, labels: {app: d, " + label + ": " + hash +
			"}}, status: {containerStatuses: [{name: c, restartCount: " + restarts + ", state: {waiting: {reason: CrashLoopBackOff}}}]}}"
	}
	for _, tt := range []struct {
		name, workload string
		others         []string
		want           string
	}{
		{"the new one fails", deployment, []string{replicas("a", "9"), replicas("b", "10"), pod("pod-template-hash", "b", "4")}, "pod p failed 5 times"},
		{"the new one fails sometimes", deployment, []string{replicas("b", "10"), pod("pod-template-hash", "b", "3")}, ""},
		{"the old one fails", deployment, []string{replicas("a", "9"), replicas("b", "10"), pod("pod-template-hash", "a", "12")}, ""},
		{"nobody has seen the change", strings.Replace(deployment, "observedGeneration: 2", "observedGeneration: 1", 1),
			[]string{replicas("a", "9"), pod("pod-template-hash", "a", "12")}, ""},
		{"the new one of a DaemonSet fails", daemonset, []string{version("a", "9"), version("b", "10"), pod("controller-revision-hash", "b", "5")}, "pod p failed 6 times"},
		{"the old one of a DaemonSet fails", daemonset, []string{version("a", "9"), version("b", "10"), pod("controller-revision-hash", "a", "5")}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var objects []runtime.Object
			for _, o := range read(t, strings.Join(tt.others, "\n---\n")) {
				objects = append(objects, o)
			}
			e := &Engine{client: dynamicfake.NewSimpleDynamicClient(runtime.NewScheme(), objects...)}
			err := e.Hopeless(t.Context(), read(t, tt.workload)[0])
			if (err == nil) != (tt.want == "") || err != nil && err.Error() != tt.want {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}
