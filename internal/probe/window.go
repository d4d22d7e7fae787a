package probe

import (
	"math/bits"
	"time"
)

// Window is how many of the last probes of a peer its loss is taken from.
const Window = 30

// smoothing is the weight of the newest round trip: one in so many, as TCP has it.
const smoothing = 8

// Result is what is known of the way to a peer.
type Result struct {
	// RoundTrip is the smoothed round-trip time; 0 before the first answer.
	RoundTrip time.Duration
	// Loss is the share of the last probes that was lost, of which there are Probes, at
	// most Window.
	Loss   float64
	Probes int
}

// Sure tells whether there were enough probes for Loss to mean something.
func (r Result) Sure() bool { return r.Probes >= Window/3 }

// window holds the last probes of one peer.
type window struct {
	lost   uint32 // one bit each, the newest is the lowest
	probes int
	trip   time.Duration
}

// note adds one probe; took is the time of its answer, if it was answered.
func (w *window) note(answered bool, took time.Duration) {
	w.lost <<= 1
	w.probes = min(w.probes+1, Window)
	switch {
	case !answered:
		w.lost |= 1
	case w.trip == 0:
		w.trip = max(took, 1)
	default:
		w.trip = max(w.trip+(took-w.trip)/smoothing, 1)
	}
}

func (w *window) result() Result {
	r := Result{RoundTrip: w.trip, Probes: w.probes}
	if w.probes > 0 {
		r.Loss = float64(bits.OnesCount32(w.lost&(1<<w.probes-1))) / float64(w.probes)
	}
	return r
}
