package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// oneLeaves tears one cluster of the mesh down: it is as before the first deploy, the
// other has no trace of it and goes on, and a deploy links them again.
func oneLeaves(t *testing.T, l *lab, before string) {
	l.removePods(t)
	l.keepExported(t)
	agents := map[string]string{}
	for _, n := range nodes {
		agents[n] = l.agentPID(t, n)
	}
	r := l.tunnel(t, 5*time.Minute, "teardown", "-i", l.Inventory, "--limit", "west", "--yes")
	r.must(t)
	t.Logf("teardown of one: %.1f s", r.took.Seconds())

	was, is := sections(before), sections(l.traces(t))
	for _, at := range []string{"west-1", "west-2", "west"} {
		if was[at] == "" {
			t.Fatalf("no traces were taken of %s", at)
		}
		if diff := cmp.Diff(was[at], is[at]); diff != "" {
			t.Errorf("%s is not as before the first deploy (- before, + after):\n%s", at, diff)
		}
	}
	hasNoTraceOf(t, l, "east", "west", "10.132.", "100.127.4.")
	for _, n := range []string{"east-1", "east-2"} {
		if now := l.agentPID(t, n); now != agents[n] {
			t.Errorf("the agent of %s is process %s, was %s", n, now, agents[n])
		}
	}
	eventually(t, 20*time.Second, "east imports nothing of west any more", func() bool {
		return strings.Count(l.derivedSlices(t, "east"), "default/import-") == 1
	})
	alone := l.inventory(t, `clusters: {hosts: {east: {ansible_connection: local, kubeconfig: "{{.east.Kubeconfig}}", kube_context: east}}}`)
	said := ""
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the last status of the cluster that is left:\n%s", said)
		}
	})
	eventually(t, 30*time.Second, "status of the cluster that is left is well", func() bool {
		r := l.tunnel(t, time.Minute, "status", "-i", alone)
		said = r.out
		return r.code == 0
	})

	r = l.tunnel(t, 5*time.Minute, "deploy", "-i", l.Inventory)
	r.must(t)
	t.Logf("linked again: %.1f s with the matrix", r.took.Seconds())
}

// hasNoTraceOf looks for a member that has left: in the other's API, and on its nodes for
// its peers, its networks in routes and flows, and its tunnel addresses.
func hasNoTraceOf(t *testing.T, l *lab, cluster, gone string, networks ...string) {
	t.Helper()
	leftInAPI := func() string {
		objects := l.kubectl(t, cluster, "get", "linkedclusters,tunnelnodes", "-o", "name") + "\n" +
			l.kubectl(t, cluster, "-n", "sdn-tunnel", "get", "secrets,serviceaccounts,roles,rolebindings,configmaps", "-o", "name") + "\n" +
			l.kubectl(t, cluster, "get", "clusterroles,clusterrolebindings", "-o", "name")
		return linesWith(objects, gone)
	}
	left := leftInAPI()
	for start := time.Now(); left != "" && time.Since(start) < 10*time.Second; left = leftInAPI() {
		time.Sleep(time.Second)
	}
	if left != "" {
		t.Errorf("left of %s in %s:\n%s", gone, cluster, left)
	}
	for _, n := range nodes {
		if !strings.HasPrefix(n, cluster+"-") {
			continue
		}
		var state string
		clean := func() bool {
			state = l.node(t, n, stateOf+"ip route show table all; ip -n sdn-tunnel route show table all; ovs-ofctl -O OpenFlow13 dump-flows br0").out
			return linesWith(state, networks...) == ""
		}
		for start := time.Now(); !clean() && time.Since(start) < 10*time.Second; {
			time.Sleep(time.Second)
		}
		if left := linesWith(state, networks...); left != "" {
			t.Errorf("left of %s on %s:\n%s", gone, n, left)
		}
		if peers := l.node(t, n, stateOf+"echo; ip netns exec sdn-tunnel wg show sdntun-wg peers || wg show sdntun-wg peers").out; strings.HasSuffix(strings.TrimSpace(peers), "=") {
			t.Errorf("%s still has peers:\n%s", n, peers)
		}
	}
}

// linesWith gives the lines that contain one of the words.
func linesWith(text string, words ...string) string {
	var found []string
	for line := range strings.Lines(text) {
		for _, w := range words {
			if strings.Contains(line, w) {
				found = append(found, strings.TrimSpace(line))
				break
			}
		}
	}
	return strings.Join(found, "\n")
}

// sections splits what traces gives, by node and cluster.
func sections(traces string) map[string]string {
	out := map[string]string{}
	for part := range strings.SplitSeq(traces, "== ") {
		name, text, _ := strings.Cut(part, "\n")
		out[name] = fmt.Sprintf("%s\n%s", name, strings.TrimSpace(text))
	}
	return out
}
