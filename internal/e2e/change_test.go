package e2e

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"
)

// soon is how long the mesh may take for a node that comes or goes.
const soon = 5 * time.Second

// TestChange has nodes and clusters come and go, and keys change, in a mesh of its own of
// one node in each cluster, with pings between the two that stay.
func TestChange(t *testing.T) {
	l := up(t, "change", "networkpolicy", "--nodes", "1")
	l.deployMesh(t, l.Inventory)
	for _, s := range []step{
		{"a node joins", nodeJoins},
		{"keys are replaced", keysAreReplaced},
		{"a node that is down keeps its place, one that is deleted goes", nodeGoes},
		{"a third cluster disturbs nobody", thirdCluster},
		{"credentials are replaced", credentialsAreReplaced},
		{"a lost cluster is forgotten", lostCluster},
	} {
		if !t.Run(s.name, func(t *testing.T) { s.run(t, l) }) {
			t.FailNow()
		}
	}
}

// deployMesh links the clusters, without what the steps do not look at.
func (l *lab) deployMesh(t *testing.T, inventory string, more ...string) {
	t.Helper()
	r := l.tunnel(t, 5*time.Minute, append([]string{"deploy", "-i", inventory, "--tags", "objects,peers,workloads,services", "-e", "dns_enabled=false"}, more...)...)
	r.must(t)
	t.Logf("deploy: %.1f s", r.took.Seconds())
}

// gateway is a node's address on its pod network.
func (l *lab) gateway(t *testing.T, node string) string {
	t.Helper()
	r := l.node(t, node, "ip -4 -o addr show dev tun0 | awk '{print $4}' | cut -d/ -f1")
	r.must(t)
	return strings.TrimSpace(r.out)
}

// reaches tells whether a node reaches another's address on its pod network.
func (l *lab) reaches(t *testing.T, from, address string) bool {
	t.Helper()
	return l.node(t, from, "ping -q -c 1 -W 1 "+address).code == 0
}

func nodeJoins(t *testing.T, l *lab) {
	stop := l.nodesPing(t)
	r := l.run(t, 3*time.Minute, "lab", "node", "add", "--name", l.name, "east")
	r.must(t)
	t.Logf("joined and Ready: %.1f s", r.took.Seconds())
	eventually(t, time.Minute, "its agent is ready", func() bool {
		return l.kubectl(t, "east", "-n", "sdn-tunnel", "get", "pods", "-l", "app.kubernetes.io/component=agent", "--field-selector", "spec.nodeName=east-2",
			"-o", `jsonpath={.items[*].status.conditions[?(@.type=="Ready")].status}`) == "True"
	})
	west, east2 := l.gateway(t, "west-1"), l.gateway(t, "east-2")
	took := eventually(t, soon, "it reaches the other cluster and is reached", func() bool {
		return l.reaches(t, "east-2", west) && l.reaches(t, "west-1", east2)
	})
	t.Logf("reaches the other cluster and is reached %.1f s after its agent was ready", took.Seconds())
	if p := stop(); p.lost > 0 {
		t.Errorf("pings between the others were lost: %s", p.text)
	}
}

func keysAreReplaced(t *testing.T, l *lab) {
	former := strings.TrimSpace(l.node(t, "west-1", "cat /var/lib/sdn-tunnel/key").out)
	stop := l.nodesPing(t)
	r := l.tunnel(t, 2*time.Minute, "rotate", "keys", "-i", l.Inventory)
	r.must(t)
	p := stop()
	t.Logf("%.1f s for all nodes:\n%s\nof the pair east-1, west-1, both with new keys: %s", r.took.Seconds(), r.out, p.text)
	if p.lost > 2*20 { // each node's key: one second, at 20 a second
		t.Errorf("%d pings lost, want a second for each key at most", p.lost)
	}
	files := l.node(t, "west-1", "cd /var/lib/sdn-tunnel && ls key* && cat *").out
	if strings.Contains(files, former) || strings.Contains(files, "key.") || former == "" {
		t.Error("the former key, or a file for it, is left on the node")
	}
	eventually(t, soon, "Events on the nodes say so", func() bool {
		return strings.Count(l.kubectl(t, "west", "-n", "default", "get", "events.events.k8s.io", "-o", `jsonpath={range .items[*]}{.regarding.kind} {.reason}{"\n"}{end}`),
			"TunnelNode KeyReplaced") == 1
	})
	r = l.tunnel(t, time.Minute, "rotate", "keys", "-i", l.Inventory, "--node", "east.none")
	if r.code == 0 || !strings.Contains(r.out, "no TunnelNode east.none") {
		t.Errorf("a node that there is not: exit %d\n%s", r.code, r.out)
	}
}

func nodeGoes(t *testing.T, l *lab) {
	known := func() string { return l.kubectl(t, "west", "get", "tunnelnodes", "-o", "name") }
	traces := func() string {
		return linesWith(l.node(t, "west-1", stateOf).out, "10.128.2.0/23") + linesWith(known(), "east.east-2")
	}
	before := traces()
	if before == "" {
		t.Fatal("nothing is known of the node in the other cluster")
	}
	l.run(t, time.Minute, "lab", "node", "kill", "--name", l.name, "east-2").must(t)
	time.Sleep(soon)
	if now := traces(); now != before {
		t.Errorf("the node is down, and what the other cluster has of it changed from\n%s\nto\n%s", before, now)
	}
	stop := l.nodesPing(t)
	began := time.Now()
	l.kubectl(t, "east", "delete", "node", "east-2", "--wait=false")
	took := eventually(t, soon, "nothing of the node is in the other cluster", func() bool { return traces() == "" })
	t.Logf("gone from the other cluster %.1f s after its Node was deleted", took.Seconds())
	if left := linesWith(l.kubectl(t, "east", "-n", "sdn-tunnel", "get", "services,endpointslices", "-o", "name"), "east-2"); left != "" {
		t.Errorf("left in its own cluster:\n%s", left)
	}
	removed := time.Now()
	l.run(t, time.Minute, "lab", "node", "remove", "--name", l.name, "east-2").must(t)
	if p := stop(); p.lost > 0 {
		t.Errorf("pings between the others were lost (deleted at %d, removed from the lab at %d): %s", began.UnixMilli(), removed.UnixMilli(), p.text)
	}
}

func thirdCluster(t *testing.T, l *lab) {
	stop := l.nodesPing(t)
	r := l.run(t, 3*time.Minute, "lab", "cluster", "add", "--name", l.name)
	r.must(t)
	t.Logf("a third cluster is up: %.1f s", r.took.Seconds())
	l.deployMesh(t, l.Inventory)
	north := l.gateway(t, "north-1")
	eventually(t, 10*time.Second, "both reach the third", func() bool { return l.reaches(t, "east-1", north) && l.reaches(t, "west-1", north) })
	p := stop()
	t.Logf("between the two: %s", p.text)
	if p.lost > 0 {
		t.Errorf("%d pings between the two were lost", p.lost)
	}
}

// token is what a cluster reads another with.
func (l *lab) token(t *testing.T, in, of string) string {
	t.Helper()
	text, err := base64.StdEncoding.DecodeString(l.kubectl(t, in, "-n", "sdn-tunnel", "get", "secret", "sdn-tunnel-peer-"+of, "-o", "jsonpath={.data.token}"))
	if err != nil || len(text) == 0 {
		t.Fatalf("token of %s for %s: %v", in, of, err)
	}
	return string(text)
}

// void waits until a token is refused. The path is asked for as it is: kubectl has other words
// for a refusal that it gets while it looks up what kinds there are.
func (l *lab) void(t *testing.T, cluster, token string) {
	t.Helper()
	as := append(l.identity(t, cluster, token), "get", "--raw", "/apis/sdntunnel.io/v1alpha1/tunnelnodes")
	var last result
	defer func() {
		if t.Failed() {
			t.Logf("%s: exit %d: %s", cluster, last.code, tail(last.out, 5))
		}
	}()
	took := eventually(t, soon, "the former token is refused", func() bool {
		last = l.operator(t, time.Minute, as...)
		return last.code != 0 && (strings.Contains(last.out, "Unauthorized") || strings.Contains(last.out, "Forbidden"))
	})
	t.Logf("the former token of %s is refused after %.1f s", cluster, took.Seconds())
}

func credentialsAreReplaced(t *testing.T, l *lab) {
	former := l.token(t, "north", "east")
	r := l.tunnel(t, 2*time.Minute, "rotate", "credentials", "-i", l.Inventory, "--cluster", "north")
	r.must(t)
	t.Log(r.out)
	l.void(t, "east", former)
	for _, c := range []string{"east", "west", "north"} {
		if reachable := l.kubectl(t, c, "get", "linkedclusters", "-o", `jsonpath={.items[*].status.conditions[?(@.type=="Reachable")].status}`); strings.Contains(reachable, "False") {
			t.Errorf("%s: Reachable %s", c, reachable)
		}
	}
}

// lostCluster: the third cluster is off, and is taken out of the others.
func lostCluster(t *testing.T, l *lab) {
	held := l.token(t, "north", "east")
	l.run(t, time.Minute, "lab", "node", "kill", "--name", l.name, "north").must(t)
	stop := l.nodesPing(t)
	r := l.tunnel(t, 2*time.Minute, "forget", "-i", l.Inventory, "--yes", "-e", "dns_enabled=false", "north")
	r.must(t)
	t.Logf("forgotten: %.1f s", r.took.Seconds())
	l.void(t, "east", held)
	for _, c := range clusters {
		took := eventually(t, soon, "no trace of it is left in "+c, func() bool {
			objects := l.kubectl(t, c, "get", "linkedclusters,tunnelnodes,clusterroles,clusterrolebindings", "-o", "name") + "\n" +
				l.kubectl(t, c, "-n", "sdn-tunnel", "get", "secrets,serviceaccounts,roles,rolebindings,endpointslices", "-o", "name")
			return linesWith(objects, "north")+linesWith(l.node(t, c+"-1", stateOf).out, "10.136.", "100.127.8.") == ""
		})
		t.Logf("%s: no trace is left %.1f s later", c, took.Seconds())
	}
	if p := stop(); p.lost > 0 {
		t.Errorf("pings between the two that are left were lost: %s", p.text)
	}
	if !strings.Contains(fmt.Sprint(r.out), "credentials that are void") {
		t.Errorf("what the lost cluster still holds is not said:\n%s", r.out)
	}
	again := l.tunnel(t, time.Minute, "forget", "-i", l.Inventory, "--yes", "-e", "dns_enabled=false", "north")
	if again.code == 0 || !strings.Contains(again.out, "there is no cluster north to forget") {
		t.Errorf("what is gone was forgotten again: exit code %d\n%s", again.code, again.out)
	}
}
