package tunnelns

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sdn-tunnel/sdn-tunnel/internal/nettest"
)

// TestKeepWatchingSaysOnce: an error that comes again at every try is logged once, and
// again after a time in which the watch held.
func TestKeepWatchingSaysOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var log bytes.Buffer
		tries := 0
		err := KeepWatching(ctx, slog.New(slog.NewTextHandler(&log, nil)), func(context.Context) error {
			switch tries++; tries {
			case 4:
				return errors.New("another")
			case 6:
				time.Sleep(time.Minute) // it holds for a while
			case 8:
				cancel()
			}
			return errors.New("nobody there")
		})
		if err != nil || tries != 8 {
			t.Errorf("%v after %d tries", err, tries)
		}
		if n := strings.Count(log.String(), "\n"); n != 4 {
			t.Errorf("%d lines, want 4:\n%s", n, &log)
		}
	})
}

// TestFollowsUplink: the MTU of the link to the underlay is followed, though it is a veth
// as pods' links are; and the parts after this one are told, though nothing of it changes.
func TestFollowsUplink(t *testing.T) {
	p := newPart(t)
	apply(t, p, plan())
	ctx, cancel := context.WithCancel(t.Context())
	events, done := make(chan struct{}, 64), make(chan error, 1)
	go func() { done <- p.Watch(ctx, func() { events <- struct{}{} }) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	quiet := func() {
		for {
			select {
			case <-events:
			case <-time.After(300 * time.Millisecond):
				return
			}
		}
	}
	// An address counts as news once no other node turns out to have it.
	nettest.Eventually(t, time.Minute, "all addresses are settled", func() bool {
		return nettest.Sh(t, "for n in %s %s; do ip -n $n -6 addr show tentative; done", name(p.cfg.Node), name(p.cfg.Namespace)) == ""
	})
	quiet()
	nettest.Sh(t, "ip -n %s link add pod0 type veth peer name pod1", name(p.cfg.Node))
	select {
	case <-events:
		t.Error("a pod's link was taken for the underlay's")
	case <-time.After(300 * time.Millisecond):
	}
	for _, mtu := range []int{1400, 1300} {
		nettest.Sh(t, "ip -n %s link set eth0 mtu %d", name(p.cfg.Node), mtu)
		select {
		case <-events:
		case <-time.After(5 * time.Second):
			t.Fatalf("mtu %d: not noticed", mtu)
		}
		if changes := apply(t, p, plan()); len(changes) == 0 || p.MTU().Underlay != mtu {
			t.Errorf("mtu %d: %+v after %q", mtu, p.MTU(), changes)
		}
		// What pods send must get as far as the namespace.
		if link := nettest.Sh(t, "ip -n %s -o link show sdntun1", name(p.cfg.Node)); !strings.Contains(link, "mtu 1450 ") {
			t.Errorf("mtu %d: the pair is %s, want 1450 as the pods have it", mtu, link)
		}
		quiet()
	}
}
