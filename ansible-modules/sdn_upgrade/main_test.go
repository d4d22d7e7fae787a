package main

import (
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/sdn-tunnel/sdn-tunnel/ansible-modules/internal/cluster"
	"github.com/sdn-tunnel/sdn-tunnel/ansible-modules/internal/module"
	"github.com/sdn-tunnel/sdn-tunnel/ansible-modules/internal/sidecar"
	"github.com/sdn-tunnel/sdn-tunnel/internal/apitest"
	"github.com/sdn-tunnel/sdn-tunnel/internal/apply"
	"github.com/sdn-tunnel/sdn-tunnel/internal/rollout"
)

// TestDocumentation: what ansible-doc shows is what the module takes.
func TestDocumentation(t *testing.T) { sidecar.Check[Args](t, "sdn_upgrade") }

const agents = `
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: sdn-tunnel-agent, namespace: default}
spec:
  selector: {matchLabels: {app: a}}
  updateStrategy: {type: RollingUpdate}
  template:
    metadata: {labels: {app: a}}
    spec: {containers: [{name: a, image: a}]}
`

// checkTellsOfPods: that pods are to be replaced is a change, though the DaemonSet is as
// declared; where they are, there is none.
func checkTellsOfPods(t *testing.T, c kubernetes.Interface, members []cluster.Member) {
	t.Helper()
	check := func() bool {
		t.Helper()
		args := Args{State: "agents", Cluster: "east", Members: members, Namespace: "default", AppName: "sdn-tunnel", Manifests: []any{agents}, Batch: "1", RolloutTimeout: 10}
		result, err := run(t.Context(), module.Call{Check: true}, args)
		if err != nil {
			t.Fatal(err)
		}
		return result.Changed
	}
	access, err := members[0].Access.Open(t.Context(), "east")
	if err != nil {
		t.Fatal(err)
	}
	engine, err := apply.New(access.Config, deployOwner, false)
	if err != nil {
		t.Fatal(err)
	}
	objects, err := apply.Read("agents", []byte(agents))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := engine.Apply(t.Context(), objects); err != nil {
		t.Fatal(err)
	}
	if !check() {
		t.Error("no pod runs what is declared, and nothing would change")
	}
	sets := c.AppsV1().DaemonSets("default")
	d, err := sets.Get(t.Context(), "sdn-tunnel-agent", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	d.Status.ObservedGeneration = d.Generation
	if _, err := sets.UpdateStatus(t.Context(), d, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	if check() {
		t.Error("all is as declared, and something would change")
	}
}

// TestUpgrade on a real API: one that fails takes back what it changed itself, and nothing that one
// before it had brought; who asks for the way back gets that of the last one.
func TestUpgrade(t *testing.T) {
	s := apitest.Start(t)
	c := s.Clientset(t)
	s.Namespaces(t, "sdn-tunnel")
	members := []cluster.Member{{Name: "east", Access: cluster.Access{Kubeconfig: s.Kubeconfig(t, s.Config)}}}
	checkTellsOfPods(t, c, members)
	place := rollout.Place{Cluster: "east", Namespace: "sdn-tunnel", AppName: "sdn-tunnel", Owner: deployOwner}
	for _, tt := range []struct {
		name, state    string // of the record; empty: there is none
		failed         bool   // an upgrade did, and nobody asked for the way back
		goes, warnings bool
	}{
		{name: "of the upgrade that failed", state: rollout.UnderWay, failed: true, goes: true},
		{name: "of one before that", state: rollout.Done, failed: true},
		{name: "nothing changed", failed: true},
		{name: "asked for", state: rollout.Done, goes: true},
		{name: "asked for, of one that was killed", state: rollout.UnderWay, goes: true},
		{name: "asked for in vain", warnings: true},
	} {
		if tt.state != "" {
			if err := (rollout.Record{State: tt.state}).Keep(t.Context(), c, place); err != nil {
				t.Fatal(err)
			}
		}
		args := Args{State: "back", Cluster: "east", Members: members, Namespace: "sdn-tunnel", AppName: "sdn-tunnel", UnderWay: tt.failed, RolloutTimeout: 10}
		result, err := run(t.Context(), module.Call{}, args)
		if err != nil || result.Changed != tt.goes || len(result.Warnings) > 0 != tt.warnings {
			t.Errorf("%s: %+v, %v", tt.name, result, err)
		}
		if _, there, err := rollout.Load(t.Context(), c, place); err != nil || there != (tt.state != "" && !tt.goes) {
			t.Errorf("%s: afterwards there is a record: %v, %v", tt.name, there, err)
		}
		if err := rollout.Drop(t.Context(), c, place); err != nil {
			t.Fatal(err)
		}
	}
}

// workloads are those of a cluster, whose containers have an argument.
const workloads = `
{apiVersion: v1, kind: ConfigMap, metadata: {name: sdn-tunnel-controller, namespace: sdn-tunnel}, data: {a: b}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: sdn-tunnel-controller, namespace: sdn-tunnel}
spec:
  selector: {matchLabels: {app: c}}
  template:
    metadata: {labels: {app: c}}
    spec: {containers: [{name: c, image: IMAGE}]}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: sdn-tunnel-agent, namespace: sdn-tunnel}
spec:
  selector: {matchLabels: {app: a}}
  template:
    metadata: {labels: {app: a}}
    spec: {containers: [{name: a, image: IMAGE, args: [ARGUMENT]}]}
`

// TestOtherManifests: an upgrade with the same images and other manifests keeps its way back in
// every cluster, also when it is killed half way; one that changes nothing keeps none.
func TestOtherManifests(t *testing.T) {
	s := apitest.Start(t)
	c := s.Clientset(t)
	s.Namespaces(t, "sdn-tunnel")
	engine, err := apply.New(s.Config, deployOwner, false)
	if err != nil {
		t.Fatal(err)
	}
	declared := func(image, argument string) string {
		return strings.NewReplacer("IMAGE", image, "ARGUMENT", argument).Replace(workloads)
	}
	deploy := func(image, argument string) {
		t.Helper()
		objects, err := apply.Read("workloads", []byte(declared(image, argument)))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := engine.Apply(t.Context(), objects); err != nil {
			t.Fatal(err)
		}
	}
	members := []cluster.Member{{Name: "east", Access: cluster.Access{Kubeconfig: s.Kubeconfig(t, s.Config)}}}
	place := rollout.Place{Cluster: "east", Namespace: "sdn-tunnel", AppName: "sdn-tunnel", Owner: deployOwner}
	begin := func(image, argument string) module.Result {
		t.Helper()
		args := Args{State: "begun", Members: members, Namespace: "sdn-tunnel", AppName: "sdn-tunnel", Force: true,
			Declared: map[string][]any{"east": {declared(image, argument)}}}
		if err := args.Validate(); err != nil {
			t.Fatal(err)
		}
		result, err := run(t.Context(), module.Call{}, args)
		if err != nil {
			t.Fatal(err)
		}
		return result
	}
	argument := func() string {
		t.Helper()
		record, there, err := rollout.Load(t.Context(), c, place)
		if err != nil || !there {
			t.Fatalf("a record: %v, %v", there, err)
		}
		if _, err := engine.Apply(t.Context(), record.Objects); err != nil {
			t.Fatal(err)
		}
		d, err := c.AppsV1().DaemonSets("sdn-tunnel").Get(t.Context(), "sdn-tunnel-agent", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return d.Spec.Template.Spec.Containers[0].Args[0]
	}

	deploy("i:v1", "one")
	if r := begin("i:v1", "one"); r.Changed {
		t.Errorf("nothing changes, and it is a change: %+v", r)
	}
	if _, there, err := rollout.Load(t.Context(), c, place); there || err != nil {
		t.Errorf("nothing changes, and there is a record: %v, %v", there, err)
	}
	r := begin("i:v1", "two")
	if want := []string{"cluster east: the same images, declared in another way"}; !r.Changed || !slices.Equal(r.Data["steps"].([]string), want) {
		t.Errorf("%+v", r)
	}
	deploy("i:v1", "half")
	if r := begin("i:v1", "two"); r.Changed {
		t.Errorf("one that was killed is taken up, with the way back of before: %+v", r)
	}
	if back := argument(); back != "one" {
		t.Errorf("back it has %q, want one", back)
	}
	deploy("i:v1", "two")
	if r := begin("i:v1", "three"); !r.Changed {
		t.Errorf("what was killed is all there, so the next begins with it: %+v", r)
	}
	if back := argument(); back != "two" {
		t.Errorf("back it has %q, want two", back)
	}
}

// TestKeep: all clusters go back together, to what was there before the same upgrade.
func TestKeep(t *testing.T) {
	old, now, next := rollout.Version{Agent: "a:1"}, rollout.Version{Agent: "a:2"}, rollout.Version{Agent: "a:3"}
	record := func(state string, to rollout.Version) *rollout.Record { return &rollout.Record{State: state, To: to} }
	for _, tt := range []struct {
		name   string
		before *rollout.Record
		is, to rollout.Version
		some   bool
		want   bool
	}{
		{"it changes", nil, now, next, true, true},
		{"nothing does", record(rollout.Done, now), now, now, false, false},
		{"others do", record(rollout.Done, now), now, now, true, true},
		{"others do, and it has no record", nil, now, now, true, true},
		{"killed once this one had it all", record(rollout.UnderWay, now), now, now, true, false},
		{"killed half way", record(rollout.UnderWay, next), old, next, true, false},
	} {
		b := beginning{before: tt.before, is: tt.is, record: rollout.Record{To: tt.to}}
		if got := b.keep(tt.some); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}
