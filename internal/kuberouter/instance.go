package kuberouter

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sdn-tunnel/sdn-tunnel/internal/tunnelns"
)

// Times of the supervision.
const (
	// leastPause and longestPause bound the wait before kube-router is started again; a
	// run that was long enough to be a good one begins anew with the least.
	leastPause, longestPause = 200 * time.Millisecond, 30 * time.Second
	goodRun                  = time.Minute
	// firstLook and lastLook bound how often IPVS is compared to the view while it differs;
	// calm is how often it is when it did not.
	firstLook, lastLook = 25 * time.Millisecond, time.Second
	calm                = 5 * time.Second
)

// errBehind ends a run that does not do what it is there for.
var errBehind = errors.New("it did not bring IPVS up to date")

// instance is one member's kube-router, supervised.
type instance struct {
	room   *room
	view   *view
	server server
	path   string
	log    *slog.Logger
	health *health
}

// run supervises until ctx ends, and returns when kube-router has ended.
func (i *instance) run(ctx context.Context) {
	var group errgroup.Group
	group.Go(func() error {
		i.supervise(ctx)
		return nil
	})
	group.Go(func() error {
		i.observe(ctx)
		return nil
	})
	group.Go(func() error { // without its name the namespace still lives as long as kube-router
		return tunnelns.KeepWatching(ctx, i.log, func(ctx context.Context) error {
			return i.room.namespace.WhileSame(ctx, i.health.notify)
		})
	})
	_ = group.Wait()
}

// supervise serves the view and runs kube-router on it, again and again.
func (i *instance) supervise(ctx context.Context) {
	for pause := leastPause; ; pause = min(2*pause, longestPause) {
		began := time.Now()
		err := i.once(ctx)
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) > goodRun {
			pause = leastPause
		}
		i.health.ended(err)
		i.log.Warn("kube-router ended and is started again", "error", err, "after", time.Since(began).Round(time.Millisecond), "in", pause)
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

// once serves the view as long as kube-router runs on it, once.
func (i *instance) once(ctx context.Context) error {
	running, end := context.WithCancelCause(ctx)
	defer end(nil)
	// The view is served until kube-router has ended, not only until it is told to.
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	address, closed, err := i.server.listen(serving, i.room.namespace)
	if err != nil {
		return err
	}
	i.health.started(func() { end(errBehind) })
	i.log.Info("starting kube-router", "namespace", i.room.namespace.Path())
	err = program{path: i.path, namespace: i.room.namespace, node: i.server.node.Name, log: i.log}.run(running, address)
	stop()
	<-closed
	if cause := context.Cause(running); ctx.Err() == nil && cause != nil {
		return cause
	}
	return err
}

// observe compares IPVS to the view: often as long as they differ, and now and then when
// they do not.
func (i *instance) observe(ctx context.Context) {
	for pause := firstLook; ; {
		equal, more := i.compare()
		wait := calm
		if equal {
			pause = firstLook
		} else {
			wait, more = pause, nil // it is looked at soon anyway
			pause = min(2*pause, lastLook)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		case <-more:
		}
	}
}

// compare tells whether IPVS is as the view wants it, and what is closed when the view
// changes. Destinations that are gone of UDP services it takes out.
func (i *instance) compare() (equal bool, more <-chan struct{}) {
	want, more := i.view.wanted()
	have, err := readIPVS(i.room.namespace)
	if err == nil {
		err = deleteDestinations(i.room.namespace, have.stale(want))
	}
	equal = err == nil && have.equals(want)
	i.health.compared(equal, len(want), err)
	return equal, more
}

// Times of the judgement.
const (
	// grace is how long IPVS may differ before that is a failure, and perService how much
	// longer for each service: kube-router goes through all of them for each change.
	grace      = 20 * time.Second
	perService = 50 * time.Millisecond
	// settled is how long a run has to last for the ones before it to be forgotten.
	settled = 10 * time.Second
)

// failure says what is wrong with one member's kube-router.
func (s Status) failure() error {
	switch {
	case s.Failed > 1:
		return fmt.Errorf("kube-router of %s ends again and again: %s", s.Member, s.Fault)
	case s.Behind > grace+time.Duration(s.Services)*perService:
		text := fmt.Sprintf("kube-router of %s: for %s IPVS has not been what the member's %d services and ports need",
			s.Member, s.Behind.Round(time.Second), s.Services)
		if s.Fault != "" {
			text += ": " + s.Fault
		}
		return errors.New(text)
	}
	return nil
}
