package verify

import (
	"errors"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sdn-tunnel/sdn-tunnel/api/v1alpha1"
	"github.com/sdn-tunnel/sdn-tunnel/internal/mesh"
	"github.com/sdn-tunnel/sdn-tunnel/samples/test-app/probe"
)

var (
	east1 = mesh.Ref{Cluster: "east", Node: "east-1"}
	west1 = mesh.Ref{Cluster: "west", Node: "west-1"}
)

// healthy is what both clusters and agents say when nothing is wrong.
func healthy() map[string]clusterFacts {
	facts := map[string]clusterFacts{}
	for cluster, own := range map[string]mesh.Ref{"east": east1, "west": west1} {
		f := clusterFacts{links: map[string]v1alpha1.LinkedCluster{"east": {}, "west": {}}, nodes: map[mesh.Ref]v1alpha1.TunnelNode{}, agents: map[string]agentFacts{}}
		for _, ref := range []mesh.Ref{east1, west1} {
			f.nodes[ref] = v1alpha1.TunnelNode{Spec: v1alpha1.TunnelNodeSpec{PublicKey: "k", Endpoint: &v1alpha1.Endpoint{Host: "192.0.2.1", Port: 5555}}}
		}
		other := west1
		if own == west1 {
			other = east1
		}
		f.agents[own.Node] = agentFacts{flows: 4, peers: map[mesh.Ref]peerFacts{other: {handshakeSeconds: 10, endpoint: "192.0.2.2:5555"}}}
		facts[cluster] = f
	}
	return facts
}

// edit changes a TunnelNode as one cluster knows it.
func edit(facts map[string]clusterFacts, cluster string, ref mesh.Ref, change func(*v1alpha1.TunnelNode)) {
	n := facts[cluster].nodes[ref]
	change(&n)
	facts[cluster].nodes[ref] = n
}

func condition(kind string) []metav1.Condition {
	return []metav1.Condition{{Type: kind, Status: metav1.ConditionFalse, Reason: "Why", Message: "because"}}
}

func TestFailingHop(t *testing.T) {
	type facts = map[string]clusterFacts
	for name, c := range map[string]struct {
		fault func(facts)
		want  string
	}{
		"API unreadable":      {func(f facts) { f["east"] = clusterFacts{err: errors.New("no route")} }, "cluster east: its objects cannot be read: no route"},
		"source has no agent": {func(f facts) { delete(f["east"].nodes, east1) }, "node east.east-1: it has no TunnelNode"},
		"source not ready": {func(f facts) {
			edit(f, "east", east1, func(n *v1alpha1.TunnelNode) { n.Status.Conditions = condition(v1alpha1.ConditionReady) })
		}, "node east.east-1: Ready is False: Why: because"},
		"source without endpoint": {func(f facts) { edit(f, "east", east1, func(n *v1alpha1.TunnelNode) { n.Spec.Endpoint = nil }) }, "node east.east-1: it has no public endpoint"},
		"not linked":              {func(f facts) { delete(f["east"].links, "west") }, "cluster east: it has no LinkedCluster west"},
		"not mirrored":            {func(f facts) { delete(f["east"].nodes, west1) }, "cluster east: it does not know node west.west-1: the controller has not mirrored it"},
		"remote unreachable": {func(f facts) {
			delete(f["east"].nodes, west1)
			f["east"].links["west"] = v1alpha1.LinkedCluster{Status: v1alpha1.LinkedClusterStatus{Conditions: condition(v1alpha1.ConditionReachable)}}
		}, "LinkedCluster west: Reachable is False"},
		"refused": {func(f facts) {
			edit(f, "east", west1, func(n *v1alpha1.TunnelNode) { n.Status.Conditions = condition(v1alpha1.ConditionAccepted) })
		}, "cluster east refuses node west.west-1"},
		"target has no agent":   {func(f facts) { delete(f["west"].nodes, west1) }, "node west.west-1: it has no TunnelNode"},
		"unknown at the target": {func(f facts) { delete(f["west"].nodes, east1) }, "cluster west: it does not know node east.east-1"},
		"no peer":               {func(f facts) { delete(f["east"].agents["east-1"].peers, west1) }, "node east.east-1: its WireGuard has no peer west.west-1"},
		"never a handshake":     {func(f facts) { f["east"].agents["east-1"].peers[west1] = peerFacts{-1, "192.0.2.2:5555"} }, "UDP to 192.0.2.2:5555 does not get through"},
		"old handshake":         {func(f facts) { f["west"].agents["west-1"].peers[east1] = peerFacts{400, "192.0.2.1:5555"} }, "between west.west-1 and east.east-1: the last WireGuard handshake is 400 s old"},
		"flows gone": {func(f facts) {
			a := f["west"].agents["west-1"]
			a.flows = 0
			f["west"].agents["west-1"] = a
		}, "node west.west-1: the flows of the tunnel are missing"},
		"nothing to be seen": {func(facts) {}, "the tunnels of east.east-1 and west.west-1 are up"},
	} {
		t.Run(name, func(t *testing.T) {
			f := healthy()
			c.fault(f)
			p := Pair{Kind: PodToPod, From: "east.east-1", To: "west.west-1", ToAddress: "10.132.0.5", from: east1, to: west1,
				Checks: []Check{{Name: probe.ICMP}, {Name: probe.TCP}}}
			if got := failingHop(p, f); !strings.Contains(got, c.want) {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestFailingHopOfWhatPartlyPasses(t *testing.T) {
	for name, c := range map[string]struct {
		pair Pair
		want string
	}{
		"masqueraded": {Pair{Checks: append(passed(probe.TCP), Check{Name: probe.Source})}, "masquerading"},
		"small MTU":   {Pair{DFBytes: 1200, Checks: append(passed(probe.TCP), Check{Name: probe.DF})}, "largest packet: 1200 bytes"},
		"slow":        {Pair{Checks: append(passed(probe.TCP, probe.DF), Check{Name: probe.Transfer})}, "the transfer does not"},
		"no exec":     {Pair{Error: "x"}, "kubelet or node down"},
		"inside":      {Pair{Kind: Baseline, Checks: []Check{{Name: probe.TCP}}}, "the pod network of cluster east itself"},
	} {
		t.Run(name, func(t *testing.T) {
			c.pair.from, c.pair.to = east1, west1
			if got := failingHop(c.pair, healthy()); !strings.Contains(got, c.want) {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

func FuzzReadAgentStatus(f *testing.F) {
	f.Add([]byte(`{"peers":[{"name":"west.west-1","endpoint":"192.0.2.1:5555","handshakeAgeSeconds":3.5}],"flows":4}`))
	f.Add([]byte(`{"peers":[{"name":""}]}`))
	f.Fuzz(func(t *testing.T, content []byte) {
		if a, err := readAgentStatus(content); err == nil && a.peers == nil {
			t.Error("no peers and no error")
		}
	})
}
