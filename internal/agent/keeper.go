package agent

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/sdn-tunnel/sdn-tunnel/internal/mesh"
)

// calmChanges is how often in a row a part may change something before its
// applies are spaced out: then something else undoes what it makes.
const calmChanges = 5

// A part that was put back this often within this time is contested.
const (
	contestedRepairs = 10
	contestedWithin  = 10 * time.Minute
)

// keeper applies one part: when it must, and when it may.
type keeper struct {
	part   Part
	timing Timing

	// dirty is set by the part's watch and by the loop: what the part made may differ
	// from what it should be.
	dirty atomic.Bool

	// The rest is the loop's alone.
	err       error
	failures  int         // in a row
	changing  int         // applies in a row that changed something
	expected  bool        // the next changes are the plan's or another part's doing
	repairs   []time.Time // the last applies that changed something unexpected
	repaired  int         // all of them
	repair    string      // the first change of the last one
	applied   bool        // without error, at least once
	retryAt   time.Time   // zero: nothing to retry
	notBefore time.Time   // no apply earlier, whatever notifies
}

// due tells whether the part is to be applied now.
func (k *keeper) due(now time.Time) bool {
	if now.Before(k.notBefore) {
		return false
	}
	return k.dirty.Load() || (!k.retryAt.IsZero() && !now.Before(k.retryAt))
}

// next is when the part will be due without a further notification; zero: never.
func (k *keeper) next() time.Time {
	switch {
	case k.dirty.Load():
		return k.notBefore
	case k.retryAt.Before(k.notBefore) && !k.retryAt.IsZero():
		return k.notBefore
	default:
		return k.retryAt
	}
}

// apply applies the part and decides when it is tried again.
func (k *keeper) apply(ctx context.Context, dp mesh.DataPlane) (changes []string, err error) {
	k.dirty.Store(false) // before: a notification during Apply counts
	bounded, cancel := context.WithTimeout(ctx, k.timing.ApplyTimeout)
	defer cancel()
	changes, err = k.part.Apply(bounded, dp)
	now := time.Now()
	k.err, k.retryAt, k.notBefore = err, time.Time{}, time.Time{}
	if len(changes) > 0 {
		k.changing++
	} else {
		k.changing = 0
	}
	if err != nil {
		k.failures++
		k.retryAt = now.Add(backoff(k.timing.RetryMin, k.timing.RetryMax, k.failures))
		k.notBefore = now.Add(k.timing.RetryMin)
		return changes, err
	}
	if len(changes) > 0 && !k.expected && k.applied {
		k.repaired, k.repair = k.repaired+1, changes[0]
		k.repairs = append(k.repairs, now)
		k.repairs = k.repairs[max(0, len(k.repairs)-contestedRepairs):]
	}
	k.failures, k.applied, k.expected = 0, true, false
	if k.changing > calmChanges {
		k.notBefore = now.Add(backoff(k.timing.Debounce, time.Second, k.changing-calmChanges))
	}
	return changes, nil
}

// contested tells whether something else undoes what the part makes, again and again.
func (k *keeper) contested(now time.Time) bool {
	return len(k.repairs) == contestedRepairs && now.Sub(k.repairs[0]) < contestedWithin
}

// report says how the part fares.
func (k *keeper) report(s *PartState, now time.Time) {
	s.Err, s.Contested, s.Repairs, s.Repaired = k.err, k.contested(now), k.repaired, k.repair
	if n := len(k.repairs); n > 0 {
		s.RepairedAt = k.repairs[n-1]
	}
}

// watch notifies the loop of what may have changed outside, until ctx ends; a watch
// that breaks is set up again.
func (k *keeper) watch(ctx context.Context, wake func(), log *slog.Logger) {
	notify := func() {
		k.dirty.Store(true)
		wake()
	}
	for failures := 1; ; failures++ {
		began := time.Now()
		err := k.part.Watch(ctx, notify)
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) > k.timing.RetryMax {
			failures = 1
		}
		log.Warn("the watch ended; set up again", "part", k.part.Name(), "error", err)
		select {
		case <-ctx.Done():
			return
		case <-time.After(backoff(k.timing.RetryMin, k.timing.RetryMax, failures)):
		}
		notify() // what happened in between was not seen
	}
}

// backoff is least, doubled for each failure after the first, at most most.
func backoff(least, most time.Duration, failures int) time.Duration {
	d := least
	for range failures - 1 {
		if d >= most {
			return most
		}
		d *= 2
	}
	return min(d, most)
}
