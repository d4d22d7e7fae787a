package agent

import (
	"context"
	"fmt"

	"github.com/sdn-tunnel/sdn-tunnel/internal/kuberouter"
	"github.com/sdn-tunnel/sdn-tunnel/internal/mesh"
	"github.com/sdn-tunnel/sdn-tunnel/internal/svcproxy"
)

// proxy gives the part for remote services; what the other proxies left on the node it
// takes away.
func proxy(o Options, plane *DataPlane) (Part, error) {
	builtIn, err := svcproxy.New(svcproxy.Config{Log: o.Log})
	if err != nil {
		return nil, err
	}
	kubeRouter, err := kuberouter.New(kuberouter.Config{Program: o.KubeRouter, MTU: plane.Gauges.MTU, Log: o.Log})
	if err != nil {
		return nil, err
	}
	switch o.Services {
	case ProxyNFTables:
		plane.Services = builtIn
		plane.Gauges.Services = builtIn.Stats
		return &successor{Part: builtIn, serving: builtIn.Serving, before: absent{kubeRouter}}, nil
	case ProxyKubeRouter:
		plane.Services, plane.Healthy = kubeRouter, kubeRouter.Healthy
		plane.Gauges.Services, plane.Gauges.KubeRouters = kubeRouter.Stats, kubeRouter.Status
		return &successor{Part: kubeRouter, serving: kubeRouter.Serving, before: absent{builtIn}}, nil
	case ProxyNone:
		return &successor{Part: absent{builtIn}, serving: func() bool { return true }, before: absent{kubeRouter}}, nil
	default:
		return nil, fmt.Errorf("%q: want %s, %s or %s", o.Services, ProxyNFTables, ProxyKubeRouter, ProxyNone)
	}
}

// successor is the part that proxies services now, after one that did before: what that one
// left goes on until this one serves, and is taken away then.
type successor struct {
	Part
	serving func() bool
	before  Part
}

// Apply applies the part, and takes away what it succeeds if it can do without.
func (s *successor) Apply(ctx context.Context, dp mesh.DataPlane) (changes []string, err error) {
	changes, err = s.Part.Apply(ctx, dp)
	if err != nil || !s.serving() {
		return changes, err
	}
	gone, err := s.before.Apply(ctx, dp)
	return append(changes, gone...), err
}

// Remove takes away what either made.
func (s *successor) Remove(ctx context.Context) error {
	if err := s.Part.Remove(ctx); err != nil {
		return err
	}
	return s.before.Remove(ctx)
}

// clearer is a part that can tell what it takes away.
type clearer interface {
	Part
	Clear(ctx context.Context) (changes []string, err error)
}

// absent is the part of a node that does without another one: it takes away what that one
// may have left.
type absent struct{ clearer }

// Apply takes away everything of the part.
func (a absent) Apply(ctx context.Context, _ mesh.DataPlane) ([]string, error) { return a.Clear(ctx) }

// Watch does nothing until ctx ends: nothing that is gone comes back by itself.
func (absent) Watch(ctx context.Context, _ func()) error {
	<-ctx.Done()
	return nil
}
