package events

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sdn-tunnel/sdn-tunnel/api/v1alpha1"
	"github.com/sdn-tunnel/sdn-tunnel/internal/apitest"
)

// fakeAPI notes what it takes, unless err.
type fakeAPI struct {
	mu    sync.Mutex
	err   error
	tries int
	notes []string
}

func (f *fakeAPI) write(_ context.Context, e *eventsv1.Event) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.tries++
	if f.err == nil {
		f.notes = append(f.notes, e.Note)
	}
	return f.err
}

func (f *fakeAPI) state(err error) (tries int, notes string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = err
	return f.tries, strings.Join(f.notes, " ")
}

// TestAPIAway: what an API that is away does not take waits, for as long as that is and in
// order, without being tried all the time; what it refuses is dropped.
func TestAPIAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		f := &fakeAPI{err: errors.New("connection refused")}
		r := New("test", "i", f.write, slog.New(slog.DiscardHandler))
		done := make(chan error, 1)
		go func() { done <- r.Start(ctx) }()
		say := func(name string) {
			r.Say(Event{About: about(name), Action: "Act", Reason: "R", Note: name})
			time.Sleep(time.Second)
		}
		say("a")
		say("b")
		time.Sleep(time.Hour)
		if tries, notes := f.state(nil); notes != "" || tries < 30 || tries > 80 {
			t.Errorf("%d tries in an hour, written %q", tries, notes)
		}
		time.Sleep(retryMax)
		if _, notes := f.state(apierrors.NewForbidden(schema.GroupResource{Resource: "events"}, "e", errors.New("no"))); notes != "a b" {
			t.Errorf("written after the outage: %q", notes)
		}
		say("c")
		f.state(nil)
		say("d")
		if _, notes := f.state(nil); notes != "a b d" {
			t.Errorf("written after a refusal: %q", notes)
		}
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	var nobody *Recorder
	nobody.Say(Event{}) // must not panic
}

// TestManyWaiting: an outage costs no more memory than is said.
func TestManyWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeAPI{err: errors.New("connection refused")}
		r := New("test", "i", f.write, slog.New(slog.DiscardHandler))
		go func() { _ = r.Start(t.Context()) }()
		for i := range 3 * maxWaiting {
			r.Say(Event{About: corev1.ObjectReference{Name: strings.Repeat("x", i+1)}, Note: "n"})
		}
		time.Sleep(time.Minute)
		f.state(nil)
		time.Sleep(2 * retryMax)
		if _, notes := f.state(nil); len(strings.Fields(notes)) != maxWaiting {
			t.Errorf("%d are written", len(strings.Fields(notes)))
		}
	})
}

// TestAPI: a real API server takes an Event of an object without a namespace, finds it as
// `kubectl describe` does, and needs no other right for it than to create.
func TestAPI(t *testing.T) {
	s := apitest.Start(t)
	admin := s.Client(t, clientgoscheme.AddToScheme, v1alpha1.AddToScheme)
	lc := &v1alpha1.LinkedCluster{ObjectMeta: metav1.ObjectMeta{Name: "west"}, Spec: v1alpha1.LinkedClusterSpec{
		PodCIDRs: []v1alpha1.CIDR{"10.132.0.0/14"}, TunnelCIDR: "100.127.4.0/22"}}
	if err := admin.Create(t.Context(), lc); err != nil {
		t.Fatal(err)
	}
	r := New("sdn-tunnel-controller", strings.Repeat("i", 200), func(ctx context.Context, e *eventsv1.Event) error { return admin.Create(ctx, e) }, slog.New(slog.NewTextHandler(t.Output(), nil)))
	go func() { _ = r.Start(t.Context()) }()
	r.Say(Event{About: corev1.ObjectReference{APIVersion: v1alpha1.GroupVersion.String(), Kind: "LinkedCluster", Name: lc.Name, UID: lc.UID},
		Action: "Reach", Reason: "Unreachable", Warning: true, Note: strings.Repeat("it does not answer. ", 100)})
	var found corev1.EventList
	for end := time.Now().Add(10 * time.Second); len(found.Items) == 0 && time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if err := admin.List(t.Context(), &found, client.MatchingFields{"involvedObject.name": "west", "involvedObject.kind": "LinkedCluster",
			"involvedObject.namespace": "", "involvedObject.uid": string(lc.UID)}); err != nil {
			t.Fatal(err)
		}
	}
	if len(found.Items) != 1 {
		t.Fatalf("%d events", len(found.Items))
	}
	if e := found.Items[0]; e.Namespace != "default" || e.Type != "Warning" || e.Reason != "Unreachable" || e.ReportingController != "sdn-tunnel-controller" || !strings.HasSuffix(e.Message, "…") {
		t.Errorf("%+v", e)
	}
}
