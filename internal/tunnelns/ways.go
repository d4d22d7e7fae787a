package tunnelns

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// ways are the routes to addresses. The kernel is asked for one address of each network
// that a route or rule of any table names: whatever decides among tables, two addresses
// that lie in the same ones are led alike. Only where a route has several next hops, each
// address is asked for, as its bits choose among them.
type ways struct {
	h        *netlink.Handle
	several  bool // some route has several next hops
	networks map[netip.Prefix]bool
	lengths  map[int][]int // of the networks, by the addresses' bits, longest first
	asked    map[netip.Prefix]*netlink.Route
}

func newWays(h *netlink.Handle) (*ways, error) {
	w := &ways{h: h, networks: map[netip.Prefix]bool{}, asked: map[netip.Prefix]*netlink.Route{}, lengths: map[int][]int{}}
	w.add(netip.PrefixFrom(netip.IPv4Unspecified(), 0))
	w.add(netip.PrefixFrom(netip.IPv6Unspecified(), 0))
	all := &netlink.Route{Table: unix.RT_TABLE_UNSPEC}
	err := h.RouteListFilteredIter(netlink.FAMILY_ALL, all, netlink.RT_FILTER_TABLE, func(r netlink.Route) bool {
		w.several = w.several || len(r.MultiPath) > 0
		w.add(prefix(r.Dst))
		return true
	})
	if err != nil {
		return nil, fmt.Errorf("list routes: %w", err)
	}
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		rules, err := h.RuleList(family)
		if err != nil {
			return nil, fmt.Errorf("list rules of routing: %w", err)
		}
		for _, r := range rules {
			w.add(prefix(r.Dst))
		}
	}
	for _, l := range w.lengths {
		slices.SortFunc(l, func(a, b int) int { return b - a })
	}
	return w, nil
}

func (w *ways) add(n netip.Prefix) {
	if !n.IsValid() {
		return
	}
	w.networks[n.Masked()] = true
	if size := n.Addr().BitLen(); !slices.Contains(w.lengths[size], n.Bits()) {
		w.lengths[size] = append(w.lengths[size], n.Bits())
	}
}

// network is the longest that has the address in it: the others that have it have all of
// that one.
func (w *ways) network(a netip.Addr) netip.Prefix {
	if !w.several {
		for _, bits := range w.lengths[a.BitLen()] {
			if n, err := a.Prefix(bits); err == nil && w.networks[n] {
				return n
			}
		}
	}
	return netip.PrefixFrom(a, a.BitLen())
}

// to is the route to an address, nil if there is none or it leads to the node itself.
func (w *ways) to(a netip.Addr) *netlink.Route {
	n := w.network(a)
	r, known := w.asked[n]
	if known {
		return r
	}
	if routes, err := w.h.RouteGet(a.AsSlice()); err == nil && len(routes) > 0 && routes[0].Type != unix.RTN_LOCAL {
		r = &routes[0]
	}
	w.asked[n] = r
	return r
}
