package controller

import (
	"context"
	"testing"
	"time"
)

func TestPulse(t *testing.T) {
	now := started
	p := &pulse{queue: &notifier{}, interval: time.Millisecond, now: func() time.Time { return now }}
	say := func(what string, healthy, ready bool) {
		t.Helper()
		if (p.alive() == nil) != healthy || (p.ready() == nil) != ready {
			t.Errorf("%s: healthz %v, readyz %v", what, p.alive(), p.ready())
		}
	}
	say("a standby", true, true)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- p.Start(ctx) }()
	for p.leading.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	say("a new leader", true, false)
	p.beat()
	say("a leader after its first pass", true, true)
	now = now.Add(pulseLimit)
	say("a leader that was silent for long enough", true, true)
	now = now.Add(time.Second)
	say("a leader that was silent for too long", false, false)
	p.beat()
	say("a leader that turns again", true, true)
	stop()
	if err := <-done; err != nil || len(p.queue.early) == 0 {
		t.Errorf("ended with %v; asked for %v", err, p.queue.early)
	}
}
