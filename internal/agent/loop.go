package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"reflect"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sdn-tunnel/sdn-tunnel/internal/mesh"
)

// Observer knows what the node's own cluster says.
type Observer interface {
	// Run keeps up with the API until ctx ends and calls notify after each change.
	Run(ctx context.Context, notify func()) error
	// View is what is known now, and what could not be read of it; not ok until
	// everything was read once.
	View() (v mesh.View, refused []mesh.Refusal, ok bool)
}

// Loop observes, plans and applies until it is told to end.
type Loop struct {
	Self     mesh.Ref
	Observer Observer
	Parts    []Part
	// NoServices: remote services are not reached from this node, and the plans that it
	// applies do without their networks.
	NoServices bool
	// PlanPath is the file that keeps the last plan.
	PlanPath string
	Timing   Timing
	Log      *slog.Logger
	// Passed, if not nil, gets the state after each pass. It must not block.
	Passed func(State)
	// Measured, if not nil, gets the outcome of each Apply. It must not block.
	Measured func(part string, took time.Duration, changes int, err error)

	wake     chan struct{}
	observed atomic.Bool // the API said something since the last plan
	beat     atomic.Int64
	keepers  []*keeper

	// The rest is the loop's alone.
	planner  mesh.Planner
	plan     mesh.DataPlane
	source   PlanSource
	unread   []mesh.Refusal
	resyncAt time.Time
	resorted bool // the saved plan was asked for
}

// Run keeps the data plane as planned until ctx ends; it returns when everything that
// it started has ended. The data plane stays.
func (l *Loop) Run(ctx context.Context) error {
	l.Timing = l.Timing.withDefaults()
	l.wake, l.source = make(chan struct{}, 1), PlanNone
	for _, p := range l.Parts {
		k := &keeper{part: p, timing: l.Timing}
		k.dirty.Store(true)
		l.keepers = append(l.keepers, k)
	}
	l.beat.Store(time.Now().UnixNano())
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		return l.Observer.Run(ctx, func() {
			l.observed.Store(true)
			l.notify()
		})
	})
	for _, k := range l.keepers {
		group.Go(func() error {
			k.watch(ctx, l.notify, l.Log)
			return nil
		})
	}
	group.Go(func() error {
		l.turn(ctx)
		return nil
	})
	return group.Wait()
}

// Alive tells why the loop does not turn any more, or nil.
func (l *Loop) Alive() error {
	last := l.beat.Load()
	if last == 0 {
		return errors.New("the loop has not started")
	}
	t := l.Timing.withDefaults()
	bound := 3*t.Beat + time.Duration(len(l.Parts))*t.ApplyTimeout
	if silent := time.Since(time.Unix(0, last)); silent > bound {
		return fmt.Errorf("the loop last turned %s ago, more than %s", silent.Round(time.Second), bound)
	}
	return nil
}

func (l *Loop) notify() {
	select {
	case l.wake <- struct{}{}:
	default: // a pass is due anyway
	}
}

// turn is the loop.
func (l *Loop) turn(ctx context.Context) {
	started := time.Now()
	l.observed.Store(true)
	for {
		l.beat.Store(time.Now().UnixNano())
		l.observe(time.Since(started) >= l.Timing.StartWait)
		if l.source != PlanNone {
			l.pass(ctx)
		}
		timer := time.NewTimer(l.untilNext(started))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		case <-l.wake:
			timer.Stop()
			if !sleep(ctx, l.Timing.Debounce) {
				return
			}
			l.settle()
		}
	}
}

// settle forgets the notification that came while waiting for more: the pass that
// follows sees what it was about.
func (l *Loop) settle() {
	select {
	case <-l.wake:
	default:
	}
}

// observe makes a new plan when the API said something, and marks every part when
// the plan differs or a resync is due.
func (l *Loop) observe(late bool) {
	if now := time.Now(); !now.Before(l.resyncAt) {
		l.resyncAt = now.Add(l.Timing.Resync)
		l.observed.Store(true)
		l.markAll()
	}
	if !l.observed.Swap(false) {
		if l.source == PlanNone && late {
			l.resort()
		}
		return
	}
	view, refused, ok := l.Observer.View()
	if !ok {
		if late {
			l.resort()
		}
		return
	}
	plan := l.planner.Plan(view)
	l.unread = refused
	if l.source == PlanAPI && reflect.DeepEqual(l.own(plan), l.plan) {
		return
	}
	if l.source == PlanSaved {
		l.Log.Info("the API answered; its plan replaces the saved one")
	}
	l.adopt(plan, PlanAPI)
	if err := (planFile{l.PlanPath}).save(plan); err != nil {
		l.Log.Error("the plan is not kept for a start without the API", "error", err)
	}
}

// resort goes back to the plan that an earlier process saved.
func (l *Loop) resort() {
	if l.resorted {
		return
	}
	l.resorted = true
	plan, err := planFile{l.PlanPath}.load(l.Self)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		l.Log.Warn("the API does not answer and no plan was saved: waiting for the API")
	case err != nil:
		l.Log.Error("the API does not answer: waiting for it", "error", err)
	default:
		l.Log.Warn("the API does not answer: going on with the saved plan", "peers", len(plan.Peers))
		l.adopt(plan, PlanSaved)
	}
}

func (l *Loop) adopt(plan mesh.DataPlane, source PlanSource) {
	l.plan, l.source = l.own(plan), source
	l.Log.Info("new plan", "source", source, "peers", len(plan.Peers), "refusals", len(plan.Refusals)+len(l.unread))
	for _, k := range l.keepers {
		k.expected = true
	}
	l.markAll()
}

// own is what this node takes of a plan.
func (l *Loop) own(plan mesh.DataPlane) mesh.DataPlane {
	if l.NoServices {
		plan.RemoteService = nil
	}
	return plan
}

func (l *Loop) markAll() {
	for _, k := range l.keepers {
		k.dirty.Store(true)
	}
}

// pass applies the parts that are due, in order; what one changes may concern those
// after it, so these are applied as well.
func (l *Loop) pass(ctx context.Context) {
	parts := make([]PartState, len(l.keepers))
	cascade := false
	for i, k := range l.keepers {
		if ctx.Err() != nil {
			return
		}
		parts[i] = PartState{Name: k.part.Name()}
		if cascade {
			k.expected = true
			k.dirty.Store(true)
		}
		if k.due(time.Now()) {
			parts[i].Changes = l.apply(ctx, k)
			cascade = cascade || len(parts[i].Changes) > 0
		}
		k.report(&parts[i], time.Now())
	}
	if l.Passed != nil {
		l.Passed(State{
			Plan: l.plan, Source: l.source, Parts: parts, Time: time.Now(),
			Refusals: append(slices.Clone(l.unread), l.plan.Refusals...),
			Applied:  !slices.ContainsFunc(l.keepers, func(k *keeper) bool { return !k.applied }),
		})
	}
}

func (l *Loop) apply(ctx context.Context, k *keeper) []string {
	name, before, began := k.part.Name(), k.err, time.Now()
	changes, err := k.apply(ctx, l.plan)
	took := time.Since(began)
	if ctx.Err() != nil {
		return changes // it is the end, not a failure
	}
	for _, change := range changes {
		l.Log.Info("changed", "part", name, "what", change)
	}
	switch {
	case err != nil && (before == nil || before.Error() != err.Error()):
		l.Log.Error("part failed; it will be tried again", "part", name, "error", err)
	case err == nil && before != nil:
		l.Log.Info("part is as planned again", "part", name)
	}
	if k.changing == calmChanges+1 {
		l.Log.Warn("what this part makes is undone again and again by something else", "part", name)
	}
	if l.Measured != nil {
		l.Measured(name, took, len(changes), err)
	}
	return changes
}

// untilNext is how long the loop may sleep when nothing notifies.
func (l *Loop) untilNext(started time.Time) time.Duration {
	now := time.Now()
	next := now.Add(l.Timing.Beat)
	earlier := func(t time.Time) {
		if t.Before(next) {
			next = t
		}
	}
	earlier(l.resyncAt)
	if l.source == PlanNone {
		if wait := started.Add(l.Timing.StartWait); wait.After(now) {
			earlier(wait)
		}
		return next.Sub(now)
	}
	for _, k := range l.keepers {
		if at := k.next(); !at.IsZero() || k.dirty.Load() {
			earlier(at)
		}
	}
	return max(next.Sub(now), 0)
}

// sleep waits for d; it tells whether ctx still goes on.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
