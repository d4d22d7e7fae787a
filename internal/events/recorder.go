package events

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/record/util"
)

const (
	writeTimeout = 10 * time.Second
	// An Event that could not be written is tried again after retryMin, then twice as late
	// each time, up to retryMax.
	retryMin, retryMax = time.Second, time.Minute
	// maxWaiting bounds what waits for an API that is away; the oldest goes first.
	maxWaiting = 100
)

// Event is what happened to an object.
type Event struct {
	// About is the object, with its UID.
	About corev1.ObjectReference
	// Related is another one that it has to do with, if any.
	Related *corev1.ObjectReference
	// Action is what was done or tried. What is said of one action replaces what was said of
	// it before and is not written yet.
	Action string
	// Reason is a word in CamelCase for how it ended.
	Reason string
	// Warning: somebody should look.
	Warning bool
	// Note is for people.
	Note string
}

// Write makes an Event in the API.
type Write func(context.Context, *eventsv1.Event) error

// Recorder writes what it is told. The nil Recorder tells nobody.
type Recorder struct {
	component, instance string
	write               Write
	log                 *slog.Logger
	wake                chan struct{}

	mu    sync.Mutex
	lines lines
}

// New makes a Recorder for a program, and for the one of its instances that this is. It
// writes while it runs.
func New(component, instance string, write Write, log *slog.Logger) *Recorder {
	return &Recorder{component: component, instance: cut(instance, maxInstance), write: write, log: log,
		wake: make(chan struct{}, 1), lines: lines{}}
}

// Say takes an Event to be written. It never waits.
func (r *Recorder) Say(e Event) {
	if r == nil {
		return
	}
	r.mu.Lock()
	r.lines.say(e, time.Now())
	r.mu.Unlock()
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// Start writes until ctx ends. What is not written by then is lost.
func (r *Recorder) Start(ctx context.Context) error {
	var waiting []*eventsv1.Event
	failures, refusal := 0, ""
	for {
		r.mu.Lock()
		due, next := r.lines.due(time.Now())
		r.mu.Unlock()
		for _, s := range due {
			waiting = append(waiting, r.object(s))
		}
		waiting = waiting[max(0, len(waiting)-maxWaiting):]
		for len(waiting) > 0 {
			err := r.send(ctx, waiting[0])
			if err != nil && !refused(err) {
				failures++
				next = min(next, backoff(failures))
				break
			}
			if err != nil && err.Error() != refusal {
				refusal = err.Error()
				r.log.Warn("an Event was refused", "error", err)
			}
			failures, waiting = 0, waiting[1:]
		}
		if !r.await(ctx, next, failures > 0) {
			return nil
		}
	}
}

// await returns when something was said or after the time, whichever comes first; while
// the API fails, not before the time.
func (r *Recorder) await(ctx context.Context, after time.Duration, failing bool) bool {
	timer := time.NewTimer(after)
	defer timer.Stop()
	wake := r.wake
	if failing {
		wake = nil
	}
	select {
	case <-ctx.Done():
		return false
	case <-wake:
	case <-timer.C:
	}
	return true
}

func (r *Recorder) send(ctx context.Context, e *eventsv1.Event) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	return r.write(ctx, e)
}

func backoff(failures int) time.Duration {
	return min(retryMin<<min(failures-1, 10), retryMax)
}

// refused tells whether trying again is of no use.
func refused(err error) bool {
	var status apierrors.APIStatus
	if !errors.As(err, &status) || apierrors.IsTooManyRequests(err) || apierrors.IsUnauthorized(err) {
		return false
	}
	code := status.Status().Code
	return code >= 400 && code < 500
}

// object is what the API gets. The Events of objects without a namespace are in "default".
func (r *Recorder) object(s said) *eventsv1.Event {
	namespace := s.About.Namespace
	if namespace == "" {
		namespace = metav1.NamespaceDefault
	}
	kind := corev1.EventTypeNormal
	if s.Warning {
		kind = corev1.EventTypeWarning
	}
	return &eventsv1.Event{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: util.GenerateEventName(s.About.Name, time.Now().UnixNano())},
		EventTime:  metav1.NewMicroTime(s.last), Type: kind, Action: s.Action, Reason: s.Reason,
		Regarding: s.About, Related: s.Related, Note: s.note(),
		ReportingController: r.component, ReportingInstance: r.instance,
	}
}
