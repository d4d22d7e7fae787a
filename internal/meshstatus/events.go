package meshstatus

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sdn-tunnel/sdn-tunnel/internal/events"
)

const (
	// recent is how old an event may be.
	recent    = time.Hour
	maxEvents = 10
)

// latest are the newest warnings, one for each object and reason. What is over is left out:
// pods are not ready at once when they start, which is no news once they are.
func latest(now time.Time, o Objects) []Event {
	newest := map[string]Event{}
	for _, e := range o.Events {
		at := events.Seen(e)
		if e.Type != corev1.EventTypeWarning || now.Sub(at) > recent || o.over(e, at) {
			continue
		}
		is := Event{Last: metav1.NewTime(at.Truncate(time.Second)), Object: e.InvolvedObject.Kind + " " + e.InvolvedObject.Name, Reason: e.Reason, Message: strings.TrimSpace(e.Message), Count: max(e.Count, 1)}
		if was, ok := newest[is.Object+" "+is.Reason]; !ok || was.Last.Before(&is.Last) {
			newest[is.Object+" "+is.Reason] = is
		}
	}
	all := slices.SortedFunc(maps.Values(newest), func(a, b Event) int {
		return cmp.Or(b.Last.Compare(a.Last.Time), cmp.Compare(a.Object, b.Object), cmp.Compare(a.Reason, b.Reason))
	})
	return all[:min(len(all), maxEvents)]
}

// over tells of a warning about a pod that got ready after it, or that is gone.
func (o Objects) over(e *corev1.Event, at time.Time) bool {
	about := e.InvolvedObject
	if about.Kind != "Pod" {
		return false
	}
	i := slices.IndexFunc(o.Pods, func(p *corev1.Pod) bool {
		return p.Name == about.Name && (about.UID == "" || p.UID == about.UID)
	})
	if i < 0 {
		return o.Err == nil // else it may not have been read
	}
	return slices.ContainsFunc(o.Pods[i].Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue && !c.LastTransitionTime.Time.Before(at)
	})
}
