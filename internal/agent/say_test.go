package agent

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/sdn-tunnel/sdn-tunnel/api/v1alpha1"
	"github.com/sdn-tunnel/sdn-tunnel/internal/kuberouter"
	"github.com/sdn-tunnel/sdn-tunnel/internal/mesh"
	"github.com/sdn-tunnel/sdn-tunnel/internal/probe"
	"github.com/sdn-tunnel/sdn-tunnel/internal/remoteservice"
	"github.com/sdn-tunnel/sdn-tunnel/internal/serve"
)

// working is what an agent observes when all is well, with a peer in each state.
func working(now time.Time) Observation {
	west := func(node string) mesh.Ref { return mesh.Ref{Cluster: "west", Node: node} }
	return Observation{
		State: State{
			Plan:   mesh.DataPlane{Self: east1, TunnelAddress: netip.MustParseAddr("100.127.0.1")},
			Source: PlanAPI, Applied: true, Parts: []PartState{{Name: "namespace"}, {Name: "wireguard"}},
		},
		Peers: []Peer{
			{Ref: west("w1"), Endpoint: "192.0.2.1:5555", LastHandshake: now.Add(-30 * time.Second), Received: 1000, Sent: 2000},
			{Ref: west("w2"), LastHandshake: now.Add(-200 * time.Second)},
			{Ref: west("w3")},
		},
		Cable: "wireguard", MTU: 1370, Flows: 9, Connected: true,
		Services: &remoteservice.Stats{Services: 4, Endpoints: 12, Refused: []mesh.Refusal{{}}, Sync: 14 * time.Millisecond},
	}
}

func refusal(ref mesh.Ref) mesh.Refusal {
	return mesh.Refusal{Ref: ref, Reason: mesh.DuplicateKey, Field: "spec.publicKey", Detail: "copied"}
}

// TestConditions: what people read in the node's TunnelNode, case by case.
func TestConditions(t *testing.T) {
	other := mesh.Ref{Cluster: "west", Node: "w1"}
	for _, tt := range []struct {
		name          string
		change        func(*Observation)
		missing       string
		ready, reason string
		says          string
		accepted      string
	}{
		{"all is well", func(*Observation) {}, "", "True", "AsPlanned", "the data plane is as planned", "True nothing is refused"},
		{"userspace is said to be slow", func(o *Observation) { o.Cable = "wireguard-userspace" }, "", "True", "AsPlanned", "it is slower", "True"},
		{"a part failed", func(o *Observation) { o.State.Parts[1].Err = errors.New("UDP port 5555 is taken") }, "", "False", "PartFailed", "wireguard: UDP port 5555 is taken", "True"},
		{"nothing is known", func(o *Observation) { o.State = State{Source: PlanNone} }, "", "False", "Starting", "not been applied yet", "True"},
		{"not applied", func(o *Observation) { o.State.Applied = false }, "", "False", "Starting", "not been applied yet", "True"},
		{"no host subnet", func(*Observation) {}, "there is no HostSubnet east-1 yet", "False", "NoHostSubnet", "HostSubnet east-1", "True"},
		{"no tunnel address", func(o *Observation) { o.State.Plan.TunnelAddress = netip.Addr{} }, "", "False", "NoTunnelAddress", "the controller has not given", "True"},
		{"this node is refused", func(o *Observation) { o.State.Refusals = []mesh.Refusal{refusal(other), refusal(east1)} }, "", "True", "AsPlanned", "",
			"False east.east-1: spec.publicKey: DuplicateKey: copied; west.w1"},
		{"its cluster is refused", func(o *Observation) { o.State.Refusals = []mesh.Refusal{refusal(mesh.Ref{Cluster: "east"})} }, "", "True", "AsPlanned", "", "False"},
		{"another node is refused", func(o *Observation) { o.State.Refusals = []mesh.Refusal{refusal(other)} }, "", "True", "AsPlanned", "",
			"True nothing of this node is refused; of others: west.w1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			now := time.Now()
			o := working(now)
			tt.change(&o)
			s := statusOf(o, tt.missing, nil, now, nil)
			ready := meta.FindStatusCondition(s.Conditions, v1alpha1.ConditionReady)
			accepted := meta.FindStatusCondition(s.Conditions, v1alpha1.ConditionAccepted)
			if string(ready.Status) != tt.ready || ready.Reason != tt.reason || !strings.Contains(ready.Message, tt.says) {
				t.Errorf("Ready: %+v", ready)
			}
			if got := string(accepted.Status) + " " + accepted.Message; !strings.HasPrefix(got, tt.accepted) {
				t.Errorf("Accepted: %+v", accepted)
			}
			if s.Peers.Configured != 3 || s.Peers.Up != 1 || s.Peers.Stale != 1 || s.Peers.Never != 1 || s.MTU != 1370 {
				t.Errorf("status %+v", s)
			}
		})
	}
}

// TestTransitions: the time of a condition moves with its status, and not else.
func TestTransitions(t *testing.T) {
	then := time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)
	first := statusOf(working(then), "", nil, then, nil)
	later := working(then.Add(time.Hour))
	later.Peers[1].LastHandshake = working(then).Peers[1].LastHandshake // that one is still stale
	same := statusOf(later, "", first.Conditions, then.Add(time.Hour), nil)
	if !sameStatus(same, first) {
		t.Errorf("an hour later: %+v", same)
	}
	o := working(then)
	o.State.Parts[0].Err = errors.New("gone")
	broken := statusOf(o, "", first.Conditions, then.Add(time.Hour), nil)
	at := func(s v1alpha1.TunnelNodeStatus, kind string) metav1.Time {
		return meta.FindStatusCondition(s.Conditions, kind).LastTransitionTime
	}
	if sameStatus(broken, first) || at(broken, v1alpha1.ConditionReady) == at(first, v1alpha1.ConditionReady) ||
		at(broken, v1alpha1.ConditionAccepted) != at(first, v1alpha1.ConditionAccepted) {
		t.Errorf("broken: %+v", broken)
	}
}

// TestPeersThatAreDown: members are summed up, and the peers that are not up are named, the
// first of them, without a write for each handshake.
func TestPeersThatAreDown(t *testing.T) {
	now := time.Now()
	o := working(now)
	for i := range 30 {
		o.Peers = append(o.Peers, Peer{Ref: mesh.Ref{Cluster: "north", Node: fmt.Sprintf("n%02d", i)}, LastHandshake: now.Add(-time.Hour)})
	}
	s := statusOf(o, "", nil, now, nil)
	if want := []v1alpha1.ClusterPeers{{Cluster: "north", Stale: 30}, {Cluster: "west", Up: 1, Stale: 1, Never: 1}}; !slices.Equal(s.Peers.Clusters, want) {
		t.Errorf("by member: %+v", s.Peers.Clusters)
	}
	down := s.Peers.NotUp
	if len(down) != v1alpha1.MaxPeersDown || down[0].Name != "west.w2" || down[0].LastHandshake == nil || down[1].Name != "west.w3" || down[1].LastHandshake != nil {
		t.Fatalf("down: %+v", down)
	}
	encoded, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	var stored v1alpha1.TunnelNodeStatus
	if err := json.Unmarshal(encoded, &stored); err != nil {
		t.Fatal(err)
	}
	o.Peers[0].LastHandshake = now.Add(time.Second)
	if later := statusOf(o, "", stored.Conditions, now.Add(2*time.Second), nil); !sameStatus(later, stored) {
		t.Errorf("a handshake is a write: %+v", later)
	}
}

// TestContested: a part that is undone again and again is named.
func TestContested(t *testing.T) {
	o := working(time.Now())
	o.State.Parts[1].Contested = true
	c := meta.FindStatusCondition(statusOf(o, "", nil, time.Now(), nil).Conditions, v1alpha1.ConditionSettled)
	if c.Status != metav1.ConditionFalse || !strings.Contains(c.Message, "wireguard") || strings.Contains(c.Message, "namespace") {
		t.Errorf("got %+v", c)
	}
}

// TestManyRefusals: a condition spells out some and counts the rest.
func TestManyRefusals(t *testing.T) {
	s := State{Plan: mesh.DataPlane{Self: east1}}
	for range 25 {
		s.Refusals = append(s.Refusals, refusal(mesh.Ref{Cluster: "west", Node: "w1"}))
	}
	if c := accepted(s); strings.Count(c.Message, "west.w1") != shownRefusals || !strings.HasSuffix(c.Message, "and 15 more") {
		t.Errorf("got %s", c.Message)
	}
}

func get(t *testing.T, h http.Handler, path string) (int, string) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	body, err := io.ReadAll(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	return w.Code, string(body)
}

// TestMetrics: the series that dashboards and alerts stand on.
func TestMetrics(t *testing.T) {
	now := time.Now()
	o := working(now)
	o.State.Refusals = []mesh.Refusal{refusal(east1)}
	o.State.Parts[1].Err = errors.New("x")
	o.KubeRouters = []kuberouter.Status{{Member: "west", Running: true, Serving: true}}
	m := newMetrics(func() Observation { return o }, 100)
	o.Carried = map[string]Carried{"west": {7000, 8000}}
	o.Peers[0].Path, o.Peers[0].Lossy = probe.Result{RoundTrip: 4 * time.Millisecond, Loss: 0.3, Probes: 30}, true
	o.State.Parts[1].Repairs = 2
	m.probed(o.Peers[0].Ref, true, 5*time.Millisecond)
	m.probed(o.Peers[0].Ref, false, 0)
	m.probed(o.Peers[0].Ref, false, 0)
	m.measured("wireguard", 20*time.Millisecond, 3, nil)
	m.measured("wireguard", time.Millisecond, 0, errors.New("x"))
	m.probed(mesh.Ref{Cluster: "north", Node: "n1"}, true, time.Millisecond)
	m.measured("services", time.Millisecond, 0, nil)
	code, body := get(t, m.handler(), "/metrics")
	if code != http.StatusOK {
		t.Fatalf("%d %s", code, body)
	}
	for _, want := range []string{
		`sdntunnel_peer_last_handshake_age_seconds{peer="west.w1"} 3`, // thirty and a little
		`sdntunnel_peer_receive_bytes_total{peer="west.w1"} 1000`,
		`sdntunnel_peer_transmit_bytes_total{peer="west.w1"} 2000`,
		`sdntunnel_peers{cluster="west",state="up"} 1`, `sdntunnel_peers{cluster="west",state="stale"} 1`, `sdntunnel_peers{cluster="west",state="never"} 1`,
		`sdntunnel_peers_lossy{cluster="west"} 1`, `sdntunnel_receive_bytes_total{cluster="west"} 7000`, `sdntunnel_transmit_bytes_total{cluster="west"} 8000`,
		`sdntunnel_peer_round_trip_seconds{peer="west.w1"} 0.004`, `sdntunnel_peer_loss_ratio{peer="west.w1"} 0.3`,
		`sdntunnel_probes_total{cluster="west",result="answered"} 1`, `sdntunnel_probes_total{cluster="west",result="lost"} 2`,
		`sdntunnel_round_trip_seconds_sum{cluster="west"} 0.005`, `sdntunnel_repairs_total{part="wireguard"} 2`,
		`sdntunnel_flows 9`, `sdntunnel_mtu_bytes 1370`, `sdntunnel_api_connected 1`,
		`sdntunnel_refusals{reason="DuplicateKey"} 1`,
		`sdntunnel_cable_info{cable="wireguard"} 1`, `sdntunnel_plan_info{source="api"} 1`,
		`sdntunnel_part_as_planned{part="namespace"} 1`, `sdntunnel_part_as_planned{part="wireguard"} 0`,
		`sdntunnel_part_contested{part="wireguard"} 0`,
		`sdntunnel_reconciles_total{part="wireguard",result="ok"} 1`, `sdntunnel_reconciles_total{part="wireguard",result="error"} 1`,
		// Nothing has gone wrong yet, and that is a number, too.
		`sdntunnel_probes_total{cluster="north",result="lost"} 0`, `sdntunnel_reconciles_total{part="services",result="error"} 0`,
		`sdntunnel_changes_total{part="wireguard"} 3`, `sdntunnel_reconcile_duration_seconds_count{part="wireguard"} 2`,
		`sdntunnel_services 4`, `sdntunnel_service_endpoints 12`, `sdntunnel_services_refused 1`, `sdntunnel_service_sync_duration_seconds 0.014`,
		`sdntunnel_build_info{`, `go_goroutines`, `process_resident_memory_bytes`,
	} {
		if !strings.Contains(body, want) {
			t.Errorf("%s is missing", want)
		}
	}
	listed := map[string]bool{}
	for _, m := range Metrics() {
		listed[m.Name] = true
		if !strings.Contains(body, "# TYPE "+m.Name+" "+m.Type+"\n") {
			t.Errorf("%s is listed as a %s and is not there as one", m.Name, m.Type)
		}
	}
	for line := range strings.Lines(body) {
		if name, ok := strings.CutPrefix(line, "# TYPE sdntunnel_"); ok && !listed["sdntunnel_"+strings.Fields(name)[0]] {
			t.Errorf("not listed: %s", line)
		}
	}
	if strings.Contains(body, `handshake_age_seconds{peer="west.w3"}`) {
		t.Error("a peer that was never seen has an age")
	}
}

// TestManyPeers: of more peers than there may be series for, members have theirs and peers
// none.
func TestManyPeers(t *testing.T) {
	o := working(time.Now())
	m := newMetrics(func() Observation { return o }, 2)
	if _, body := get(t, m.handler(), "/metrics"); strings.Contains(body, `peer="`) || !strings.Contains(body, `sdntunnel_peers{cluster="west",state="up"} 1`) {
		t.Errorf("got\n%s", body)
	}
}

// TestProbes: a new agent is neither ready nor, before its loop turns, healthy; one
// whose part fails is healthy and says which.
func TestProbes(t *testing.T) {
	a, err := New(Config{Self: east1, Port: 5555, StateDir: t.TempDir(), API: &rest.Config{Host: "https://127.0.0.1:1"},
		Log: slog.New(slog.DiscardHandler)}, DataPlane{Keys: &fakeKeys{current: 1}})
	if err != nil {
		t.Fatal(err)
	}
	h := serve.Handler(serve.Checks{Healthy: a.loop.Alive, Ready: a.Ready, Metrics: a.metrics.handler()})
	say := func(what, path string, code int, text string) {
		t.Helper()
		if got, body := get(t, h, path); got != code || !strings.Contains(body, text) {
			t.Errorf("%s: %s says %d %s", what, path, got, body)
		}
	}
	say("new", "/healthz", 503, "the loop has not started")
	say("new", "/readyz", 503, "not been applied yet")
	a.loop.beat.Store(time.Now().UnixNano())
	a.board.setState(working(time.Now()).State)
	say("working", "/healthz", 200, "ok")
	say("working", "/readyz", 200, "ok")
	broken := working(time.Now())
	broken.State.Parts[0].Err = errors.New("no such device")
	a.board.setState(broken.State)
	say("broken", "/healthz", 200, "ok")
	say("broken", "/readyz", 503, "namespace: no such device")
	a.loop.beat.Store(time.Now().Add(-time.Hour).UnixNano())
	say("stuck", "/healthz", 503, "the loop last turned 1h0m0s ago")
}

// TestReport: the table and the JSON have what people look for, and no secret.
func TestReport(t *testing.T) {
	now := time.Now()
	o := working(now)
	o.PeersErr = errors.New("no device")
	o.State.Parts[1].Err = errors.New("port is taken")
	var table bytes.Buffer
	if err := reportOf(east1, mesh.Key{7}, o, now).WriteTable(&table); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"east.east-1", "100.127.0.1", "PART wireguard", "4 with 12 endpoints, 1 refused", "port is taken", "no device", "west.w1", "30s ago", "stale", "never"} {
		if !strings.Contains(table.String(), want) {
			t.Errorf("%q is not in\n%s", want, &table)
		}
	}
}
