package agent

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sdn-tunnel/sdn-tunnel/api/v1alpha1"
	"github.com/sdn-tunnel/sdn-tunnel/internal/events"
	"github.com/sdn-tunnel/sdn-tunnel/internal/mesh"
)

const (
	// rotationRetry is the wait before a replacement that could not be made is tried again;
	// undoneRetry, before one by age that had to be undone is.
	rotationRetry = 5 * time.Second
	undoneRetry   = time.Hour
	// ageLook is how often the key's age is looked at, at least.
	ageLook = time.Minute

	// What a KeyStatus takes: one that says more would keep all of the status from being
	// written. Of a request only so much counts.
	maxRequest = 256
	maxFailure = 4096
)

// rotator replaces the node's key when that is asked for, or when the key is old.
type rotator struct {
	rotation Rotation
	cluster  *Cluster
	maxAge   time.Duration // 0: keys may be of any age
	log      *slog.Logger
	changed  func() // there is something to say
	// happened is told what came of a replacement; it may be nil.
	happened func(events.Event)
	wake     chan struct{}

	mu      sync.Mutex
	told    bool   // request was read from the API
	request string // the last one that was answered
	failure string
	retryAt time.Time // zero: nothing failed
	ageFrom time.Time // the age does not count before
}

// run replaces the key whenever that is due, until ctx ends.
func (r *rotator) run(ctx context.Context) {
	for {
		if why, request := r.due(time.Now()); why != "" {
			r.rotate(ctx, why, request)
		}
		timer := time.NewTimer(r.wait(time.Now()))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-r.wake:
			timer.Stop()
		case <-timer.C:
		}
	}
}

func (r *rotator) notify() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// wait is how long nothing can be due unless the API says so.
func (r *rotator) wait(now time.Time) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	if left := r.retryAt.Sub(now); left > 0 {
		return min(left, ageLook)
	}
	key, since := r.rotation.Keys.Public()
	end := since.Add(lifeOf(key, r.maxAge))
	if r.maxAge == 0 || r.ageFrom.After(end) {
		return ageLook
	}
	return min(max(end.Sub(now), time.Second), ageLook)
}

// due tells why the key is to be replaced now, or nothing.
func (r *rotator) due(now time.Time) (why, request string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	self, found := r.cluster.nodes.get(r.cluster.self.String())
	if !found {
		return "", "" // nobody's peer yet
	}
	if !r.told {
		r.told = true
		if self.Status.Key != nil {
			r.request = self.Status.Key.Request
		}
	}
	if now.Before(r.retryAt) {
		return "", ""
	}
	key, since := r.rotation.Keys.Public()
	asked := cut(self.Annotations[v1alpha1.AnnotationRotateKey], maxRequest)
	switch {
	case asked != "" && asked != r.request:
		return "asked for", asked
	case r.rotation.Keys.Pending():
		return "an earlier replacement was interrupted", r.request
	case r.maxAge > 0 && now.Sub(since) >= lifeOf(key, r.maxAge) && !now.Before(r.ageFrom):
		return "its age", r.request
	}
	return "", ""
}

// lifeOf is how long a key is used: three quarters of the age that it may have, and a part
// of the last quarter that differs from key to key, so that nodes which were deployed at
// once do not replace theirs at once.
func lifeOf(key mesh.Key, most time.Duration) time.Duration {
	h := fnv.New32a()
	_, _ = h.Write(key[:]) // never fails
	return most*3/4 + time.Duration(float64(most/4)*float64(h.Sum32()%1000)/1000)
}

// rotate replaces the key and keeps what came of it.
func (r *rotator) rotate(ctx context.Context, why, request string) {
	err := r.hindrance()
	if err == nil {
		r.log.Info("replacing the node's key", "why", why)
		err = r.rotation.Do(ctx)
	}
	if ctx.Err() != nil {
		return
	}
	news := r.settle(request, err, time.Now())
	if news {
		r.log.Warn("the node's key was not replaced; it will be tried again unless it was undone", "why", why, "error", err)
	}
	if r.happened != nil && (err == nil || news) {
		key, _ := r.rotation.Keys.Public()
		r.happened(keyEvent(why, key, err))
	}
	r.changed()
}

// settle notes how a replacement ended, and tells whether it failed as none did before. One
// that was undone is an answer, too: trying it again at once would disturb traffic again.
func (r *rotator) settle(request string, err error, now time.Time) (news bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil {
		r.request, r.failure, r.retryAt = request, "", time.Time{}
		return false
	}
	news = r.failure != err.Error()
	r.failure, r.retryAt = err.Error(), now.Add(rotationRetry)
	if errors.Is(err, errUndone) {
		r.request, r.ageFrom = request, now.Add(undoneRetry)
	}
	return news
}

// hindrance tells why a member would not hear of a new key.
func (r *rotator) hindrance() error {
	members, _ := r.cluster.members.list()
	for _, m := range members {
		c := meta.FindStatusCondition(m.Status.Conditions, v1alpha1.ConditionReachable)
		if m.Name != r.cluster.self.Cluster && c != nil && c.Status == metav1.ConditionFalse {
			return fmt.Errorf("%s may not hear of a new key, and the link with it would break: %s", m.Name, c.Message)
		}
	}
	return nil
}

// say is what the TunnelNode says of the key.
func (r *rotator) say(peers []Peer) *v1alpha1.KeyStatus {
	_, since := r.rotation.Keys.Public()
	s := &v1alpha1.KeyStatus{Since: metav1.NewTime(since.Truncate(time.Second))}
	for _, p := range peers {
		if p.LastHandshake.After(since) {
			s.Confirmed++
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	s.Request, s.Failure = r.request, cut(r.failure, maxFailure)
	return s
}
