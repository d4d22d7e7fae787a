package apply

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	dynamicfake "k8s.io/client-go/dynamic/fake"
)

const imageWorkload = `{apiVersion: apps/v1, kind: DaemonSet, metadata: {name: d, namespace: n, generation: 2}, spec: {selector: {matchLabels: {app: d}}}, status: {observedGeneration: 2}}`

// imagePod is the workload's pod on a node, of the new version or the one before, whose
// container is in a state.
func imagePod(version, state string) string {
	return `{apiVersion: v1, kind: Pod, metadata: {name: p, namespace: n, uid: u, labels: {app: d, controller-revision-hash: ` + version + `}},
  spec: {nodeName: east-1, containers: [{name: agent, image: "r/agent:nosuch"}]},
  status: {containerStatuses: [{name: agent, image: "", state: ` + state + `}]}}`
}

// TestHopelessImage: a name that can never be pulled ends a rollout at once, a pull that fails
// after a while, and what the kubelet said of the failure is in the error.
func TestHopelessImage(t *testing.T) {
	const (
		creating = `{waiting: {reason: ContainerCreating}}`
		failed   = `{waiting: {reason: ErrImagePull, message: "manifest unknown"}}`
		backOff  = `{waiting: {reason: ImagePullBackOff, message: "Back-off pulling image"}}`
		running  = `{running: {}}`
		noted    = "node east-1 does not get the image r/agent:nosuch for pod p: "
		given    = "; it is given up if that lasts for 60 s"
	)
	type step struct {
		state string
		after time.Duration
	}
	for _, tt := range []struct {
		name, version string
		steps         []step
		want          string // of the last step; those before are no error
		notes         string
	}{
		{"a wrong name", "b", []step{{`{waiting: {reason: InvalidImageName, message: "couldn't parse"}}`, 0}},
			"node east-1 does not get the image r/agent:nosuch for pod p: InvalidImageName: couldn't parse", ""},
		{"not on the node", "b", []step{{creating, 0}, {`{waiting: {reason: ErrImageNeverPull, message: "not present"}}`, time.Second}},
			"node east-1 does not get the image r/agent:nosuch for pod p: ErrImageNeverPull: not present", ""},
		{"cannot be read", "b", []step{{`{waiting: {reason: ImageInspectError}}`, 0}},
			"node east-1 does not get the image r/agent:nosuch for pod p: ImageInspectError: the kubelet does not say why", ""},
		{"a wrong name of the version before", "a", []step{{`{waiting: {reason: InvalidImageName}}`, 0}}, "", ""},
		{"a hiccup", "b", []step{{failed, 0}, {backOff, 10 * time.Second}, {failed, 40 * time.Second}, {running, 9 * time.Second}}, "", noted + "ErrImagePull: manifest unknown" + given},
		{"a slow pull before", "b", []step{{creating, 0}, {creating, 4 * time.Minute}, {failed, 0}, {backOff, 59 * time.Second}}, "", noted + "ErrImagePull: manifest unknown" + given},
		{"never", "b", []step{{failed, 0}, {backOff, 30 * time.Second}, {backOff, 30 * time.Second}},
			"node east-1 does not get the image r/agent:nosuch for pod p: ImagePullBackOff for 60 s: manifest unknown", noted + "ErrImagePull: manifest unknown" + given},
		{"seen in a pause only", "b", []step{{backOff, 0}, {backOff, time.Minute}},
			"node east-1 does not get the image r/agent:nosuch for pod p: ImagePullBackOff for 60 s: Back-off pulling image", noted + "ImagePullBackOff: Back-off pulling image" + given},
		{"it ran between", "b", []step{{failed, 0}, {running, 40 * time.Second}, {backOff, 40 * time.Second}, {backOff, 59 * time.Second}}, "",
			noted + "ErrImagePull: manifest unknown" + given + "\n" + noted + "ImagePullBackOff: Back-off pulling image" + given},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e, live := imageEngine(t)
				var notes []string
				e.Note = func(s string) { notes = append(notes, s) }
				for i, s := range tt.steps {
					time.Sleep(s.after)
					put(t, e, read(t, imagePod(tt.version, s.state))[0])
					got, want := e.Hopeless(t.Context(), live), ""
					if i == len(tt.steps)-1 {
						want = tt.want
					}
					if (got == nil) != (want == "") || got != nil && got.Error() != want {
						t.Fatalf("step %d: %v, want %q", i, got, want)
					}
				}
				if got := strings.Join(notes, "\n"); got != tt.notes {
					t.Errorf("noted %q, want %q", got, tt.notes)
				}
			})
		})
	}
}

// TestImageOfPodThatLeaves: a rollout may have replaced it already.
func TestImageOfPodThatLeaves(t *testing.T) {
	e, live := imageEngine(t)
	pod := read(t, strings.Replace(imagePod("b", `{waiting: {reason: InvalidImageName}}`), "uid: u,", `uid: u, deletionTimestamp: "2026-01-01T00:00:00Z",`, 1))[0]
	put(t, e, pod)
	if err := e.Hopeless(t.Context(), live); err != nil {
		t.Error(err)
	}
}

// imageEngine is for a cluster with the workload's two versions, of which b is the newer.
func imageEngine(t *testing.T) (*Engine, *unstructured.Unstructured) {
	t.Helper()
	var objects []runtime.Object
	for version, revision := range map[string]string{"a": "1", "b": "2"} {
		for _, o := range read(t, "{apiVersion: apps/v1, kind: ControllerRevision, metadata: {name: d-"+version+", namespace: n, labels: {app: d, controller-revision-hash: "+version+"}}, revision: "+revision+"}") {
			objects = append(objects, o)
		}
	}
	client := dynamicfake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(),
		map[schema.GroupVersionResource]string{
			{Version: "v1", Resource: "pods"}:                               "PodList",
			{Group: "apps", Version: "v1", Resource: "controllerrevisions"}: "ControllerRevisionList",
		}, objects...)
	return &Engine{client: client}, read(t, imageWorkload)[0]
}

// put has the pod be there as given.
func put(t *testing.T, e *Engine, pod *unstructured.Unstructured) {
	t.Helper()
	tracker := e.client.(*dynamicfake.FakeDynamicClient).Tracker()
	pods := schema.GroupVersionResource{Version: "v1", Resource: "pods"}
	if err := tracker.Create(pods, pod, pod.GetNamespace()); err != nil {
		if err := tracker.Update(pods, pod, pod.GetNamespace()); err != nil {
			t.Fatal(err)
		}
	}
}
