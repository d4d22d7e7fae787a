package remoteservice

import (
	"time"

	"github.com/sdn-tunnel/sdn-tunnel/internal/mesh"
)

// Stats are what a proxy of remote services tells of itself.
type Stats struct {
	// Services is how many services of other members are reached by an address here, and
	// Endpoints how many endpoints they have, counted once for each port.
	Services, Endpoints int
	// Refused is what is not used of what the mirrors say.
	Refused []mesh.Refusal
	// Sync is how long the last change took from the agent to the kernel.
	Sync time.Duration
}
