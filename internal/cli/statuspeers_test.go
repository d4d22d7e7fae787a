package cli

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/sdn-tunnel/sdn-tunnel/internal/agent"
	"github.com/sdn-tunnel/sdn-tunnel/internal/meshstatus"
)

// TestPairs: what an agent reports of its peers is what is shown.
func TestPairs(t *testing.T) {
	age, trip, loss := 12.0, 1.5, 0.1
	answer, err := json.Marshal(agent.Report{Peers: []agent.PeerReport{
		{Name: "west.w1", State: "up", HandshakeAge: &age, RoundTrip: &trip, Loss: &loss, Receiving: 8000, Sending: 16}, {Name: "west.w2", State: "never"}}})
	if err != nil {
		t.Fatal(err)
	}
	want := []meshstatus.Pair{{Node: "east.e1", Peer: "west.w1", State: "up", HandshakeAge: &age, RoundTrip: &trip, Loss: &loss, Receiving: 8000, Sending: 16},
		{Node: "east.e1", Peer: "west.w2", State: "never"}}
	if got, err := pairsOf("east.e1", answer); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := pairsOf("east.e1", []byte("command not found")); err == nil || !strings.Contains(err.Error(), "read the agent's status") {
		t.Errorf("what is no report: %v", err)
	}
}

// TestPeersOnce: agents are asked once only.
func TestPeersOnce(t *testing.T) {
	if _, err := run(t, "status", "--peers", "--watch", "-i", "/nowhere"); ExitCode(err, false) != ExitBlind || !strings.Contains(err.Error(), "leave out --watch") {
		t.Errorf("got %v", err)
	}
}
