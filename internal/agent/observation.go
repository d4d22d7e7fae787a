package agent

import (
	"context"
	"sync"
	"time"

	"github.com/sdn-tunnel/sdn-tunnel/internal/kuberouter"
	"github.com/sdn-tunnel/sdn-tunnel/internal/mesh"
	"github.com/sdn-tunnel/sdn-tunnel/internal/remoteservice"
)

// peerTimeout is the age of a handshake from which a peer counts as stale
// (WireGuard's REJECT_AFTER_TIME).
const peerTimeout = 180 * time.Second

// Peer is what the cable says of one peer.
type Peer struct {
	Ref           mesh.Ref
	Endpoint      string    // where packets go now; empty: not known yet
	LastHandshake time.Time // zero: never
	Received      int64     // bytes
	Sent          int64
}

// Peer states.
const (
	PeerUp    = "up"
	PeerStale = "stale"
	PeerNever = "never"
)

// State is PeerUp, PeerStale or PeerNever.
func (p Peer) State(now time.Time) string {
	switch {
	case p.LastHandshake.IsZero():
		return PeerNever
	case now.Sub(p.LastHandshake) < peerTimeout:
		return PeerUp
	default:
		return PeerStale
	}
}

// Gauges read what the parts know besides the plan. Each may be nil.
type Gauges struct {
	Peers func(context.Context) ([]Peer, error)
	// Cable is the implementation in use: "wireguard" or "wireguard-userspace".
	Cable func() string
	// MTU is the tunnel's, in bytes.
	MTU func() int
	// Flows is how many flows there are on the bridge.
	Flows func() int
	// Services is how the proxy of remote services fares.
	Services func() remoteservice.Stats
	// KubeRouters is how the kube-router of each other member fares.
	KubeRouters func() []kuberouter.Status
}

// Observation is everything that the agent says of its node, at one moment.
type Observation struct {
	State    State
	Peers    []Peer
	PeersErr error
	Cable    string
	MTU      int
	Flows    int
	Services *remoteservice.Stats // nil: this node proxies none
	// KubeRouters are the members' where they proxy.
	KubeRouters []kuberouter.Status
	Connected   bool
}

// board holds the latest of what the goroutines know.
type board struct {
	mu       sync.Mutex
	state    State
	peers    []Peer
	peersErr error
}

func (b *board) setState(s State) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.state = s
}

func (b *board) setPeers(peers []Peer, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.peers, b.peersErr = peers, err
}

func (b *board) get() (State, []Peer, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.state, b.peers, b.peersErr
}
