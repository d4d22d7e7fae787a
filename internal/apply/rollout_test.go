package apply

import (
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"

	"github.com/sdn-tunnel/sdn-tunnel/internal/apitest"
)

// applied is a cluster that has the manifests' objects, and no controllers.
func applied(t *testing.T) (*Engine, kubernetes.Interface, []*unstructured.Unstructured) {
	t.Helper()
	s := apitest.Start(t)
	e, err := New(s.Config, "test", false)
	if err != nil {
		t.Fatal(err)
	}
	objects := read(t, manifests)
	if _, err := e.Apply(t.Context(), objects); err != nil {
		t.Fatal(err)
	}
	return e, s.Clientset(t), objects
}

// TestAwaitRolloutNamesWhatIsMissing: without controllers nothing ever gets ready, and
// the message has what the pod's status and events say, node and remedy included.
func TestAwaitRolloutNamesWhatIsMissing(t *testing.T) {
	e, core, objects := applied(t)
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "d-1", Namespace: "fresh", Labels: map[string]string{"app": "d"}},
		Spec:       corev1.PodSpec{NodeName: "n1", Containers: []corev1.Container{{Name: "c", Image: "example.org/c"}}},
	}
	pod, err := core.CoreV1().Pods("fresh").Create(t.Context(), pod, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for i, message := range []string{"an older one", "Failed to create pod sandbox: no bridge"} {
		event := &corev1.Event{
			ObjectMeta:     metav1.ObjectMeta{GenerateName: "d-1.", Namespace: "fresh"},
			InvolvedObject: corev1.ObjectReference{Kind: "Pod", Namespace: "fresh", Name: pod.Name, UID: pod.UID},
			Type:           corev1.EventTypeWarning, Reason: "FailedCreatePodSandBox", Message: message,
			LastTimestamp: metav1.NewTime(time.Now().Add(time.Duration(i-2) * time.Minute)),
		}
		if _, err := core.CoreV1().Events("fresh").Create(t.Context(), event, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	err = e.AwaitRollout(t.Context(), objects, 1)
	const want = "\npod d-1 on n1: Failed to create pod sandbox: no bridge (see that the pod network of the node works: OpenShift SDN and Open vSwitch)"
	if err == nil || !strings.Contains(err.Error(), "DaemonSet fresh/d: after 1s it still ") || !strings.HasSuffix(err.Error(), want) {
		t.Errorf("%v\nwant at its end:%s", err, want)
	}
}

// TestAwaitRolloutOfWrongImage: what no node can pull is not waited for, and the error says
// what is wrong with it, where, and what to do.
func TestAwaitRolloutOfWrongImage(t *testing.T) {
	e, core, objects := applied(t)
	labels := map[string]string{"app": "d", "controller-revision-hash": "b"}
	// What the controller and the kubelet write.
	set, err := core.AppsV1().DaemonSets("fresh").Get(t.Context(), "d", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	set.Status = appsv1.DaemonSetStatus{ObservedGeneration: set.Generation, DesiredNumberScheduled: 1, UpdatedNumberScheduled: 1}
	if _, err := core.AppsV1().DaemonSets("fresh").UpdateStatus(t.Context(), set, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := core.AppsV1().ControllerRevisions("fresh").Create(t.Context(), &appsv1.ControllerRevision{
		ObjectMeta: metav1.ObjectMeta{Name: "d-b", Labels: labels}, Revision: 2, Data: runtime.RawExtension{Raw: []byte("{}")}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	pod, err := core.CoreV1().Pods("fresh").Create(t.Context(), &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "d-1", Labels: labels},
		Spec:       corev1.PodSpec{NodeName: "n1", Containers: []corev1.Container{{Name: "c", Image: "example.org/C:x"}}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	pod.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "c", State: corev1.ContainerState{
		Waiting: &corev1.ContainerStateWaiting{Reason: "InvalidImageName", Message: "repository name must be lowercase"}}}}
	if _, err := core.CoreV1().Pods("fresh").UpdateStatus(t.Context(), pod, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	err = e.AwaitRollout(t.Context(), objects, time.Minute)
	const want = `DaemonSet fresh/d: node n1 does not get the image example.org/C:x for pod d-1: InvalidImageName: repository name must be lowercase
pod d-1 on n1: c InvalidImageName repository name must be lowercase (correct the image's name)`
	if err == nil || err.Error() != want || time.Since(start) > 30*time.Second {
		t.Errorf("after %s: %v\nwant: %s", time.Since(start), err, want)
	}
}

func TestWhyNot(t *testing.T) {
	waiting := func(reason, message string) corev1.ContainerState {
		return corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}}
	}
	terminated := func(code int32, message string) corev1.ContainerState {
		return corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: code, Message: message}}
	}
	for _, tt := range []struct {
		name        string
		status      corev1.PodStatus
		why, remedy string
	}{
		{"nothing is known", corev1.PodStatus{Phase: corev1.PodPending}, "Pending", ""},
		{"no node takes it", corev1.PodStatus{Conditions: []corev1.PodCondition{{Status: corev1.ConditionFalse, Message: "0/2 nodes are available"}}},
			"0/2 nodes are available", ""},
		{"an image that is not there", corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{
			{Name: "agent", State: waiting("ImagePullBackOff", `Back-off pulling image "x"`)}}},
			`agent ImagePullBackOff Back-off pulling image "x"`, remedies["ImagePullBackOff"]},
		{"it ends again and again", corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{
			{Name: "agent", State: waiting("CrashLoopBackOff", "back-off"), LastTerminationState: terminated(1, "starting\nlisten on :9655: address in use\n")}}},
			"agent ended with code 1: listen on :9655: address in use", ""},
		{"it ended", corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{Name: "agent", State: terminated(2, "")}}},
			"agent ended with code 2:", ""},
		{"it runs again after it ended", corev1.PodStatus{
			ContainerStatuses: []corev1.ContainerStatus{{Name: "agent", LastTerminationState: terminated(1, "old")}},
			Conditions:        []corev1.PodCondition{{Status: corev1.ConditionFalse, Message: "containers with unready status: [agent]"}}},
			"containers with unready status: [agent]", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			why, remedy := whyNot(&corev1.Pod{Status: tt.status})
			if why != tt.why || remedy != tt.remedy {
				t.Errorf("%q, %q; want %q, %q", why, remedy, tt.why, tt.remedy)
			}
		})
	}
}
