package dataplane

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sdn-tunnel/sdn-tunnel/internal/lab/sdn/tables"
	"github.com/sdn-tunnel/sdn-tunnel/internal/tunnelns"
)

// part is one part of a test; it leaves the world as it found it.
type part struct {
	name string
	test func(*testing.T, *world)
}

// TestKernelMesh is what three clusters do, with their agents, and what becomes of that when
// something is changed or broken.
func TestKernelMesh(t *testing.T) {
	share(t, []int{2, 2, 1}, []part{
		{"agent killed", testAgentKilled},
		{"agent upgraded", testAgentUpgraded},
		{"networkpolicy", testReach},
		{"replies are known", testReplies},
		{"drift", testDrift},
		{"endpoint changes", testEndpoint},
		{"key replaced", testRotation},
		{"nodes come and go", testChurn},
		{"500 peers", testMany},
		{"multitenant", inMode(tables.Multitenant)},
		{"subnet", inMode(tables.Subnet)},
	})
}

// TestKernelPaths is how large packets may be between two clusters, whatever lies between.
func TestKernelPaths(t *testing.T) {
	share(t, []int{2, 1}, []part{
		{"clamp", testClamp},
		{"too big", testTooBig},
		{"MTU", testMTU},
		{"MTU shrinks", testShrinks},
	})
}

// share runs the parts in one world, of clusters of as many nodes each as sizes say.
func share(t *testing.T, sizes []int, parts []part) {
	t.Helper()
	began := time.Now()
	w := newWorld(t, tables.NetworkPolicy, sizes...)
	for _, n := range w.nodes {
		for _, p := range n.pods {
			p.serve(t)
		}
	}
	w.warmUp()
	t.Logf("%d nodes of %d clusters, every pair has shaken hands: %.1f s", len(w.nodes), len(sizes), time.Since(began).Seconds())
	for _, p := range parts {
		t.Run(p.name, func(t *testing.T) { p.test(t, w.with(t)) })
	}
}

// with reports to a part of the test.
func (w *world) with(t testing.TB) *world {
	w.t = t
	for _, n := range w.nodes {
		n.t = t
	}
	return w
}

// warmUp waits until every pair of nodes of different clusters has shaken hands.
func (w *world) warmUp() {
	w.t.Helper()
	for _, from := range w.nodes {
		for _, to := range w.nodes {
			if from != to {
				w.eventually(func() error {
					_, err := ask(from.pods[0].network(), "udp4", to.pods[0], time.Second)
					return err
				})
			}
		}
	}
}

func (w *world) eventually(try func() error) {
	w.t.Helper()
	var err error
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if err = try(); err == nil {
			return
		}
	}
	w.t.Fatalf("not within %v: %v", patience, err)
}

// testReach is who reaches whom, by which protocol, with which address.
func testReach(t *testing.T, w *world) {
	east, west := w.pod("east-1", open), w.pod("west-2", open)
	shut, far := w.pod("east-2", isolated), w.pod("west-1", isolated)
	node := w.node("east-1")
	strict := w.mode == tables.NetworkPolicy
	south := w.pod("south-1", open)
	for _, c := range []struct {
		what    string
		from    tunnelns.Namespace
		source  netip.Addr
		to      *pod
		refused bool
	}{
		{"pod to remote pod", east.network(), east.ip, west, false},
		{"remote pod to pod", west.network(), west.ip, east, false},
		{"node to remote pod", node.network(), host(node.subnet, 1), west, false},
		{"pod to pod of the third cluster", west.network(), west.ip, south, false},
		{"pod of the third cluster to remote pod", south.network(), south.ip, east, false},
		{"pod to remote service", east.network(), east.ip, w.service("west-1"), false},
		{"pod to service of the third cluster", west.network(), west.ip, w.service("south-1"), false},
		{"node to remote service", node.network(), host(node.subnet, 1), w.service("west-1"), false},
		{"isolated pod to remote pod", shut.network(), shut.ip, west, false},
		{"pod to remote isolated pod", east.network(), east.ip, far, strict},
		{"isolated pod to remote isolated pod", shut.network(), shut.ip, far, strict},
		{"pod to pod of another node", east.network(), east.ip, w.pod("east-2", open), false},
		{"node to pod of another node", node.network(), host(node.subnet, 1), w.pod("east-2", open), false},
	} {
		for _, protocol := range []string{"tcp4", "udp4"} {
			wait := patience
			if c.refused {
				wait = 500 * time.Millisecond
			}
			seen, err := ask(c.from, protocol, c.to, wait)
			switch {
			case c.refused && err == nil:
				t.Errorf("%s, %s: passed, should not", c.what, protocol)
			case !c.refused && err != nil:
				t.Errorf("%s, %s: %v", c.what, protocol, err)
			case !c.refused && seen != c.source:
				t.Errorf("%s, %s: seen as %v, want %v", c.what, protocol, seen, c.source)
			}
		}
		if c.refused || c.to.node == nil {
			continue
		}
		p := ping(t, c.from, c.source, c.to.ip, pace)
		p.awaitAnswers(t, 10)
		if r := p.end(); r.lost > 0 {
			t.Errorf("%s: %v", c.what, r)
		}
	}
}

// pace is 100 pings a second. Only one way is pinged as fast as that: emulated, each
// packet that is encrypted takes a millisecond of a processor.
const pace = 10 * time.Millisecond

// inMode is testReach after the SDN has made the bridges again in another mode.
func inMode(mode tables.Mode) func(*testing.T, *world) {
	return func(t *testing.T, w *world) {
		w.setMode(mode)
		w.warmUp()
		testReach(t, w)
	}
}

// testReplies has an isolated pod call, and looks for the connection where the bridge's
// flows look for it: in the kernel's table, as one that was answered.
func testReplies(t *testing.T, w *world) {
	from, to := w.pod("east-1", isolated), w.pod("west-1", open)
	if _, err := ask(from.network(), "udp4", to, patience); err != nil {
		t.Fatal(err)
	}
	there, back := fmt.Sprintf("udp,orig=(src=%s,dst=%s,", from.ip, to.ip), fmt.Sprintf("reply=(src=%s,dst=%s,", to.ip, from.ip)
	for _, n := range []*node{from.node, to.node} {
		table := n.sh("ovs-appctl --timeout=20 dpctl/dump-conntrack")
		if !slices.ContainsFunc(strings.Split(table, "\n"), func(line string) bool {
			return strings.Contains(line, there) && strings.Contains(line, back) && !strings.Contains(line, "UNREPLIED")
		}) {
			t.Errorf("%s does not know the connection of %s to %s:\n%s", n.name, from.name, to.name, table)
		}
	}
}

// underPings runs something while pings pass between pods in both directions and from a
// node, and gives what became of all of them. The pings go on for a while afterwards.
func (w *world) underPings(t *testing.T, something func()) []result {
	t.Helper()
	east, west, node := w.pod("east-1", open), w.pod("west-1", open), w.node("east-1")
	pingers := []*pinger{
		ping(t, east.network(), east.ip, west.ip, pace),
		ping(t, west.network(), west.ip, east.ip, 10*pace),
		ping(t, node.network(), host(node.subnet, 1), west.ip, 10*pace),
	}
	for _, p := range pingers {
		p.awaitAnswers(t, 3)
	}
	something()
	for _, p := range pingers {
		p.awaitAnswers(t, 3)
	}
	var all []result
	for i, p := range pingers {
		r := p.end()
		t.Logf("%s: %v", []string{"pod to remote pod", "remote pod to pod", "node to remote pod"}[i], r)
		all = append(all, r)
	}
	return all
}

func nothingLost(t *testing.T, results []result) {
	t.Helper()
	for _, r := range results {
		if r.lost > 0 {
			t.Errorf("%v; want none lost", r)
		}
	}
}

// restart starts an agent on the node and waits until it has applied everything; it must
// have found nothing to change.
func (n *node) restart(program string) time.Duration {
	n.t.Helper()
	began := time.Now()
	n.startAgent(program)
	first := n.await("the new agent has applied everything", began, applied)
	for _, p := range n.passes(began) {
		delete(p.Changes, "services") // its table is taken over by loading it anew
		if len(p.Changes) > 0 {
			n.t.Errorf("%s: the new agent changed %v", n.name, p.Changes)
		}
	}
	return first.Time.Sub(began)
}

func testAgentKilled(t *testing.T, w *world) {
	nothingLost(t, w.underPings(t, func() {
		for range 2 {
			n := w.node("east-1")
			n.agent.end(syscall.SIGKILL)
			time.Sleep(500 * time.Millisecond)
			t.Logf("killed and started again: all applied after %.1f s", n.restart(self(t)).Seconds())
		}
	}))
}

// testAgentUpgraded ends the agents as a rolling update does, and starts another program.
func testAgentUpgraded(t *testing.T, w *world) {
	content, err := os.ReadFile(self(t))
	if err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(w.dir, "another-agent")
	if err := os.WriteFile(other, bytes.Join([][]byte{content, []byte("another build")}, nil), 0o755); err != nil {
		t.Fatal(err)
	}
	nothingLost(t, w.underPings(t, func() {
		for _, name := range []string{"east-1", "west-1"} {
			n := w.node(name)
			n.agent.end(syscall.SIGTERM)
			t.Logf("%s: upgraded, all applied after %.1f s", name, n.restart(other).Seconds())
		}
	}))
}
