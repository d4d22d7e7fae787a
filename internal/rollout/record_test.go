package rollout

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sdn-tunnel/sdn-tunnel/internal/apitest"
	"github.com/sdn-tunnel/sdn-tunnel/internal/apply"
)

// declared is what a deploy of an image declares.
func declared(image, more string) string {
	return strings.NewReplacer("IMAGE", image, "MORE", more).Replace(`
{apiVersion: v1, kind: ConfigMap, metadata: {name: app-controller, namespace: ns}, data: {a: IMAGE}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: app-controller, namespace: ns}
spec:
  selector: {matchLabels: {app: c}}
  template:
    metadata: {labels: {app: c}}
    spec: {containers: [{name: c, image: IMAGE}]}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: app-agent, namespace: ns}
spec:
  selector: {matchLabels: {app: a}}
  updateStrategy: {type: RollingUpdate, rollingUpdate: {maxUnavailable: 25%}}
  template:
    metadata: {labels: {app: a}}
    spec:
      containers: [{name: a, image: IMAGE}]
      volumes: [{name: tmp, emptyDir: {}}MORE]
`)
}

// TestRecord: what is kept, applied again, makes the workloads what they were; what
// somebody else set meanwhile stays.
func TestRecord(t *testing.T) {
	s := apitest.Start(t)
	c := s.Clientset(t)
	s.Namespaces(t, "ns")
	if _, _, err := Observe(t.Context(), c, place); err == nil || !strings.Contains(err.Error(), "run the deploy") {
		t.Errorf("nothing is deployed: %v", err)
	}
	engine, err := apply.New(s.Config, place.Owner, false)
	if err != nil {
		t.Fatal(err)
	}
	deploy := func(image, more string) {
		t.Helper()
		objects, err := apply.Read("test", []byte(declared(image, more)))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := engine.Apply(t.Context(), objects); err != nil {
			t.Fatal(err)
		}
	}
	agents := func() *appsv1.DaemonSet {
		t.Helper()
		d, err := c.AppsV1().DaemonSets("ns").Get(t.Context(), "app-agent", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	deploy("a:v1", "")
	before := agents()
	observed, is, err := Observe(t.Context(), c, place)
	if err != nil || observed.Agent != "a:v1" || observed.Controller != "a:v1" || observed.State != UnderWay {
		t.Fatalf("%+v: %v", observed, err)
	}
	if err := observed.Keep(t.Context(), c, place); err != nil {
		t.Fatal(err)
	}
	becomes := func(image, more string) Version {
		t.Helper()
		objects, err := apply.Read("test", []byte(declared(image, more)))
		if err != nil {
			t.Fatal(err)
		}
		v, err := Becomes(t.Context(), c, place, objects)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	if same := becomes("a:v1", ""); same != is {
		t.Errorf("declared again it would be %+v, is %+v", same, is)
	}
	if more := becomes("a:v1", ", {name: more, emptyDir: {}}"); more.Digest == is.Digest || more.Agent != "a:v1" {
		t.Errorf("the same image, declared in another way, would be %+v, is %+v", more, is)
	}
	wanted := becomes("a:v2", ", {name: more, emptyDir: {}}")
	deploy("a:v2", ", {name: more, emptyDir: {}}")
	if _, now, err := Observe(t.Context(), c, place); err != nil || now != wanted || now == is {
		t.Errorf("it is %+v, was to become %+v: %v", now, wanted, err)
	}
	after := agents()
	after.Spec.MinReadySeconds = 7
	if _, err := c.AppsV1().DaemonSets("ns").Update(t.Context(), after, metav1.UpdateOptions{FieldManager: "somebody"}); err != nil {
		t.Fatal(err)
	}

	kept, there, err := Load(t.Context(), c, place)
	if err != nil || !there {
		t.Fatalf("%v, %v", there, err)
	}
	if diff := cmp.Diff(observed, kept); diff != "" {
		t.Errorf("kept: %s", diff)
	}
	if _, err := engine.Apply(t.Context(), kept.Objects); err != nil {
		t.Fatal(err)
	}
	before.Spec.MinReadySeconds = 7
	if diff := cmp.Diff(before.Spec, agents().Spec); diff != "" {
		t.Errorf("back: %s", diff)
	}
	if err := Drop(t.Context(), c, place); err != nil {
		t.Fatal(err)
	}
	if _, there, err := Load(t.Context(), c, place); there || err != nil {
		t.Errorf("after Drop: %v, %v", there, err)
	}
}

// TestTakenUp: the way back of an upgrade that was killed stays that from before it, until
// all that it was to bring is there.
func TestTakenUp(t *testing.T) {
	one, two := Version{Agent: "a:1", Controller: "c:1", Digest: "1"}, Version{Agent: "a:2", Controller: "c:2", Digest: "2"}
	half := Version{Agent: one.Agent, Controller: two.Controller, Digest: "1/2"}
	args, other := two, two
	args.Digest, other.Digest = "1/2", ""
	for _, tt := range []struct {
		name  string
		state string
		to    Version
		is    Version
		want  bool
	}{
		{"killed before it changed anything", UnderWay, two, one, true},
		{"killed between controller and agents", UnderWay, two, half, true},
		{"killed between them, with the same images", UnderWay, two, args, true},
		{"a deploy has brought the rest", UnderWay, two, two, false},
		{"over", Done, two, half, false},
		{"recorded without a digest, and half there", UnderWay, other, half, true},
		{"recorded without a digest, and all there", UnderWay, other, two, false},
	} {
		if got := (Record{State: tt.state, Agent: one.Agent, Controller: one.Controller, To: tt.to}).TakenUp(tt.is); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}
