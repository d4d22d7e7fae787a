package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/rest"

	"github.com/sdn-tunnel/sdn-tunnel/api/v1alpha1"
	"github.com/sdn-tunnel/sdn-tunnel/internal/events"
	"github.com/sdn-tunnel/sdn-tunnel/internal/mesh"
	"github.com/sdn-tunnel/sdn-tunnel/internal/probe"
	"github.com/sdn-tunnel/sdn-tunnel/internal/serve"
	"github.com/sdn-tunnel/sdn-tunnel/internal/wg"
)

// Config is what an Agent needs besides its data plane.
type Config struct {
	Self mesh.Ref
	// Namespace is that of sdn-tunnel, where the mirrors of remote services are.
	Namespace string
	// Port is the mesh's default UDP port.
	Port uint16
	// StateDir keeps the plan and the socket of `status`.
	StateDir string
	// MetricsAddress serves /metrics, /healthz and /readyz; empty: nothing is served.
	MetricsAddress string
	// PeerMetrics is how many peers have series of their own at most; with more of them no
	// peer has.
	PeerMetrics int
	// API is the access to the node's own cluster.
	API *rest.Config
	// KeyMaxAge is how old the node's key may become; 0: as old as it will.
	KeyMaxAge time.Duration
	Timing    Timing
	Log       *slog.Logger
}

// DataPlane is the node's: its parts in the order in which they are applied, and what
// is read of them.
type DataPlane struct {
	Parts []Part
	// Keys are the node's.
	Keys KeyRing
	// Services proxies remote services; nil: this node does not.
	Services Services
	Gauges   Gauges
	// Prober, if not nil, makes what probes the peers; it is told how each probe went.
	Prober func(probed func(peer mesh.Ref, answered bool, took time.Duration)) Prober
	// Healthy, if not nil, tells why the agent should be started anew, besides the loop.
	Healthy func() error
	// Close, if not nil, ends what runs inside this process; what is in the kernel stays.
	Close func() error
}

// Prober measures the ways to the peers.
type Prober interface {
	Run(ctx context.Context) error
	// Aim says from which address which peers are probed from now on.
	Aim(source netip.Addr, targets []probe.Target)
	Results() map[mesh.Ref]probe.Result
}

// Agent is one node's agent.
type Agent struct {
	cfg       Config
	plane     DataPlane
	cluster   *Cluster
	loop      *Loop
	board     board
	metrics   *metrics
	publisher *publisher
	prober    Prober // nil: nothing is probed
	rotator   *rotator
	recorder  *events.Recorder
}

// New puts an agent together; it touches nothing.
func New(cfg Config, plane DataPlane) (*Agent, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	cfg.Timing = cfg.Timing.withDefaults()
	cluster, err := NewCluster(cfg.API, cfg.Self, cfg.Port, cfg.Log)
	if err != nil {
		return nil, err
	}
	cluster.Tell(cfg.Namespace, plane.Services)
	a := &Agent{cfg: cfg, plane: plane, cluster: cluster}
	a.board.setState(State{Source: PlanNone})
	a.metrics = newMetrics(a.observe, cfg.PeerMetrics)
	if plane.Prober != nil {
		a.prober = plane.Prober(a.metrics.probed)
	}
	key, _ := plane.Keys.Public()
	a.recorder = events.New(v1alpha1.ManagerAgent, cfg.Self.Node, cluster.writeEvent, cfg.Log)
	a.publisher = &publisher{
		cluster: cluster, key: key, observe: a.observe, log: cfg.Log, tell: a.tell,
		wake: make(chan struct{}, 1),
	}
	a.rotator = &rotator{
		rotation: Rotation{
			Keys: plane.Keys, Announce: a.publisher.announce, Peers: a.peers, Log: cfg.Log,
			Watched: func(peers []Peer) { a.board.setPeers(peers, nil) },
		},
		cluster: cluster, maxAge: cfg.KeyMaxAge, log: cfg.Log,
		changed: a.publisher.notify, wake: make(chan struct{}, 1),
		happened: func(e events.Event) { a.tell(e) },
	}
	a.loop = &Loop{
		Self: cfg.Self, Observer: observed{cluster, a.rotator.notify}, Parts: plane.Parts, NoServices: plane.Services == nil,
		PlanPath: planPath(cfg.StateDir), Timing: cfg.Timing, Log: cfg.Log,
		Measured: a.metrics.measured,
		Passed: func(s State) {
			a.board.setState(s)
			a.publisher.notify()
		},
	}
	return a, nil
}

func planPath(stateDir string) string { return filepath.Join(stateDir, "plan.json") }

// SocketPath is where a running agent answers `status`.
func SocketPath(stateDir string) string { return filepath.Join(stateDir, "agent.sock") }

// Run works until ctx ends, and returns when everything that it started has ended.
func (a *Agent) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return a.loop.Run(ctx) })
	group.Go(func() error {
		a.publisher.run(ctx)
		return nil
	})
	group.Go(func() error {
		a.readPeers(ctx)
		return nil
	})
	if a.prober != nil {
		group.Go(func() error { return a.prober.Run(ctx) })
	}
	group.Go(func() error {
		a.rotator.run(ctx)
		return nil
	})
	group.Go(func() error { return a.recorder.Start(ctx) })
	group.Go(func() error { return serve.Unix(ctx, SocketPath(a.cfg.StateDir), a.statusHandler()) })
	if a.cfg.MetricsAddress != "" {
		checks := serve.Checks{Healthy: a.Healthy, Ready: a.Ready, Metrics: a.metrics.handler()}
		group.Go(func() error {
			if err := serve.TCP(ctx, a.cfg.MetricsAddress, serve.Handler(checks)); err != nil {
				return fmt.Errorf("agent_metrics_address: %w", err)
			}
			return nil
		})
	}
	err := group.Wait()
	if a.plane.Close != nil {
		err = errors.Join(err, a.plane.Close())
	}
	return err
}

// Healthy tells why the agent should be started anew, or nil.
func (a *Agent) Healthy() error {
	if err := a.loop.Alive(); err != nil || a.plane.Healthy == nil {
		return err
	}
	return a.plane.Healthy()
}

// Ready tells why the data plane is not as planned, or nil.
func (a *Agent) Ready() error {
	state, _, _ := a.board.get()
	for _, p := range state.Failed() {
		return fmt.Errorf("%s: %w", p.Name, p.Err)
	}
	if !state.Applied {
		return errors.New("the plan has not been applied yet")
	}
	return nil
}

// readPeers reads the peers' handshakes and counters: nothing announces them.
func (a *Agent) readPeers(ctx context.Context) {
	if a.plane.Gauges.Peers == nil {
		return
	}
	for {
		peers, err := a.peers(ctx)
		a.board.setPeers(peers, err)
		if err == nil {
			a.aim(peers)
		}
		a.publisher.notify()
		if !sleep(ctx, wg.Rest(a.pace(peers), len(peers))) {
			return
		}
	}
}

// aim has those peers probed that have a session: a packet to another one would be one more
// reason for WireGuard to try a handshake.
func (a *Agent) aim(peers []Peer) {
	if a.prober == nil {
		return
	}
	state, _, _ := a.board.get()
	up, now := make(map[mesh.Ref]bool, len(peers)), time.Now()
	for _, p := range peers {
		up[p.Ref] = p.State(now) == PeerUp
	}
	var targets []probe.Target
	for _, p := range state.Plan.Peers {
		if up[p.Ref] && p.TunnelAddress.IsValid() {
			targets = append(targets, probe.Target{Ref: p.Ref, Address: p.TunnelAddress})
		}
	}
	a.prober.Aim(state.Plan.TunnelAddress, targets)
}

// peers reads what the cable says of them, by name.
func (a *Agent) peers(ctx context.Context) ([]Peer, error) {
	if a.plane.Gauges.Peers == nil {
		return nil, nil
	}
	peers, err := a.plane.Gauges.Peers(ctx)
	slices.SortFunc(peers, func(x, y Peer) int { return compareRefs(x.Ref, y.Ref) })
	return peers, err
}

// observed tells somebody else, too, that the API has said something.
type observed struct {
	*Cluster
	tell func()
}

func (o observed) Run(ctx context.Context, notify func()) error {
	return o.Cluster.Run(ctx, func() {
		notify()
		o.tell()
	})
}

// pace is how soon the peers are read again: soon while one has yet to answer.
func (a *Agent) pace(peers []Peer) time.Duration {
	fresh := slices.ContainsFunc(peers, func(p Peer) bool { return p.LastHandshake.IsZero() })
	if len(peers) == 0 || fresh {
		return a.cfg.Timing.Observe / 5
	}
	return a.cfg.Timing.Observe
}

func compareRefs(a, b mesh.Ref) int {
	switch {
	case a.String() < b.String():
		return -1
	case a.String() > b.String():
		return 1
	default:
		return 0
	}
}

// observe puts together what is known now.
func (a *Agent) observe() Observation {
	var o Observation
	o.State, o.Peers, o.PeersErr = a.board.get()
	o.Connected, o.Carried = a.cluster.Connected(), a.board.carried()
	o.Key = a.rotator.say(o.Peers)
	if a.prober != nil {
		o.Peers = slices.Clone(o.Peers)
		a.board.measured(o.Peers, a.prober.Results())
	}
	if g := a.plane.Gauges; g.Cable != nil {
		o.Cable = g.Cable()
	}
	if g := a.plane.Gauges; g.MTU != nil {
		o.MTU = g.MTU()
	}
	if g := a.plane.Gauges; g.Flows != nil {
		o.Flows = g.Flows()
	}
	if g := a.plane.Gauges; g.KubeRouters != nil {
		o.KubeRouters = g.KubeRouters()
	}
	if g := a.plane.Gauges; g.Services != nil {
		s := g.Services()
		o.Services, o.State.Refusals = &s, slices.Concat(o.State.Refusals, s.Refused)
	}
	return o
}

func (a *Agent) statusHandler() http.Handler {
	return statusHandler(func() Report {
		key, _ := a.plane.Keys.Public()
		return reportOf(a.cfg.Self, key, a.observe(), time.Now())
	})
}
