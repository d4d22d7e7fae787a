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
	builtIn := svcproxy.Config{Log: o.Log}
	kubeRouter := kuberouter.Config{Program: o.KubeRouter, MTU: plane.Gauges.MTU, Log: o.Log}
	noTable, err := svcproxy.NewNone(builtIn)
	if err != nil {
		return nil, err
	}
	noKubeRouter, err := kuberouter.NewNone(kubeRouter)
	if err != nil {
		return nil, err
	}
	switch o.Services {
	case ProxyNFTables:
		p, err := svcproxy.New(builtIn)
		if err != nil {
			return nil, err
		}
		plane.Services = p
		plane.Gauges.Services = p.Stats
		return &successor{Part: p, serving: p.Serving, before: noKubeRouter}, nil
	case ProxyKubeRouter:
		p, err := kuberouter.New(kubeRouter)
		if err != nil {
			return nil, err
		}
		plane.Services, plane.Healthy = p, p.Healthy
		plane.Gauges.Services, plane.Gauges.KubeRouters = p.Stats, p.Status
		return &successor{Part: p, serving: p.Serving, before: noTable}, nil
	case ProxyNone:
		return &successor{Part: noTable, serving: func() bool { return true }, before: noKubeRouter}, nil
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
