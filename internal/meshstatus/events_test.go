package meshstatus

import (
	"errors"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestWarningsThatAreOver: a pod's are, once it is ready or gone; those since then are not.
func TestWarningsThatAreOver(t *testing.T) {
	agent := func(ready bool) *corev1.Pod {
		p := pod(componentAgent, "east-1", ready)
		p.UID = "new"
		p.Status.Conditions[0].LastTransitionTime = before(10 * time.Minute)
		return p
	}
	about := corev1.ObjectReference{Kind: "Pod", Name: "sdn-tunnel-agent-east-1", UID: "new"}
	for name, c := range map[string]struct {
		pods  []*corev1.Pod
		err   error
		about corev1.ObjectReference
		last  time.Duration
		shown bool
	}{
		"ready since":              {[]*corev1.Pod{agent(true)}, nil, about, 11 * time.Minute, false},
		"ready in the same second": {[]*corev1.Pod{agent(true)}, nil, about, 10 * time.Minute, false},
		"after it was ready":       {[]*corev1.Pod{agent(true)}, nil, about, 9 * time.Minute, true},
		"not ready":                {[]*corev1.Pod{agent(false)}, nil, about, 11 * time.Minute, true},
		"gone":                     {nil, nil, about, time.Minute, false},
		"of its predecessor":       {[]*corev1.Pod{agent(false)}, nil, corev1.ObjectReference{Kind: "Pod", Name: about.Name, UID: "old"}, time.Minute, false},
		"perhaps not read":         {nil, errors.New("no answer"), about, time.Minute, true},
		"of no pod":                {nil, nil, corev1.ObjectReference{Kind: "DaemonSet", Name: "sdn-tunnel-agent"}, time.Minute, true},
	} {
		t.Run(name, func(t *testing.T) {
			event := &corev1.Event{Type: corev1.EventTypeWarning, Reason: "Unhealthy", InvolvedObject: c.about, LastTimestamp: before(c.last)}
			byNewer := &corev1.Event{Type: corev1.EventTypeWarning, Reason: "Unhealthy", InvolvedObject: c.about, EventTime: metav1.NewMicroTime(before(c.last).Time)}
			for _, e := range []*corev1.Event{event, byNewer} {
				got := latest(noon, Objects{Pods: c.pods, Err: c.err, Events: []*corev1.Event{e}})
				if (len(got) == 1) != c.shown {
					t.Errorf("shown %v, want %v", got, c.shown)
				}
			}
		})
	}
}

// TestHealthOfTheMesh is the worst that is true of all of it.
func TestHealthOfTheMesh(t *testing.T) {
	well, down := cluster("east", 0, 2, "west"), Objects{Cluster: "west"}
	blind := Objects{Cluster: "west", Err: errors.New("no answer")}
	ill := cluster("west", 1, 2, "east")
	ill.DaemonSets = nil
	for name, c := range map[string]struct {
		clusters []Objects
		want     Health
	}{
		"well":            {[]Objects{well}, Well},
		"one ill":         {[]Objects{well, ill}, Degraded},
		"one down":        {[]Objects{well, down}, Degraded},
		"down and ill":    {[]Objects{down, ill}, Degraded},
		"all down":        {[]Objects{{Cluster: "east"}, down}, Down},
		"down and unread": {[]Objects{{Cluster: "east"}, blind}, Unknown},
	} {
		if got := Make(noon, c.clusters).Health(); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}
