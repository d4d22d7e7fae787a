package agent

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sdn-tunnel/sdn-tunnel/internal/events"
	"github.com/sdn-tunnel/sdn-tunnel/internal/mesh"
)

// told puts events in lines.
func told(all []events.Event) string {
	var lines []string
	for _, e := range all {
		line := e.Reason + ": " + e.Note
		if e.Warning {
			line = "! " + line
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

func TestChroniclePeers(t *testing.T) {
	start := time.Now()
	c, clock := chronicle{}, time.Duration(0)
	// look reads after so many seconds, with the age of each peer's handshake; negative: never.
	look := func(after int, ages map[string]int, want string) {
		t.Helper()
		clock += time.Duration(after) * time.Second
		now := start.Add(clock)
		var o Observation
		for _, name := range []string{"north.n1", "west.w1", "west.w2"} {
			cluster, node, _ := strings.Cut(name, ".")
			age, there := ages[name]
			p := Peer{Ref: mesh.Ref{Cluster: cluster, Node: node}, LastHandshake: now.Add(-time.Duration(age) * time.Second)}
			if age < 0 {
				p.LastHandshake = time.Time{}
			}
			if there {
				o.Peers = append(o.Peers, p)
			}
		}
		if got := told(c.read(o, now)); got != want {
			t.Errorf("after %v:\n%s\nwant\n%s", clock, got, want)
		}
	}
	const far = ": their UDP port cannot be reached from here, or they are down"
	look(0, map[string]int{"north.n1": 500, "west.w1": 5, "west.w2": 5}, "") // north was down before
	look(5, map[string]int{"north.n1": 505, "west.w1": 10, "west.w2": 10}, "")
	look(5, map[string]int{"north.n1": 510, "west.w1": 200, "west.w2": 10},
		"! PeersDown: no handshake of late with west.w1"+far+"; of west 1 of 2 peers are up")
	look(5, map[string]int{"north.n1": 1, "west.w1": 205, "west.w2": 10},
		"PeersBack: north.n1 can be reached again; of north 1 of 1 peers are up")
	look(5, map[string]int{"north.n1": 6, "west.w1": 1, "west.w2": 190},
		"! PeersDown: no handshake of late with west.w2"+far+"; west.w1 can be reached again; of west 1 of 2 peers are up")
	look(5, map[string]int{"north.n1": 11, "west.w1": 6}, "") // west.w2 is no peer any more
	look(5, map[string]int{"north.n1": 11, "west.w1": 6, "west.w2": -1}, "")
	look(29, map[string]int{"north.n1": 11, "west.w1": 6, "west.w2": -1}, "")
	look(1, map[string]int{"north.n1": 11, "west.w1": 6, "west.w2": -1},
		"! PeersDown: no handshake of late with west.w2"+far+"; of west 1 of 2 peers are up")
	look(1, map[string]int{"north.n1": 11, "west.w1": 6, "west.w2": -1}, "")
	look(1, map[string]int{"north.n1": 11, "west.w1": 6, "west.w2": 0},
		"PeersBack: west.w2 can be reached again; of west 2 of 2 peers are up")
	if got := c.read(Observation{PeersErr: errors.New("no device")}, start.Add(clock)); len(got) > 0 {
		t.Errorf("peers that cannot be read are taken to be gone: %s", told(got))
	}
	look(1, map[string]int{"north.n1": 11, "west.w1": 6, "west.w2": 0}, "")
}

// TestChronicleManyPeers: a member of a thousand nodes that is cut off is one event.
func TestChronicleManyPeers(t *testing.T) {
	now, c := time.Now(), chronicle{}
	var o Observation
	for i := range 1000 {
		o.Peers = append(o.Peers, Peer{Ref: mesh.Ref{Cluster: "west", Node: fmt.Sprintf("w%04d", i)}, LastHandshake: now})
	}
	c.read(o, now)
	all := c.read(o, now.Add(peerTimeout))
	if len(all) != 1 || len(all[0].Note) > 500 || !strings.Contains(all[0].Note, "west.w0004 and 995 more") || all[0].Related.Name != "west" {
		t.Errorf("%d events: %s", len(all), told(all))
	}
}

func TestChronicleParts(t *testing.T) {
	c := chronicle{}
	look := func(want string, parts ...PartState) {
		t.Helper()
		if got := told(c.read(Observation{State: State{Applied: true, Parts: parts}}, time.Now())); got != want {
			t.Errorf("%v:\n%s\nwant\n%s", parts, got, want)
		}
	}
	busy := errors.New("port is taken")
	if got := c.read(Observation{State: State{Parts: []PartState{{Name: "flows", Err: busy}}}}, time.Now()); len(got) > 0 {
		t.Errorf("before all was applied once: %s", told(got))
	}
	look("", PartState{Name: "flows"}, PartState{Name: "wireguard"})
	look("Repaired: put back what something else on the node had changed: flows: add 3 flows",
		PartState{Name: "flows", Repairs: 1, Repaired: "add 3 flows"}, PartState{Name: "wireguard"})
	look("! PartFailed: wireguard: port is taken; it is tried again",
		PartState{Name: "flows", Repairs: 1, Repaired: "add 3 flows"}, PartState{Name: "wireguard", Err: busy})
	look("", PartState{Name: "flows", Repairs: 1, Repaired: "add 3 flows"}, PartState{Name: "wireguard", Err: errors.New("port is taken")})
	look("PartWell: wireguard is as planned again\n! Contested: something else on the node undoes again and again what the agent makes: flows; "+
		"put back what something else on the node had changed: flows: add 1 flow",
		PartState{Name: "flows", Repairs: 10, Repaired: "add 1 flow", Contested: true}, PartState{Name: "wireguard"})
	look("Repaired: put back what something else on the node had changed: flows: add 1 flow",
		PartState{Name: "flows", Repairs: 11, Repaired: "add 1 flow", Contested: true}, PartState{Name: "wireguard"})
}
