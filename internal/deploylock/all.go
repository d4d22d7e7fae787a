package deploylock

import (
	"context"
	"errors"
	"sync"
	"time"

	"k8s.io/client-go/kubernetes"

	"github.com/sdn-tunnel/sdn-tunnel/internal/uptime"
)

// Place is a cluster to lock.
type Place struct {
	Cluster, Namespace string
	Client             kubernetes.Interface
}

// Locks are those of several clusters; nil where there is none.
type Locks []*Lock

// AcquireAll takes the locks of places: of the first by name, then of the others, so that
// of two runs at the same time one gets all. The locks are in the order of the places; one
// that has no such namespace has none, and nil. With an error those are returned that were
// taken, for their release.
func AcquireAll(ctx context.Context, places []Place, h Holder, duration time.Duration) (Locks, error) {
	locks, errs := make(Locks, len(places)), make([]error, len(places))
	if len(places) == 0 {
		return locks, nil
	}
	take := func(i int) {
		p := places[i]
		if locks[i], errs[i] = Acquire(ctx, p.Client, p.Cluster, p.Namespace, h, duration); errors.Is(errs[i], ErrNoNamespace) {
			errs[i] = nil
		}
	}
	first := 0
	for i, p := range places {
		if p.Cluster < places[first].Cluster {
			first = i
		}
	}
	if take(first); errs[first] != nil {
		return locks, errs[first]
	}
	var others sync.WaitGroup
	for i := range places {
		if i != first {
			others.Go(func() { take(i) })
		}
	}
	others.Wait()
	return locks, errors.Join(errs...)
}

// Tend renews what was not for a twelfth of its duration, which is how soon it is seen that a
// lock is taken away, and takes at most a quarter for that: an API that does not answer keeps
// neither the others' locks from being renewed for long, nor the run's end from being seen. It
// returns what is lost, and is to be called about every second.
func (l Locks) Tend(ctx context.Context) error {
	var g sync.WaitGroup
	for _, lock := range l {
		if lock == nil || uptime.Now()-lock.asked < lock.duration/12 {
			continue
		}
		limit := lock.duration / 4
		// Not beyond the time at which the lock is to be relied on no more.
		if left := lock.until() - uptime.Now(); left > 0 {
			limit = min(limit, left)
		}
		g.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, limit)
			defer cancel()
			_ = lock.Renew(ctx) // Lost tells what came of it
		})
	}
	g.Wait()
	return l.Lost()
}

// Lost tells what is lost of them, without asking anybody.
func (l Locks) Lost() error {
	var errs []error
	for _, lock := range l {
		if lock != nil {
			errs = append(errs, lock.Lost())
		}
	}
	return errors.Join(errs...)
}

// Until is the uptime up to which nobody else takes any of them; ok is false if there is none.
func (l Locks) Until() (until time.Duration, ok bool) {
	for _, lock := range l {
		if lock != nil && (!ok || lock.until() < until) {
			until, ok = lock.until(), true
		}
	}
	return until, ok
}

// release gives all back that is held, within a time; what stays gives way by itself.
func (l Locks) release(ctx context.Context, limit time.Duration) {
	l.each(context.WithoutCancel(ctx), limit, func(ctx context.Context, i int) { _ = l[i].Release(ctx) })
}

func (l Locks) each(ctx context.Context, limit time.Duration, do func(ctx context.Context, i int)) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var g sync.WaitGroup
	for i := range l {
		if l[i] != nil {
			g.Go(func() { do(ctx, i) })
		}
	}
	g.Wait()
}

// Hold takes the locks of places, and renews them until release is called. The context that
// it returns ends when one is lost; release then says so.
func Hold(ctx context.Context, places []Place, h Holder) (held context.Context, release func() error, err error) {
	return hold(ctx, places, h, DefaultDuration)
}

func hold(ctx context.Context, places []Place, h Holder, duration time.Duration) (context.Context, func() error, error) {
	limit := duration / 4
	locks, err := AcquireAll(ctx, places, h, duration)
	if err != nil {
		locks.release(ctx, limit)
		return nil, nil, err
	}
	held, end := context.WithCancelCause(ctx)
	// What is interrupted still holds them, until it is over.
	renewing, stop := context.WithCancel(context.WithoutCancel(ctx))
	var lost error
	var wait sync.WaitGroup
	wait.Go(func() { lost = locks.keep(renewing, end) })
	return held, func() error {
		stop()
		wait.Wait()
		end(nil)
		locks.release(ctx, limit)
		return lost
	}, nil
}

// lastLook is how long to look whose a lost lock is.
const lastLook = 3 * time.Second

// keep renews until ctx ends, or something is lost: then it calls end at once, and returns
// what there is to know of it.
func (l Locks) keep(ctx context.Context, end func(error)) error {
	for tick := time.Tick(time.Second); ; {
		select {
		case <-ctx.Done():
			return nil
		case <-tick:
		}
		// Before anybody is asked: the machine may have slept.
		lost := l.Lost()
		if lost == nil {
			lost = l.Tend(ctx)
		}
		if lost == nil {
			continue
		}
		end(lost)
		l.each(ctx, lastLook, func(ctx context.Context, i int) { _ = l[i].Renew(ctx) })
		if known := l.Lost(); known != nil {
			return known
		}
		return lost
	}
}
