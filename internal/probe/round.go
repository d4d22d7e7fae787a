package probe

import (
	"net/netip"
	"time"

	"github.com/sdn-tunnel/sdn-tunnel/internal/mesh"
)

// Target is a peer that is to be probed.
type Target struct {
	Ref     mesh.Ref
	Address netip.Addr
}

// nonce are the bytes of a probe that its receiver cannot know before.
type nonce [8]byte

// aimed is a target and its window.
type aimed struct {
	Target
	window window
	// What the last probe was; pending: it has neither been answered nor counted as lost.
	pending bool
	number  uint16
	nonce   nonce
	sent    time.Time
}

// round is the order in which targets are probed. It knows nothing of sockets and clocks.
type round struct {
	order     []*aimed
	byAddress map[netip.Addr]*aimed
	at        int
}

// aim takes other targets. Those that stay keep what is known of them and their place in
// the order; start says, of so many, where a first round begins.
func (r *round) aim(targets []Target, start func(int) int) {
	wanted := make(map[Target]bool, len(targets))
	for _, t := range targets {
		wanted[t] = true
	}
	kept := make([]*aimed, 0, len(targets))
	next := 0
	for i, a := range r.order {
		if !wanted[a.Target] {
			continue
		}
		delete(wanted, a.Target)
		if i < r.at {
			next++
		}
		kept = append(kept, a)
	}
	for _, t := range targets {
		if wanted[t] {
			delete(wanted, t)
			kept = append(kept, &aimed{Target: t})
		}
	}
	if r.at = next; len(r.order) == 0 && len(kept) > 0 {
		r.at = start(len(kept))
	}
	r.order, r.byAddress = kept, make(map[netip.Addr]*aimed, len(kept))
	for _, a := range kept {
		r.byAddress[a.Address] = a
	}
}

// next is the target whose turn it is, and its probe; lost tells whether the one before
// was not answered. nil: there is no target.
func (r *round) next(now time.Time, fresh nonce) (a *aimed, lost bool) {
	if len(r.order) == 0 {
		return nil, false
	}
	a = r.order[r.at%len(r.order)]
	r.at = (r.at + 1) % len(r.order)
	if lost = a.pending; lost {
		a.window.note(false, 0)
	}
	a.pending, a.number, a.nonce, a.sent = true, a.number+1, fresh, now
	return a, lost
}

// answer takes an answer; nil: it is none to a probe that is under way.
func (r *round) answer(from netip.Addr, number uint16, n nonce, now time.Time) (*aimed, time.Duration) {
	a := r.byAddress[from]
	if a == nil || !a.pending || a.number != number || a.nonce != n {
		return nil, 0
	}
	took := max(now.Sub(a.sent), 0)
	a.pending = false
	a.window.note(true, took)
	return a, took
}

// gap is the time between two probes of n targets, before it is varied.
func gap(n int, every time.Duration, mostPerSecond int) time.Duration {
	return max(every/time.Duration(max(n, 1)), time.Second/time.Duration(mostPerSecond))
}
