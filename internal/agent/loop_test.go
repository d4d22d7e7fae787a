package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/sdn-tunnel/sdn-tunnel/internal/mesh"
)

var east1 = mesh.Ref{Cluster: "east", Node: "east-1"}

// viewOf is east-1's view of a mesh with n nodes in west.
func viewOf(n int) mesh.View {
	v := mesh.View{Self: east1, ListenPort: 5555}
	for i, name := range []string{"east", "west"} {
		v.Clusters = append(v.Clusters, mesh.Cluster{
			Name: name, Topology: mesh.Mesh,
			PodCIDRs:     []netip.Prefix{netip.MustParsePrefix(fmt.Sprintf("10.%d.0.0/14", 128+4*i))},
			ServiceCIDRs: []netip.Prefix{netip.MustParsePrefix(fmt.Sprintf("172.%d.0.0/16", 30+i))},
			TunnelCIDR:   netip.MustParsePrefix(fmt.Sprintf("100.127.%d.0/22", 4*i)),
		})
	}
	v.Nodes = append(v.Nodes, nodeOf(east1, 0, 1))
	for i := range n {
		v.Nodes = append(v.Nodes, nodeOf(mesh.Ref{Cluster: "west", Node: fmt.Sprintf("west-%d", i+1)}, 1, i+1))
	}
	return v
}

func nodeOf(ref mesh.Ref, cluster, i int) mesh.Node {
	return mesh.Node{
		Ref: ref, PublicKey: mesh.Key{byte(cluster + 1), byte(i)},
		Endpoint:      mesh.Endpoint{Host: fmt.Sprintf("192.168.%d.%d", 50+10*cluster, 200+i), Port: 5555},
		HostSubnets:   []netip.Prefix{netip.MustParsePrefix(fmt.Sprintf("10.%d.%d.0/23", 128+4*cluster, 2*i))},
		TunnelAddress: netip.MustParseAddr(fmt.Sprintf("100.127.%d.%d", 4*cluster, i)),
		NodeAddresses: []netip.Addr{netip.MustParseAddr(fmt.Sprintf("192.168.%d.%d", 50+10*cluster, 10+i))},
	}
}

var quick = Timing{
	Debounce: 10 * time.Millisecond, Resync: time.Hour, RetryMin: 20 * time.Millisecond,
	RetryMax: 100 * time.Millisecond, ApplyTimeout: 50 * time.Millisecond, StartWait: 50 * time.Millisecond,
}

// startLoop runs a loop until the test ends, and sees that it ends.
func startLoop(t *testing.T, dir string, observer Observer, parts ...Part) (stop func()) {
	t.Helper()
	l := &Loop{
		Self: east1, Observer: observer, Parts: parts, PlanPath: filepath.Join(dir, "plan.json"),
		Timing: quick, Log: slog.New(slog.DiscardHandler),
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	ended := false
	stop = func() {
		if ended {
			return
		}
		ended = true
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("the loop ended with %v", err)
			}
		case <-time.After(5 * time.Second):
			t.Fatal("the loop does not end")
		}
	}
	t.Cleanup(stop)
	return stop
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("never: %s", what)
}

func has(f *fakePart, n int) func() bool {
	return func() bool { _, have := f.counts(); return have == n }
}

func TestLoopFollowsTheAPI(t *testing.T) {
	api, part := &fakeObserver{}, newFake("wireguard")
	startLoop(t, t.TempDir(), api, part)
	api.say(viewOf(2))
	eventually(t, "2 peers", has(part, 2))
	api.say(viewOf(3))
	eventually(t, "3 peers", has(part, 3))
}

func TestLoopCoalesces(t *testing.T) {
	api, part := &fakeObserver{view: viewOf(2), ok: true}, newFake("wireguard")
	startLoop(t, t.TempDir(), api, part)
	eventually(t, "2 peers", has(part, 2))
	before, _ := part.counts()
	for range 500 {
		part.event()
	}
	eventually(t, "it is applied", func() bool { after, _ := part.counts(); return after > before })
	time.Sleep(10 * quick.Debounce)
	if after, _ := part.counts(); after == before || after > before+4 {
		t.Errorf("500 notifications led to %d applies, want 1 to 4", after-before)
	}
}

// TestKeeperKnowsWhatIsContested: changes of the plan and of other parts do not count,
// and what is long ago neither.
func TestKeeperKnowsWhatIsContested(t *testing.T) {
	part := newFake("wireguard")
	k := &keeper{part: part, timing: Timing{}.withDefaults(), expected: true}
	plan := mesh.Compute(viewOf(2))
	apply := func() {
		part.do(func() { part.have = map[string]bool{} })
		if changes, err := k.apply(t.Context(), plan); err != nil || len(changes) != 2 {
			t.Fatalf("apply: %v, %v", changes, err)
		}
	}
	apply() // the first one is no repair
	for i := range contestedRepairs {
		if k.contested(time.Now()) {
			t.Fatalf("contested after %d repairs", i)
		}
		k.expected = true
		apply()
		apply()
	}
	if !k.contested(time.Now()) {
		t.Error("not contested")
	}
	if k.contested(time.Now().Add(contestedWithin)) {
		t.Error("contested for good")
	}
}

func TestLoopRepairsDrift(t *testing.T) {
	api, part := &fakeObserver{view: viewOf(2), ok: true}, newFake("wireguard")
	startLoop(t, t.TempDir(), api, part)
	eventually(t, "2 peers", has(part, 2))
	part.do(func() { clear(part.have) })
	part.event()
	eventually(t, "2 peers again", has(part, 2))
}

// TestLoopOneFailingPart: the others are applied all the same, and it is tried again.
func TestLoopOneFailingPart(t *testing.T) {
	api := &fakeObserver{view: viewOf(2), ok: true}
	bad, good := newFake("wireguard"), newFake("vswitch")
	bad.err = errors.New("no such device")
	startLoop(t, t.TempDir(), api, bad, good)
	eventually(t, "the part after the failing one is applied", has(good, 2))
	eventually(t, "the failing part is tried again", func() bool { n, _ := bad.counts(); return n >= 3 })
	if n, _ := good.counts(); n > 3 {
		t.Errorf("retries of one part applied the other %d times", n)
	}
	bad.do(func() { bad.err = nil })
	eventually(t, "it is as planned when the fault is over", has(bad, 2))
}

// TestLoopHangingPart: a part that hangs is given up after its time.
func TestLoopHangingPart(t *testing.T) {
	api := &fakeObserver{view: viewOf(2), ok: true}
	hung, good := newFake("wireguard"), newFake("vswitch")
	hung.block = true
	startLoop(t, t.TempDir(), api, hung, good)
	eventually(t, "the part after the hanging one is applied", has(good, 2))
}

// TestLoopAdopts: a new process changes nothing of what is right already.
func TestLoopAdopts(t *testing.T) {
	api, part := &fakeObserver{view: viewOf(2), ok: true}, newFake("wireguard", "west.west-1", "west.west-2")
	changed := 0
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	l := &Loop{Self: east1, Observer: api, Parts: []Part{part}, PlanPath: filepath.Join(t.TempDir(), "plan.json"),
		Timing: quick, Log: slog.New(slog.DiscardHandler),
		Measured: func(_ string, _ time.Duration, changes int, _ error) { changed += changes },
		Passed:   func(State) { cancel() }}
	if err := l.Run(ctx); err != nil {
		t.Fatal(err)
	}
	if n, _ := part.counts(); n == 0 || changed != 0 {
		t.Errorf("%d applies changed %d things, want some and none", n, changed)
	}
}

// TestLoopSavedPlan: without the API a new process goes on with the saved plan, and
// takes the API's when it answers.
func TestLoopSavedPlan(t *testing.T) {
	dir := t.TempDir()
	stop := startLoop(t, dir, &fakeObserver{view: viewOf(2), ok: true}, newFake("wireguard"))
	eventually(t, "the plan is saved", func() bool { _, err := os.Stat(filepath.Join(dir, "plan.json")); return err == nil })
	stop()
	if info, err := os.Stat(filepath.Join(dir, "plan.json")); err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("mode of the plan: %v, %v", info.Mode(), err)
	}
	api, part := &fakeObserver{}, newFake("wireguard")
	startLoop(t, dir, api, part)
	eventually(t, "the saved peers", has(part, 2))
	api.say(viewOf(1))
	eventually(t, "the API's peers", has(part, 1))
}

func TestPlanFileRefuses(t *testing.T) {
	for name, content := range map[string]string{
		"another node's": `{"format":1,"plan":{"Self":{"Cluster":"east","Node":"east-2"}}}`,
		"another format": `{"format":9}`,
		"half a file":    `{"format":1,"pl`,
	} {
		t.Run(name, func(t *testing.T) {
			f := planFile{filepath.Join(t.TempDir(), "plan.json")}
			if err := os.WriteFile(f.path, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := f.load(east1); err == nil || errors.Is(err, os.ErrNotExist) {
				t.Errorf("got %v, want a refusal", err)
			}
		})
	}
}

// TestLoopEnds: nothing that the loop started outlives it.
func TestLoopEnds(t *testing.T) {
	a, b := newFake("namespace"), newFake("wireguard")
	stop := startLoop(t, t.TempDir(), &fakeObserver{view: viewOf(1), ok: true}, a, b)
	eventually(t, "applied", has(b, 1))
	stop()
	for _, f := range []*fakePart{a, b} {
		if f.do(func() {}); !f.ended {
			t.Errorf("the watch of %s goes on", f.name)
		}
		if _, have := f.counts(); have != 1 {
			t.Errorf("%s was taken away at the end", f.name)
		}
	}
}

func TestCleanup(t *testing.T) {
	var order []string
	a, b, c := newFake("namespace", "x"), newFake("wireguard", "x"), newFake("vswitch", "x")
	b.err = errors.New("busy")
	for _, f := range []*fakePart{a, b, c} {
		f.removed = &order
	}
	err := Cleanup(t.Context(), []Part{a, b, c}, slog.New(slog.DiscardHandler))
	if err == nil || !slices.Equal(order, []string{"vswitch", "wireguard", "namespace"}) {
		t.Errorf("removed %v with %v, want all, last first, and the failure said", order, err)
	}
}

func TestBackoff(t *testing.T) {
	for failures, want := range map[int]time.Duration{1: 200, 2: 400, 3: 800, 6: 6400, 7: 10000, 1000: 10000} {
		if got := backoff(200*time.Millisecond, 10*time.Second, failures); got != want*time.Millisecond {
			t.Errorf("after %d failures: %s, want %s", failures, got, want*time.Millisecond)
		}
	}
}
