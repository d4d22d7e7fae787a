package controller

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sdn-tunnel/sdn-tunnel/api/v1alpha1"
	"github.com/sdn-tunnel/sdn-tunnel/internal/events"
)

// Actions of the Events on LinkedClusters.
const (
	actionReach       = "Reach"
	actionAccept      = "Accept"
	actionSync        = "Sync"
	actionRenewAccess = "RenewAccess"
)

// news has Events made of what changes in the conditions of LinkedClusters. What is in
// them has been checked and made plain.
type news struct {
	recorder *events.Recorder
	// away are the members that were said to be unreachable.
	away map[string]bool
}

func (n *news) say(was, is *v1alpha1.LinkedCluster) {
	for _, e := range n.of(was, is) {
		e.About = about(is)
		n.recorder.Say(e)
	}
}

// of is what a change of the status amounts to. What comes and goes by itself while the
// controller starts or copies is no news.
func (n *news) of(was, is *v1alpha1.LinkedCluster) (out []events.Event) {
	changed := func(kind string) (before, now metav1.Condition) {
		if c := meta.FindStatusCondition(was.Status.Conditions, kind); c != nil {
			before = *c
		}
		if c := meta.FindStatusCondition(is.Status.Conditions, kind); c != nil {
			now = *c
		}
		return before, now
	}
	if n.away == nil {
		n.away = map[string]bool{}
	}
	before, now := changed(v1alpha1.ConditionReachable)
	bad := now.Status == metav1.ConditionFalse
	n.away[is.Name] = n.away[is.Name] || bad || before.Status == metav1.ConditionFalse
	switch {
	case bad && (before.Status != now.Status || before.Reason != now.Reason):
		out = append(out, events.Event{Action: actionReach, Reason: now.Reason, Warning: true, Note: now.Message})
	case now.Status == metav1.ConditionTrue && n.away[is.Name]:
		delete(n.away, is.Name)
		out = append(out, events.Event{Action: actionReach, Reason: "Reachable", Note: "the API server answers again"})
	}
	switch before, now := changed(v1alpha1.ConditionAccepted); {
	case now.Status == metav1.ConditionFalse && before.Message != now.Message:
		out = append(out, events.Event{Action: actionAccept, Reason: now.Reason, Warning: true, Note: now.Message})
	case now.Status == metav1.ConditionTrue && before.Status == metav1.ConditionFalse:
		out = append(out, events.Event{Action: actionAccept, Reason: now.Reason, Note: "nothing is refused any more"})
	}
	before, now = changed(v1alpha1.ConditionInSync)
	if (now.Reason == "DeclarationDiffers" || now.Reason == "PoolFull") && before.Reason != now.Reason {
		out = append(out, events.Event{Action: actionSync, Reason: now.Reason, Warning: true, Note: now.Message})
	}
	return out
}

func about(lc *v1alpha1.LinkedCluster) corev1.ObjectReference {
	return corev1.ObjectReference{APIVersion: v1alpha1.GroupVersion.String(), Kind: "LinkedCluster", Name: lc.Name, UID: lc.UID}
}

// accessEvent says what became of the access to a member.
func accessEvent(lc *v1alpha1.LinkedCluster, reason string, warning bool, note string) events.Event {
	return events.Event{About: about(lc), Action: actionRenewAccess, Reason: reason, Warning: warning, Note: note}
}
