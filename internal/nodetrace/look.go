package nodetrace

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/sdn-tunnel/sdn-tunnel/internal/diagnose"
	"github.com/sdn-tunnel/sdn-tunnel/internal/mesh"
	"github.com/sdn-tunnel/sdn-tunnel/internal/tunnelns"
	"github.com/sdn-tunnel/sdn-tunnel/internal/vswitch"
	"github.com/sdn-tunnel/sdn-tunnel/internal/wg"
)

// Options say where to look. Zero values are what an agent makes.
type Options struct {
	// Namespace is the tunnel's, Node the node's own.
	Namespace, Node tunnelns.Namespace
	// Names is the folder in which the runtime names the pods' network namespaces.
	Names string
	// Bridge is the SDN's.
	Bridge string
	Switch *vswitch.OVS
	// VNID is the network id of remote traffic.
	VNID uint32
	// Plan is what there should be, and Agent what the running agent says.
	Plan  func() (mesh.DataPlane, error)
	Agent func(context.Context) (diagnose.AgentView, error)
}

func (o Options) withDefaults() Options {
	if o.Namespace == (tunnelns.Namespace{}) {
		o.Namespace = tunnelns.At(tunnelns.DefaultPath)
	}
	if o.Names == "" {
		o.Names = "/run/netns"
	}
	if o.Bridge == "" {
		o.Bridge = "br0"
	}
	return o
}

const (
	// agentTimeout bounds what is asked of the agent, which may hang.
	agentTimeout = 2 * time.Second
	// deviceTimeout bounds the reading of WireGuard's state: in userspace the agent answers.
	deviceTimeout = 1500 * time.Millisecond
	maxWatch      = 8 * time.Second
)

// looker is one look.
type looker struct {
	Options
	ask  diagnose.Ask
	plan mesh.DataPlane

	mu   sync.Mutex
	view diagnose.NodeView
}

// Look does what it is asked. What cannot be looked at is said in the view.
func Look(ctx context.Context, o Options, ask diagnose.Ask) diagnose.NodeView {
	l := &looker{Options: o.withDefaults(), ask: ask}
	l.view.Time = time.Now().UTC()
	l.ask.Watch = max(0, min(l.ask.Watch, maxWatch))
	plan, err := l.Plan()
	l.plan = plan
	if err != nil {
		l.view.PlanError = err.Error()
	}
	l.view.Namespace = l.Namespace.Exists()
	ctx, cancel := context.WithTimeout(ctx, l.ask.Watch+agentTimeout+3*time.Second)
	defer cancel()
	var group sync.WaitGroup
	for _, part := range []func(context.Context){l.agent, l.links, l.sysctls, l.routes, l.bridge, l.tunnel, l.services, l.probes, l.names, l.conntrack} {
		group.Go(func() { part(ctx) })
	}
	group.Wait()
	return l.view
}

// set changes the view.
func (l *looker) set(change func(*diagnose.NodeView)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change(&l.view)
}

func (l *looker) failed(what string, err error) {
	if err != nil {
		l.set(func(v *diagnose.NodeView) { v.Errors = append(v.Errors, fmt.Sprintf("%s: %v", what, err)) })
	}
}

func (l *looker) agent(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, agentTimeout)
	defer cancel()
	said, err := l.Agent(ctx)
	l.set(func(v *diagnose.NodeView) {
		if err != nil {
			v.AgentError = err.Error()
			return
		}
		v.Agent = &said
	})
}

// within runs f, and gives up on it, though not on its goroutine, when the time is over.
func within[T any](ctx context.Context, limit time.Duration, f func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		value, err := f()
		done <- result{value, err}
	}()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	var none T
	select {
	case r := <-done:
		return r.value, r.err
	case <-timer.C:
		return none, fmt.Errorf("no answer within %v", limit)
	case <-ctx.Done():
		return none, ctx.Err()
	}
}

// deviceLink is WireGuard's interface.
const deviceLink = wg.DefaultLink
