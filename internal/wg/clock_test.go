package wg

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sdn-tunnel/sdn-tunnel/internal/kerneltest"
)

// TestKernelClock has the clock of both nodes set forward, and back: WireGuard takes no
// handshake that is older than the last one. A guest has one clock, so what one node's
// clock does the other's does too; that is the worse case, as neither takes the other's.
func TestKernelClock(t *testing.T) {
	nodes := kernelPair(t)
	setClock(t, time.Hour)
	nodes.called(t) // by the clock that is ahead
	setClock(t, -time.Hour)
	for i, x := range nodes {
		x.restart(t, nodes[1-i])
	}
	if out, err := nodes.ping("-c 6 -i 1 -W 1"); err == nil {
		t.Fatalf("WireGuard takes handshakes of a clock that was set back; nothing is shown here:\n%s", out)
	}
	for _, x := range nodes { // as if the sessions had ended by their age, three minutes
		x.wg.mu.Lock()
		for _, w := range x.wg.ways {
			w.session.shook = w.session.shook.Add(-rejectAfter)
		}
		x.wg.mu.Unlock()
	}
	began := time.Now()
	nodes.watch(t)
	for out, err := nodes.ping("-c 1 -W 1"); err != nil; out, err = nodes.ping("-c 1 -W 1") {
		if time.Since(began) > 6*retry {
			t.Fatalf("no session again: %v\n%s", err, out)
		}
	}
	t.Logf("a session again %.1f s after the agents looked", time.Since(began).Seconds())
	if took := time.Since(began); took > 3*retry {
		t.Errorf("that took %v; want at most %v", took, 3*retry)
	}
}

// TestKernelClockSession is the same with sessions that live out their time.
func TestKernelClockSession(t *testing.T) {
	kerneltest.Long(t)
	nodes := kernelPair(t)
	nodes.watch(t)
	setClock(t, time.Hour)
	nodes.called(t)
	setClock(t, -time.Hour)
	set := time.Now()
	last, longest := time.Now(), time.Duration(0)
	for time.Since(set) < rejectAfter+time.Minute {
		if _, err := nodes.ping("-c 1 -W 1"); err != nil {
			continue
		}
		longest, last = max(longest, time.Since(last)), time.Now()
		time.Sleep(500 * time.Millisecond)
	}
	t.Logf("longest outage %.1f s, last answer %.1f s ago", longest.Seconds(), time.Since(last).Seconds())
	if longest > 3*retry || time.Since(last) > 3*retry {
		t.Errorf("want at most %v", 3*retry)
	}
}

type testPair [2]*testNode

// kernelPair is two nodes with the kernel's WireGuard that can reach each other.
func kernelPair(t *testing.T) testPair {
	t.Helper()
	kerneltest.Need(t, "wireguard")
	kerneltest.Guest(t)
	a, b := pair(t)
	nodes := testPair{a, b}
	for _, x := range nodes {
		cfg := x.wg.cfg
		cfg.Mode = Kernel
		var err error
		if x.wg, err = New(cfg); err != nil {
			t.Fatal(err)
		}
	}
	a.apply(t, a.plan(b))
	b.apply(t, b.plan(a))
	if out, err := nodes.ping("-c 1 -W 20"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return nodes
}

// ping is from the first node to the second.
func (n testPair) ping(flags string) (string, error) {
	return in(n[0].tunnel, "ping %s %s", flags, n[1].tunnelAddr)
}

// called has each node call the other for a new session, by the clock as it is.
func (n testPair) called(t *testing.T) {
	t.Helper()
	for i, x := range n {
		x.restart(t, n[1-i])
		if out, err := in(x.tunnel, "ping -c 1 -W 20 %s", n[1-i].tunnelAddr); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
}

// restart ends the node's sessions.
func (x *testNode) restart(t *testing.T, peer *testNode) {
	t.Helper()
	if out, err := in(x.tunnel, "ip link set %s down", x.wg.cfg.Link); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	x.apply(t, x.plan(peer))
}

// watch has the agents' part look after the peers until the test ends.
func (n testPair) watch(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var group sync.WaitGroup
	for _, x := range n {
		group.Go(func() { _ = x.wg.Watch(ctx, func() {}) })
	}
	t.Cleanup(func() { cancel(); group.Wait() })
}

// setClock moves the machine's clock, and back by as much when the test ends.
func setClock(t *testing.T, by time.Duration) {
	t.Helper()
	set := func(by time.Duration) error {
		ts := unix.NsecToTimespec(time.Now().Add(by).UnixNano())
		return unix.ClockSettime(unix.CLOCK_REALTIME, &ts)
	}
	if err := set(by); err != nil {
		t.Fatal(fmt.Errorf("set the clock: %w", err))
	}
	t.Cleanup(func() {
		if err := set(-by); err != nil {
			t.Error(err)
		}
	})
}
