package controller

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sdn-tunnel/sdn-tunnel/api/v1alpha1"
)

// TestNews: what a member's conditions say anew is said once, also by a controller that
// starts while the member is away.
func TestNews(t *testing.T) {
	n, lc := news{}, linked("west", "10.132.0.0/14", "172.31.0.0/16", "100.127.4.0/22")
	is := func(want, kind string, status metav1.ConditionStatus, reason, message string) {
		t.Helper()
		was := lc.DeepCopy()
		meta.SetStatusCondition(&lc.Status.Conditions, metav1.Condition{Type: kind, Status: status, Reason: reason, Message: message})
		var got []string
		for _, e := range n.of(was, lc) {
			line := e.Reason + ": " + e.Note
			if e.Warning {
				line = "! " + line
			}
			got = append(got, line)
		}
		if strings.Join(got, "\n") != want {
			t.Errorf("%s %s %s: %q, want %q", kind, status, reason, got, want)
		}
	}
	const reachable, accepted, inSync = v1alpha1.ConditionReachable, v1alpha1.ConditionAccepted, v1alpha1.ConditionInSync
	is("", reachable, metav1.ConditionUnknown, "Connecting", "no answer yet")
	is("", reachable, metav1.ConditionTrue, "Answers", "the API server answers")
	is("", reachable, metav1.ConditionTrue, "Answers", "the API server answers")
	is("! Unreachable: no route", reachable, metav1.ConditionFalse, "Unreachable", "no route")
	is("", reachable, metav1.ConditionFalse, "Unreachable", "refused")
	is("! Unauthorized: it was revoked", reachable, metav1.ConditionFalse, "Unauthorized", "it was revoked")
	n = news{} // another controller
	is("", reachable, metav1.ConditionUnknown, "Connecting", "no answer yet")
	is("Reachable: the API server answers again", reachable, metav1.ConditionTrue, "Answers", "the API server answers")
	is("", reachable, metav1.ConditionTrue, "Answers", "the API server answers")

	is("", accepted, metav1.ConditionTrue, "Accepted", "nothing is refused")
	is("! Refused: 1 refused: w1", accepted, metav1.ConditionFalse, "Refused", "1 refused: w1")
	is("", accepted, metav1.ConditionFalse, "Refused", "1 refused: w1")
	is("! Refused: 2 refused: w1; w2", accepted, metav1.ConditionFalse, "Refused", "2 refused: w1; w2")
	is("Accepted: nothing is refused any more", accepted, metav1.ConditionTrue, "Accepted", "nothing is refused")

	is("", inSync, metav1.ConditionFalse, "Copying", "not copied yet: west.w1")
	is("! DeclarationDiffers: run the deploy again", inSync, metav1.ConditionFalse, "DeclarationDiffers", "run the deploy again")
	is("", inSync, metav1.ConditionTrue, "InSync", "1 nodes")
}

// TestNotLookedAtYet: that a controller which has just started does not watch a member yet
// is nothing that is wrong with the member.
func TestNotLookedAtYet(t *testing.T) {
	clusters := members3()
	clusters[1].Spec.API = &v1alpha1.ClusterAPI{Server: "https://192.0.2.1:6443", Secret: "sdn-tunnel-peer-west"}
	c := api(t, objects(clusters, honest())...)
	judge(t, c)
	for cluster, want := range map[string]metav1.ConditionStatus{"west": metav1.ConditionUnknown, "third": metav1.ConditionFalse} {
		if got := conditionOf(t, c, cluster, v1alpha1.ConditionReachable); got.Status != want {
			t.Errorf("%s: %s %s: %s", cluster, got.Status, got.Reason, got.Message)
		}
	}
}
