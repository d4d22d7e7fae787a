package svcproxy

import (
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/sdn-tunnel/sdn-tunnel/internal/golden"
	"github.com/sdn-tunnel/sdn-tunnel/internal/nettest"
	"github.com/sdn-tunnel/sdn-tunnel/internal/servicetest"
	"github.com/sdn-tunnel/sdn-tunnel/internal/tunnelns"
)

// state is all that the part makes in the namespace, as the usual programs show it.
func (w *world) state(t testing.TB) string {
	t.Helper()
	out := nettest.Sh(t, "nsenter --net=%s sh -c 'nft list ruleset; echo; ip route show proto 133; ip route show table local proto 133'", w.Tunnel.Path())
	return regexp.MustCompile(` expires \S+`).ReplaceAllString(out, "")
}

// tell gives a process two services, one of them with affinity, and one without endpoints.
func tell(p *Part) {
	p.Replace(nil)
	p.Set(mirror("web", vip, 0, "10.132.0.1", "10.132.0.2"))
	p.Set(mirror("kept", "172.31.4.6", 10800, "10.132.0.1", "10.132.0.2"))
	p.Set(mirror("empty", emptyVIP, 0))
}

func TestApplyAndRemove(t *testing.T) {
	w := newWorld(t)
	before := w.state(t)
	tell(w.part)
	if changes := apply(t, w.part); len(changes) != 2 { // a route, the table
		t.Errorf("changed %q", changes)
	}
	whole := w.state(t)
	golden.Check(t, "state.txt", whole)
	if again := apply(t, w.part); len(again) > 0 {
		t.Errorf("the second Apply changed %q", again)
	}
	next := w.process(t)
	tell(next)
	apply(t, next)
	if now := w.state(t); now != whole {
		t.Errorf("after the next process's Apply there is\n%s\nwant\n%s", now, whole)
	}
	if again := apply(t, next); len(again) > 0 {
		t.Errorf("the next process's second Apply changed %q", again)
	}
	for range 2 {
		if err := next.Remove(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if after := w.state(t); after != before {
		t.Errorf("after Remove there is\n%s\nbefore Apply there was\n%s", after, before)
	}
}

// TestClear: a node that has no proxy any more has nothing of it left.
func TestClear(t *testing.T) {
	w := newWorld(t)
	before := w.state(t)
	tell(w.part)
	apply(t, w.part)
	none := w.process(t)
	for i, want := range []int{2, 0} {
		changes, err := none.Clear(t.Context())
		if err != nil || len(changes) != want {
			t.Errorf("Clear %d changed %q (%v)", i+1, changes, err)
		}
	}
	if after := w.state(t); after != before {
		t.Errorf("there is\n%s\nthere was\n%s", after, before)
	}
	gone, err := New(Config{Namespace: tunnelns.At("/run/netns/sdnsvc-none")})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := gone.Clear(t.Context()); err != nil {
		t.Errorf("without a namespace: %v", err)
	}
	if err := gone.Remove(t.Context()); err != nil {
		t.Errorf("without a namespace: %v", err)
	}
}

// TestUntold: a process that has not been told of the services leaves what is there, and
// forgets nothing that it was told when the API is away later.
func TestUntold(t *testing.T) {
	w := newWorld(t)
	tell(w.part)
	apply(t, w.part)
	whole := w.state(t)
	next := w.process(t)
	if changes := apply(t, next); len(changes) > 0 {
		t.Errorf("changed %q", changes)
	}
	if now := w.state(t); now != whole {
		t.Errorf("there is\n%s\nthere was\n%s", now, whole)
	}
	next.Set(mirror("web", vip, 0, "10.132.0.1")) // not all of them yet
	apply(t, next)
	if now := w.state(t); now != whole {
		t.Errorf("there is\n%s\nthere was\n%s", now, whole)
	}
}

// TestTakeOver: whatever is there under the table's name becomes the table.
func TestTakeOver(t *testing.T) {
	w := newWorld(t)
	tell(w.part)
	apply(t, w.part)
	whole := w.state(t)
	const table = "table ip " + Table
	for what, script := range map[string]string{
		"more services":        "add element ip " + Table + " services { 172.31.9.9 . tcp . 80 : goto balance-2 }",
		"chains in use":        "add chain ip " + Table + " old; add chain ip " + Table + " older; add rule ip " + Table + " older goto old; add element ip " + Table + " services { 172.31.9.9 . tcp . 80 : goto older }",
		"maps and sets":        "add map ip " + Table + " old { type mark : verdict; }; add set ip " + Table + " older { type mark; }; add rule ip " + Table + " refuse meta mark @older accept",
		"rules":                "flush chain ip " + Table + " refuse; add rule ip " + Table + " proxy drop",
		"other types":          "delete " + table + "; add " + table + "; add map ip " + Table + " services { type ipv4_addr : ipv4_addr; }",
		"a set for a map":      "delete " + table + "; add " + table + "; add set ip " + Table + " services { type ipv4_addr; }",
		"another hook":         "delete " + table + "; add " + table + "; add chain ip " + Table + " proxy { type filter hook output priority 0; }",
		"asleep":               "add " + table + " { flags dormant; }",
		"nothing but the name": "delete " + table + "; add " + table,
		"nothing":              "delete " + table,
	} {
		t.Run(what, func(t *testing.T) {
			nft(t, w.Tunnel, script)
			next := w.process(t)
			tell(next)
			apply(t, next)
			if now := w.state(t); now != whole {
				t.Errorf("there is\n%s\nwant\n%s", now, whole)
			}
		})
	}
}

// TestDrift: what others do to the table or the routes is undone within two seconds; what
// they do elsewhere is left alone, and causes no load.
func TestDrift(t *testing.T) {
	w := newWorld(t)
	tell(w.part)
	apply(t, w.part)
	w.watch(t)
	whole := w.state(t)
	for _, breakIt := range []string{
		"nft delete table ip " + Table,
		"nft flush ruleset",
		"nft flush map ip " + Table + " services",
		"nft delete element ip " + Table + " backends { " + vip + " . tcp . 80 . 0 }",
		"nft flush chain ip " + Table + " refuse",
		"ip route del local 172.31.0.0/16 table local",
		"ip route add local 172.30.0.0/16 dev lo proto 133 table main",
	} {
		nettest.Sh(t, "nsenter --net=%s %s", w.Tunnel.Path(), breakIt)
		took := nettest.Eventually(t, 2*time.Second, breakIt, func() bool { return w.state(t) == whole })
		t.Logf("%s: undone after %s", breakIt, took)
	}
	nft(t, w.Tunnel, "add table ip other; add chain ip other x")
	time.Sleep(200 * time.Millisecond)
	w.part.Set(mirror("web", vip, 0, "10.132.0.2", "10.132.0.3")) // the watch goes on
	nettest.Eventually(t, time.Second, "a change", func() bool { return strings.Contains(w.state(t), "10.132.0.3") })
	if got := w.state(t); !strings.Contains(got, "table ip other") {
		t.Errorf("another's table is gone:\n%s", got)
	}
	if changes := apply(t, w.part); len(changes) > 0 {
		t.Errorf("after a change elsewhere, and one of ours: %q", changes)
	}
}

// TestNewNamespace: a namespace that is made again gets everything anew.
func TestNewNamespace(t *testing.T) {
	w := newWorld(t)
	tell(w.part)
	apply(t, w.part)
	w.watch(t)
	whole := w.state(t)
	nettest.Sh(t, "ip netns del %s; ip netns add %[1]s; ip -n %[1]s link set lo up", servicetest.Name(w.Tunnel))
	nettest.Eventually(t, 2*time.Second, "everything in the new namespace", func() bool { return w.state(t) == whole })
}

// TestNoNft: the error says what is missing.
func TestNoNft(t *testing.T) {
	w := newWorld(t)
	if _, err := exec.LookPath("nft"); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", t.TempDir())
	tell(w.part)
	if _, err := w.part.Apply(t.Context(), plan()); err == nil || !strings.Contains(err.Error(), "nft") {
		t.Errorf("without nft: %v", err)
	}
}

func TestStats(t *testing.T) {
	p, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	p.declare(plan().RemoteClusters, plan().RemoteService)
	tell(p)
	bad := mirror("bad", "10.0.0.1", 0, "10.132.0.1")
	p.Set(bad)
	// Two services of three ports with two endpoints each.
	if s := p.Stats(); s.Services != 3 || s.Endpoints != 12 || len(s.Refused) != 1 || s.Refused[0].Ref.Cluster != "west" {
		t.Errorf("%+v", s)
	}
	p.Delete(bad.Name)
	if s := p.Stats(); len(s.Refused) != 0 {
		t.Errorf("%+v", s)
	}
	if _, err := New(Config{Inside: "a-name-of-16-byte"}); err == nil {
		t.Error("a link name that is too long is taken")
	}
}
