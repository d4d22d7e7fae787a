package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/rest"

	"github.com/sdn-tunnel/sdn-tunnel/internal/mesh"
	"github.com/sdn-tunnel/sdn-tunnel/internal/serve"
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
	// API is the access to the node's own cluster.
	API    *rest.Config
	Timing Timing
	Log    *slog.Logger
}

// DataPlane is the node's: its parts in the order in which they are applied, and what
// is read of them.
type DataPlane struct {
	Parts []Part
	// PublicKey is the node's, for its TunnelNode.
	PublicKey mesh.Key
	// Services proxies remote services; nil: this node does not.
	Services Services
	Gauges   Gauges
	// Healthy, if not nil, tells why the agent should be started anew, besides the loop.
	Healthy func() error
	// Close, if not nil, ends what runs inside this process; what is in the kernel stays.
	Close func() error
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
	a.metrics = newMetrics(a.observe)
	a.publisher = &publisher{
		cluster: cluster, key: plane.PublicKey, observe: a.observe, log: cfg.Log,
		wake: make(chan struct{}, 1),
	}
	a.loop = &Loop{
		Self: cfg.Self, Observer: cluster, Parts: plane.Parts, NoServices: plane.Services == nil,
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
		peers, err := a.plane.Gauges.Peers(ctx)
		slices.SortFunc(peers, func(x, y Peer) int { return compareRefs(x.Ref, y.Ref) })
		a.board.setPeers(peers, err)
		a.publisher.notify()
		if !sleep(ctx, a.pace(peers)) {
			return
		}
	}
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
	o.Connected = a.cluster.Connected()
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
	return statusHandler(func() Report { return reportOf(a.cfg.Self, a.plane.PublicKey, a.observe(), time.Now()) })
}
