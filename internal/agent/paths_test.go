package agent

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sdn-tunnel/sdn-tunnel/api/v1alpha1"
	"github.com/sdn-tunnel/sdn-tunnel/internal/mesh"
	"github.com/sdn-tunnel/sdn-tunnel/internal/probe"
)

var dawn = time.Date(2026, 3, 1, 6, 0, 0, 0, time.UTC)

// TestTraffic: rates are those since the last look, and a member's sums never shrink,
// whatever happens to its peers.
func TestTraffic(t *testing.T) {
	w1, w2 := mesh.Ref{Cluster: "west", Node: "w1"}, mesh.Ref{Cluster: "west", Node: "w2"}
	var tr traffic
	for i, step := range []struct {
		what  string
		peers []Peer
		rate  float64 // received by the first peer
		rated bool
		sum   Carried
	}{
		{"what was before is not counted", []Peer{{Ref: w1, Received: 5000, Sent: 5000}}, 0, false, Carried{}},
		{"grown", []Peer{{Ref: w1, Received: 6000, Sent: 5500}}, 100, true, Carried{1000, 500}},
		{"another one comes", []Peer{{Ref: w1, Received: 6000, Sent: 5500}, {Ref: w2, Received: 70, Sent: 7}}, 0, true, Carried{1070, 507}},
		{"its counters begin anew", []Peer{{Ref: w1, Received: 300, Sent: 30}, {Ref: w2, Received: 70, Sent: 7}}, 30, true, Carried{1370, 537}},
		{"it goes", []Peer{{Ref: w2, Received: 80, Sent: 7}}, 1, true, Carried{1380, 537}},
	} {
		tr.note(step.peers, dawn.Add(time.Duration(i)*10*time.Second))
		if p := step.peers[0]; p.Receiving != step.rate || p.Rated != step.rated || tr.carried["west"] != step.sum {
			t.Errorf("%s: %v %t, %+v", step.what, p.Receiving, p.Rated, tr.carried)
		}
	}
}

// measuredPeer is one with that round-trip time, and so many of thirty probes lost.
func measuredPeer(cluster, node string, trip time.Duration, lost int) Peer {
	return Peer{Ref: mesh.Ref{Cluster: cluster, Node: node}, LastHandshake: dawn, Rated: true, Receiving: 1000, Sending: 2000,
		Path: probe.Result{RoundTrip: trip, Loss: float64(lost) / 30, Probes: 30}, Lossy: lost >= 6}
}

// TestPaths: members are summed up: the median and the slowest, loss of all, and who loses
// much.
func TestPaths(t *testing.T) {
	peers := []Peer{
		measuredPeer("west", "a", 3*time.Millisecond, 0), measuredPeer("west", "b", 40*time.Millisecond, 9),
		measuredPeer("west", "c", 1*time.Millisecond, 0),
		{Ref: mesh.Ref{Cluster: "west", Node: "new"}, Path: probe.Result{RoundTrip: time.Hour, Probes: 2}},
		{Ref: mesh.Ref{Cluster: "north", Node: "n"}},
	}
	want := map[string]*v1alpha1.PathState{"west": {Probed: 3, RoundTripMicroseconds: 3000, SlowestMicroseconds: 40000, LossPercent: 10,
		LossyPeers: 1, Lossy: []string{"west.b"}, ReceiveBitsPerSecond: 24000, TransmitBitsPerSecond: 48000}}
	if got := pathsOf(peers); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v", got["west"])
	}
	for i := range 30 {
		peers = append(peers, measuredPeer("west", fmt.Sprint("x", i), 0, 30))
	}
	if got := pathsOf(peers)["west"]; got.LossyPeers != 31 || len(got.Lossy) != v1alpha1.MaxPeersLossy || got.SlowestMicroseconds != 40000 {
		t.Errorf("got %+v", got)
	}
}

// TestLossyLasts: a peer at the brink is not lossy now and well then.
func TestLossyLasts(t *testing.T) {
	var b board
	ref := mesh.Ref{Cluster: "west", Node: "w"}
	for _, c := range []struct {
		loss   float64
		probes int
		lossy  bool
	}{{0.9, 5, false}, {0.19, 30, false}, {0.2, 30, true}, {0.11, 30, true}, {0.19, 30, true}, {0.09, 30, false}, {0.19, 30, false}} {
		peers := []Peer{{Ref: ref}}
		b.measured(peers, map[mesh.Ref]probe.Result{ref: {Loss: c.loss, Probes: c.probes}})
		if peers[0].Lossy != c.lossy {
			t.Errorf("%+v: lossy is %t", c, peers[0].Lossy)
		}
	}
}

// TestSettle: values are written when they differ by much, and seldom, the more nodes the
// more so.
func TestSettle(t *testing.T) {
	path := func(micros int64, lossy ...string) *v1alpha1.PathState {
		return &v1alpha1.PathState{Probed: 4, RoundTripMicroseconds: micros, SlowestMicroseconds: 2 * micros, Lossy: lossy, LossyPeers: int32(len(lossy))}
	}
	status := func(p *v1alpha1.PathState) v1alpha1.TunnelNodeStatus {
		return v1alpha1.TunnelNodeStatus{Peers: &v1alpha1.PeerCounts{Clusters: []v1alpha1.ClusterPeers{{Cluster: "west", Path: p}}}}
	}
	for name, c := range map[string]struct {
		have, want *v1alpha1.PathState
		nodes      int
		after      time.Duration // since the last write
		written    bool
	}{
		"nothing is known":              {nil, nil, 4, time.Hour, false},
		"the first values":              {nil, path(1000), 4, 5 * time.Second, true},
		"the first ones, at once":       {nil, path(1000), 4, time.Second, false},
		"about the same":                {path(2000), path(2900), 4, time.Hour, false},
		"much more":                     {path(2000), path(3100), 4, 31 * time.Second, true},
		"much more, soon":               {path(2000), path(3100), 4, 29 * time.Second, false},
		"much more, of many nodes":      {path(2000), path(3100), 1000, 999 * time.Second, false},
		"and later":                     {path(2000), path(3100), 1000, 1001 * time.Second, true},
		"thrice as much of very little": {path(100), path(300), 4, time.Hour, false},
		"lossy":                         {path(1000), path(1000, "west.w1"), 4, 4 * time.Second, true},
		"lossy, of many nodes":          {path(1000), path(1000, "west.w1"), 1000, 99 * time.Second, false},
		"another one is lossy":          {path(1000, "west.w2"), path(1000, "west.w1"), 4, 4 * time.Second, true},
		"not lossy any more":            {path(1000, "west.w2"), path(1000), 4, 4 * time.Second, true},
		"not known any more":            {path(1000), nil, 4, time.Hour, true},
		"not known at the moment":       {path(1000), nil, 4, 5 * time.Second, false},
	} {
		m := measured{at: dawn}
		got := status(c.want)
		m.settle(&got, status(c.have), c.nodes, dawn.Add(c.after))
		expected := c.have
		if c.written {
			expected = c.want
		}
		if is := got.Peers.Clusters[0].Path; !reflect.DeepEqual(is, expected) || c.written != (m.at != dawn) {
			t.Errorf("%s: %+v", name, is)
		}
	}
	var fresh measured // an agent that has just begun leaves alone what it finds
	got := status(nil)
	if fresh.settle(&got, status(path(1000)), 4, dawn); got.Peers.Clusters[0].Path == nil {
		t.Error("values of before are gone at once")
	}
}

// TestPeersUp: what the condition says in plain words.
func TestPeersUp(t *testing.T) {
	for name, c := range map[string]struct {
		peers  []Peer
		status metav1.ConditionStatus
		reason string
		says   []string
	}{
		"no peers":  {nil, metav1.ConditionTrue, "NoPeers", []string{"no peers yet"}},
		"all up":    {[]Peer{measuredPeer("west", "a", 1000, 2)}, metav1.ConditionTrue, "AllUp", []string{"all 1 peers are up"}},
		"one down":  {[]Peer{measuredPeer("west", "a", 1000, 0), {Ref: mesh.Ref{Cluster: "west", Node: "b"}}}, metav1.ConditionFalse, "PeersDown", []string{"1 of 2 peers have no handshake", "west.b;"}},
		"one lossy": {[]Peer{measuredPeer("west", "a", 1000, 8)}, metav1.ConditionFalse, "PacketsLost", []string{"of probes to 1 of 1 peers a fifth or more is lost: west.a;"}},
		"both":      {[]Peer{measuredPeer("west", "a", 1000, 8), {Ref: mesh.Ref{Cluster: "west", Node: "b"}}}, metav1.ConditionFalse, "PeersDown", []string{"west.b; ", "west.a; "}},
		"many": {[]Peer{{Ref: mesh.Ref{Cluster: "w", Node: "1"}}, {Ref: mesh.Ref{Cluster: "w", Node: "2"}}, {Ref: mesh.Ref{Cluster: "w", Node: "3"}}, {Ref: mesh.Ref{Cluster: "w", Node: "4"}},
			{Ref: mesh.Ref{Cluster: "w", Node: "5"}}, {Ref: mesh.Ref{Cluster: "w", Node: "6"}}, {Ref: mesh.Ref{Cluster: "w", Node: "7"}}}, metav1.ConditionFalse, "PeersDown", []string{"w.1, w.2, w.3, w.4, w.5 and 2 more;"}},
	} {
		s := statusOf(Observation{Peers: c.peers}, "", nil, dawn, nil)
		got := meta.FindStatusCondition(s.Conditions, v1alpha1.ConditionPeersUp)
		if got.Status != c.status || got.Reason != c.reason {
			t.Errorf("%s: %+v", name, got)
		}
		for _, text := range c.says {
			if !strings.Contains(got.Message, text) {
				t.Errorf("%s: %q does not say %q", name, got.Message, text)
			}
		}
	}
}

// TestRepairs: a repair is told, and those that follow soon are not.
func TestRepairs(t *testing.T) {
	parts := func(after time.Duration) State {
		return State{Parts: []PartState{{Name: "namespace"}, {Name: "vswitch", Repairs: 1, RepairedAt: dawn.Add(after), Repaired: strings.Repeat("ä", 200)}}}
	}
	first := repairOf(parts(0), nil)
	if first == nil || first.Part != "vswitch" || !first.Time.Time.Equal(dawn) || first.Change != strings.Repeat("ä", 128) {
		t.Fatalf("got %+v", first)
	}
	if soon := repairOf(parts(59*time.Second), first); soon != first {
		t.Errorf("soon after: %+v", soon)
	}
	if later := repairOf(parts(61*time.Second), first); later == first {
		t.Error("a later one is not told")
	}
	if repairOf(State{Parts: []PartState{{Name: "vswitch"}}}, nil) != nil {
		t.Error("a repair that was none")
	}
}
