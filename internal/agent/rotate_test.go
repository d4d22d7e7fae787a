package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sdn-tunnel/sdn-tunnel/api/v1alpha1"
	"github.com/sdn-tunnel/sdn-tunnel/internal/mesh"
)

// rotationWorld is an API that keeps what is announced, and peers of west and north.
type rotationWorld struct {
	mu        sync.Mutex
	announced []byte
	refuse    []error // answers to announcements, the first ones
	peers     []Peer
}

func (w *rotationWorld) announce(_ context.Context, key mesh.Key) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.refuse) > 0 {
		err := w.refuse[0]
		w.refuse = w.refuse[1:]
		return err
	}
	w.announced = append(w.announced, key[0])
	return nil
}

func (w *rotationWorld) read(context.Context) ([]Peer, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.peers), nil
}

// shake has all peers of some members make a handshake.
func (w *rotationWorld) shake(clusters ...string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range w.peers {
		if slices.Contains(clusters, w.peers[i].Ref.Cluster) {
			w.peers[i].LastHandshake = time.Now()
		}
	}
}

func newRotation() (*rotationWorld, *fakeKeys, Rotation) {
	ago := func(d time.Duration) time.Time { return time.Now().Add(-d) }
	w := &rotationWorld{peers: []Peer{
		{Ref: mesh.Ref{Cluster: "west", Node: "w1"}, LastHandshake: ago(time.Minute)},
		{Ref: mesh.Ref{Cluster: "west", Node: "w2"}, LastHandshake: ago(time.Minute)},
		{Ref: mesh.Ref{Cluster: "north", Node: "n1"}, LastHandshake: ago(time.Minute)},
		{Ref: mesh.Ref{Cluster: "lost", Node: "l1"}, LastHandshake: ago(time.Hour)}, // was away before
	}}
	keys := &fakeKeys{current: 1, since: ago(time.Hour)}
	return w, keys, Rotation{Keys: keys, Announce: w.announce, Peers: w.read, Log: slog.New(slog.DiscardHandler), Patience: 300 * time.Millisecond}
}

func status(code int32, reason metav1.StatusReason) error {
	return &apierrors.StatusError{ErrStatus: metav1.Status{Code: code, Reason: reason, Message: string(reason)}}
}

func TestRotation(t *testing.T) {
	for name, tt := range map[string]struct {
		answer    []string // members that make a handshake with the new key
		refuse    []error
		broken    error
		stuck     error
		announced []byte
		keys      [3]byte // current, next, former
		says      string
	}{
		"all answer":              {answer: []string{"west", "north"}, announced: []byte{2}, keys: [3]byte{2, 0, 0}},
		"one member does not":     {answer: []string{"west"}, announced: []byte{2, 1}, keys: [3]byte{1, 0, 0}, says: "no node of [north] answered"},
		"there is no way back":    {answer: []string{"west"}, stuck: errors.New("disk is full"), announced: []byte{2}, keys: [3]byte{2, 0, 0}, says: "cannot be used again: disk is full; the new one stays"},
		"the API refuses":         {refuse: []error{status(http.StatusForbidden, metav1.StatusReasonForbidden)}, keys: [3]byte{1, 0, 0}, says: "Forbidden"},
		"the API fails at first":  {answer: []string{"west", "north"}, refuse: []error{errors.New("connection reset")}, announced: []byte{2}, keys: [3]byte{2, 0, 0}},
		"the cable takes no key":  {broken: errors.New("no such device"), announced: []byte{2, 1}, keys: [3]byte{1, 0, 0}, says: "not taken up: use it: no such device"},
		"nothing is known of us":  {refuse: []error{errNotAsked}, keys: [3]byte{1, 0, 0}, says: errNotAsked.Error()},
		"the API is overburdened": {answer: []string{"west", "north"}, refuse: []error{status(http.StatusTooManyRequests, metav1.StatusReasonTooManyRequests)}, announced: []byte{2}, keys: [3]byte{2, 0, 0}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, keys, r := newRotation()
			w.refuse, keys.broken, keys.stuck = tt.refuse, tt.broken, tt.stuck
			keys.switched = func() { w.shake(tt.answer...) }
			err := r.Do(t.Context())
			if (err == nil) != (tt.says == "") || err != nil && !strings.Contains(err.Error(), tt.says) {
				t.Errorf("got %v, want %q", err, tt.says)
			}
			if !slices.Equal(w.announced, tt.announced) || keys.state() != tt.keys {
				t.Errorf("announced %v, keys %v; want %v, %v", w.announced, keys.state(), tt.announced, tt.keys)
			}
		})
	}
}

// TestRotationIsInterrupted while nobody knows what the API has: the successor stays, for
// the next process.
func TestRotationIsInterrupted(t *testing.T) {
	w, keys, r := newRotation()
	w.refuse = []error{errors.New("connection reset"), errors.New("connection reset")}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := r.Do(ctx); err == nil || errors.Is(err, errUndone) {
		t.Errorf("got %v", err)
	}
	if keys.state() != [3]byte{1, 2, 0} || !keys.Pending() {
		t.Fatalf("keys %v", keys.state())
	}
	w.refuse, keys.switched = nil, func() { w.shake("west", "north") }
	if err := r.Do(t.Context()); err != nil || keys.state() != [3]byte{2, 0, 0} || !slices.Equal(w.announced, []byte{2}) {
		t.Errorf("%v, keys %v, announced %v", err, keys.state(), w.announced)
	}
}

// TestLifeOfKeys: no key becomes older than it may, and those of one day do not end at once.
func TestLifeOfKeys(t *testing.T) {
	const most = 30 * 24 * time.Hour
	days := map[int]int{}
	for i := range 1000 {
		life := lifeOf(mesh.Key{byte(i), byte(i >> 8), 3}, most)
		if life < most*3/4 || life >= most {
			t.Fatalf("a life of %v, want less than %v and not much", life, most)
		}
		days[int(life.Hours())/24]++
	}
	for day, n := range days {
		if n > 250 {
			t.Errorf("%d of 1000 keys are replaced on day %d", n, day)
		}
	}
}

// TestRotatorIsPatient: what was undone is not tried again by itself, and what could not
// begin is.
func TestRotatorIsPatient(t *testing.T) {
	now := time.Now()
	r := &rotator{rotation: Rotation{Keys: &fakeKeys{current: 1, since: now.Add(-time.Hour)}}, maxAge: time.Minute}
	if !r.settle("a", errUndone, now) || r.settle("a", errUndone, now) {
		t.Error("the same failure is news twice, or not at all")
	}
	if r.request != "a" || !r.ageFrom.After(now.Add(time.Minute)) || r.wait(now.Add(time.Minute)) != ageLook {
		t.Errorf("undone: request %q, age from %v, wait %v", r.request, r.ageFrom, r.wait(now.Add(time.Minute)))
	}
	r.settle("b", errors.New("a member is away"), now)
	if r.request != "a" || r.retryAt != now.Add(rotationRetry) || r.wait(now) != rotationRetry {
		t.Errorf("hindered: request %q, retry at %v", r.request, r.retryAt)
	}
	if r.settle("b", nil, now); r.request != "b" || r.failure != "" {
		t.Errorf("done: request %q, failure %q", r.request, r.failure)
	}
}

// TestKeyStatusFits: whatever is asked for and whatever fails, the API takes what is said
// of it; and a request that is cut is answered once.
func TestKeyStatusFits(t *testing.T) {
	c := &Cluster{self: mesh.Ref{Cluster: "east", Node: "e1"}, nodes: newStore[v1alpha1.TunnelNode]()}
	self := &v1alpha1.TunnelNode{ObjectMeta: metav1.ObjectMeta{
		Name: "east.e1", Annotations: map[string]string{v1alpha1.AnnotationRotateKey: strings.Repeat("a", 1000)}}}
	if err := c.nodes.Replace([]any{self}, ""); err != nil {
		t.Fatal(err)
	}
	r := &rotator{rotation: Rotation{Keys: &fakeKeys{current: 1, since: time.Now()}}, cluster: c}
	why, request := r.due(time.Now())
	if why == "" {
		t.Fatal("a long request is none")
	}
	r.settle(request, fmt.Errorf("%w: %s", errUndone, strings.Repeat("é", 10_000)), time.Now())
	if s := r.say(nil); len(s.Request) > 256 || len(s.Failure) > 4096 || !utf8.ValidString(s.Failure) {
		t.Errorf("a request of %d bytes, a failure of %d", len(s.Request), len(s.Failure))
	}
	if why, _ := r.due(time.Now().Add(time.Minute)); why != "" {
		t.Errorf("it was answered, and is due again: %s", why)
	}
}
