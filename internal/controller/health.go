package controller

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

const (
	// pulseInterval is how often a pass is asked for, to see that it comes.
	pulseInterval = 30 * time.Second
	// pulseLimit is the silence after which the controller should be started anew.
	pulseLimit = 3 * time.Minute
)

// pulse knows whether the leader's work goes on: it puts a key into the queue of the
// conditions' reconciler, and each of its passes, through cache and queue, is a beat.
// A standby has no work but to wait, and is healthy and ready while it does.
type pulse struct {
	queue    *notifier
	interval time.Duration
	now      func() time.Time

	leading atomic.Int64 // since when, in Unix nanoseconds; 0: a standby
	last    atomic.Int64 // the last beat
}

// Start is called when this process becomes the leader, and asks for passes until ctx
// ends.
func (p *pulse) Start(ctx context.Context) error {
	p.leading.Store(p.now().UnixNano())
	tick := time.NewTicker(p.interval)
	defer tick.Stop()
	for {
		p.queue.notify(statusKey)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// NeedLeaderElection makes the manager start it with the reconcilers.
func (p *pulse) NeedLeaderElection() bool { return true }

func (p *pulse) beat() { p.last.Store(p.now().UnixNano()) }

// alive tells why the process should be started anew, or nil.
func (p *pulse) alive() error {
	since := max(p.leading.Load(), p.last.Load())
	if p.leading.Load() == 0 {
		return nil
	}
	if silent := p.now().Sub(time.Unix(0, since)); silent > pulseLimit {
		return fmt.Errorf("the leader's loop last turned %s ago, more than %s", silent.Round(time.Second), pulseLimit)
	}
	return nil
}

// ready tells why a leader does not work yet, or nil.
func (p *pulse) ready() error {
	if p.leading.Load() != 0 && p.last.Load() == 0 {
		return errors.New("this is the leader, and its view of the cluster is not complete yet: does the API server answer, and are the CRDs installed?")
	}
	return p.alive()
}
