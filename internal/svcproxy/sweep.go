package svcproxy

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"

	"github.com/sdn-tunnel/sdn-tunnel/internal/remoteservice"
	"github.com/sdn-tunnel/sdn-tunnel/internal/tunnelns"
)

const (
	// A sweep reads all of the namespace's flows, and any member can cause one by a service
	// that loses a backend. The first is at once; while more follow, each rests twice as
	// long as the one before, and at least as long as to leave 95 % of a processor...
	firstRest = 100 * time.Millisecond
	restShare = 19
	// ...but no longer than this: a flow to a backend that is gone is to be away within a
	// second, and the change has to come here, and to be programmed, before.
	longestRest = 500 * time.Millisecond
)

// pace says when the next sweep may be.
type pace struct {
	rest time.Duration
	next time.Time
}

// wait is how long that is from now.
func (p *pace) wait(now time.Time) time.Duration { return max(0, p.next.Sub(now)) }

// swept notes a sweep.
func (p *pace) swept(began, ended time.Time) {
	if began.Sub(p.next) > longestRest {
		p.rest = 0 // none followed
	}
	p.rest = min(longestRest, max(firstRest, 2*p.rest, restShare*ended.Sub(began)))
	p.next = ended.Add(p.rest)
}

// sweeper forgets UDP flows to services that lead to a backend that is gone. UDP has no
// end of a connection: as long as the client goes on sending, the kernel would translate
// to that backend, whatever the rules say.
type sweeper struct {
	networks []netip.Prefix
	// backends are those that a flow to a key may lead to.
	backends map[remoteservice.Key][]netip.AddrPort
	// all: keys that are not among backends have none; else they are not looked at.
	all bool
}

// sweep forgets the flows in the namespace; it returns how many.
func (s sweeper) sweep(n tunnelns.Namespace) (forgotten uint, err error) {
	err = n.Do(func() error {
		h, err := netlink.NewHandle(unix.NETLINK_NETFILTER)
		if err != nil {
			return err
		}
		defer h.Close()
		for range 3 { // a table that changes while it is read is read again
			var some uint
			some, err = h.ConntrackDeleteFilters(netlink.ConntrackTable, unix.AF_INET, s)
			forgotten += some
			if !errors.Is(err, netlink.ErrDumpInterrupted) {
				break
			}
		}
		return err
	})
	if err != nil {
		return forgotten, fmt.Errorf("forget UDP flows to backends that are gone, in %v: %w", n, err)
	}
	return forgotten, nil
}

// MatchConntrackFlow tells whether to forget a flow. Its other direction comes from where
// the flow leads to.
func (s sweeper) MatchConntrackFlow(flow *netlink.ConntrackFlow) bool {
	if flow.Forward.Protocol != unix.IPPROTO_UDP {
		return false
	}
	to, ok := netip.AddrFromSlice(flow.Forward.DstIP)
	from, okToo := netip.AddrFromSlice(flow.Reverse.SrcIP)
	if !ok || !okToo {
		return false
	}
	to = to.Unmap()
	if !remoteservice.Within(s.networks, to) {
		return false
	}
	backends, known := s.backends[remoteservice.Key{Addr: to, Protocol: corev1.ProtocolUDP, Port: flow.Forward.DstPort}]
	if !known && !s.all {
		return false
	}
	return !slices.Contains(backends, netip.AddrPortFrom(from.Unmap(), flow.Reverse.SrcPort))
}
