package agent

import (
	"context"

	"github.com/sdn-tunnel/sdn-tunnel/internal/mesh"
)

// Part is one piece of a node's data plane: it knows how to make one kernel or daemon
// interface equal to the plan. Each call of Apply observes, diffs and changes only
// what differs; twice changes nothing.
type Part interface {
	// Name is short, for logs and metric labels: "namespace", "wireguard", "services",
	// "vswitch", "node".
	Name() string
	// Apply makes the part equal to dp and returns what it changed, one readable line
	// each; no line, no change.
	Apply(ctx context.Context, dp mesh.DataPlane) (changes []string, err error)
	// Watch calls notify whenever something outside may have changed what Apply made
	// (a link, a route, a flow), until ctx ends. It may call too often, never too
	// seldom. Changes that Apply itself makes may notify as well.
	Watch(ctx context.Context, notify func()) error
	// Remove takes away everything that Apply ever made, also an earlier process's.
	Remove(ctx context.Context) error
}
