package svcproxy

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/sdn-tunnel/sdn-tunnel/internal/remoteservice"
)

// TestPace: rests after sweeps, each as long after the rest before as given.
func TestPace(t *testing.T) {
	var p pace
	now := time.Unix(1e9, 0)
	for i, step := range []struct{ after, took, rest time.Duration }{
		{0, 0, 100}, {0, 0, 200}, {50, 0, 400}, {0, 0, 500}, {499, 0, 500},
		{501, 0, 100}, {0, 20, 380}, {0, 20, 500}, {900, 5, 100}, {900, 100, 500},
	} {
		now = now.Add(p.wait(now) + step.after*time.Millisecond)
		began := now
		now = now.Add(step.took * time.Millisecond)
		p.swept(began, now)
		if got := p.wait(now); got != step.rest*time.Millisecond {
			t.Errorf("step %d: the rest is %s, want %d ms", i, got, step.rest)
		}
	}
}

// TestSweepsInARow: services that lose backends all the time cause few sweeps, and yet each
// backend is swept for within the time.
func TestSweepsInARow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, err := New(Config{})
		if err != nil {
			t.Fatal(err)
		}
		sweeps := 0
		lostAt := map[remoteservice.Key]time.Time{}
		var slowest time.Duration
		p.sweep = func(s sweeper) (uint, error) {
			sweeps++
			for k, backends := range s.backends {
				if at, ok := lostAt[k]; ok && len(backends) == 0 {
					slowest = max(slowest, time.Since(at))
					delete(lostAt, k)
				}
			}
			return 0, nil
		}
		backend := []netip.AddrPort{netip.MustParseAddrPort("10.132.0.1:53")}
		set := func(n int, serve []netip.AddrPort) {
			k := remoteservice.Key{Addr: netip.AddrFrom4([4]byte{172, 31, 0, byte(n)}), Protocol: corev1.ProtocolUDP, Port: 53}
			if serve == nil {
				lostAt[k] = time.Now()
			}
			if err := p.forget(due{services: map[remoteservice.Key]remoteservice.Backends{k: {Serve: serve}}}, false); err != nil {
				t.Fatal(err)
			}
		}
		for n := range 200 {
			set(n, backend)
			set(n, nil)
			if n == 0 && sweeps != 1 {
				t.Errorf("the first of them is swept for %d times at once", sweeps)
			}
			for end := time.Now().Add(50 * time.Millisecond); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
				if err := p.sweepWaiting(); err != nil {
					t.Fatal(err)
				}
			}
		}
		if sweeps > 24 || slowest > 510*time.Millisecond {
			t.Errorf("%d sweeps in 10 s, the slowest after %s", sweeps, slowest)
		}
		<-p.nextSweep()
		if err := p.sweepWaiting(); err != nil || len(lostAt) > 0 || p.nextSweep() != nil {
			t.Errorf("not swept for: %v, %v", lostAt, err)
		}
	})
}
