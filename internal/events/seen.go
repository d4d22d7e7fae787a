package events

import (
	"time"

	corev1 "k8s.io/api/core/v1"
)

// Seen is when an event was last seen; which field has it depends on who wrote it.
func Seen(e *corev1.Event) time.Time {
	switch {
	case e.Series != nil:
		return e.Series.LastObservedTime.Time
	case !e.LastTimestamp.IsZero():
		return e.LastTimestamp.Time
	}
	return e.EventTime.Time
}
