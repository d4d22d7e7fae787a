package agent

import (
	"context"
	"maps"
	"sync"
	"time"

	"github.com/sdn-tunnel/sdn-tunnel/api/v1alpha1"
	"github.com/sdn-tunnel/sdn-tunnel/internal/kuberouter"
	"github.com/sdn-tunnel/sdn-tunnel/internal/mesh"
	"github.com/sdn-tunnel/sdn-tunnel/internal/probe"
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
	// Receiving and Sending are bytes per second of late, if Rated.
	Receiving, Sending float64
	Rated              bool
	// Path is what probes measured.
	Path probe.Result
	// Lossy: many probes are lost.
	Lossy bool
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
	// Carried is what the tunnel carried, by member.
	Carried map[string]Carried
	// Key is what there is to say of the node's key.
	Key *v1alpha1.KeyStatus
}

// board holds the latest of what the goroutines know.
type board struct {
	mu       sync.Mutex
	state    State
	peers    []Peer
	peersErr error
	traffic  traffic
	lossy    map[mesh.Ref]bool
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
	if err == nil {
		b.traffic.note(peers, time.Now())
	}
}

// measured adds what probes say to the peers. A peer is lossy from LossyPercent on, until
// its loss is half of that.
func (b *board) measured(peers []Peer, results map[mesh.Ref]probe.Result) {
	b.mu.Lock()
	defer b.mu.Unlock()
	lossy := map[mesh.Ref]bool{}
	for i := range peers {
		p := &peers[i]
		p.Path = results[p.Ref]
		loss := p.Path.Loss * 100
		if p.Lossy = p.Path.Sure() && (loss >= v1alpha1.LossyPercent || b.lossy[p.Ref] && loss >= v1alpha1.LossyPercent/2); p.Lossy {
			lossy[p.Ref] = true
		}
	}
	b.lossy = lossy
}

func (b *board) carried() map[string]Carried {
	b.mu.Lock()
	defer b.mu.Unlock()
	return maps.Clone(b.traffic.carried)
}

func (b *board) get() (State, []Peer, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.state, b.peers, b.peersErr
}
