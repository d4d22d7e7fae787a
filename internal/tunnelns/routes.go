package tunnelns

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// RouteProtocol marks every route of ours, in the node's namespace and in the tunnel's.
const RouteProtocol netlink.RouteProtocol = 133

// Route is one route of ours over a known link, in the main table, or in the local one if
// it is local: only there the kernel takes it for an address of its own when it sends an
// error from it, once a namespace has had rules of its own.
type Route struct {
	Dst    netip.Prefix
	Via    netip.Addr // invalid: directly on the link
	Source netip.Addr // preferred source; invalid: the kernel's choice
	MTU    int        // 0: the link's
	// Local: what is sent there arrives, as at addresses of the namespace's own.
	Local bool
	// misplaced is a local route in the main table, where earlier versions put it.
	misplaced bool
}

// String is the route much as ip(8) shows it.
func (r Route) String() string {
	var b strings.Builder
	if r.Local {
		b.WriteString("local ")
	}
	fmt.Fprintf(&b, "%v", r.Dst)
	if r.Via.IsValid() {
		fmt.Fprintf(&b, " via %v", r.Via)
	}
	if r.Source.IsValid() {
		fmt.Fprintf(&b, " src %v", r.Source)
	}
	if r.MTU > 0 {
		fmt.Fprintf(&b, " mtu %d", r.MTU)
	}
	return b.String()
}

// SyncRoutes makes the routes of ours over link equal to want and returns what it
// changed. Routes of other protocols are not touched; one that is in the way of ours
// is an error.
func SyncRoutes(h *netlink.Handle, link netlink.Link, want []Route) ([]string, error) {
	have, err := ownRoutes(h, link)
	if err != nil {
		return nil, err
	}
	var changes []string
	name := link.Attrs().Name
	for _, r := range have {
		if slices.Contains(want, r) {
			continue
		}
		// A changed route is replaced in place below, without a gap.
		if !r.misplaced && slices.ContainsFunc(want, func(w Route) bool { return w.Dst == r.Dst && w.Local == r.Local }) {
			continue
		}
		if err := h.RouteDel(r.kernel(link)); err != nil && !errors.Is(err, unix.ESRCH) {
			return changes, fmt.Errorf("delete route %v dev %s: %w", r, name, err)
		}
		changes = append(changes, fmt.Sprintf("route %v dev %s deleted", r, name))
	}
	for _, r := range want {
		if slices.Contains(have, r) {
			continue
		}
		if err := setRoute(h, link, r, have); err != nil {
			return changes, err
		}
		changes = append(changes, fmt.Sprintf("route %v dev %s set", r, name))
	}
	return changes, nil
}

// setRoute replaces a route of ours, or adds one; it never replaces somebody else's.
func setRoute(h *netlink.Handle, link netlink.Link, r Route, have []Route) error {
	set := h.RouteAdd
	if slices.ContainsFunc(have, func(o Route) bool { return o.Dst == r.Dst && o.Local == r.Local && !o.misplaced }) {
		set = h.RouteReplace
	}
	err := set(r.kernel(link))
	if errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("set route %v dev %s: a route to %v that is not of sdn-tunnel is in the way; delete it, or take its network out of the mesh: %w",
			r, link.Attrs().Name, r.Dst, err)
	}
	if err != nil {
		return fmt.Errorf("set route %v dev %s: %w", r, link.Attrs().Name, err)
	}
	return nil
}

// ownRoutes lists the routes of ours over link.
func ownRoutes(h *netlink.Handle, link netlink.Link) ([]Route, error) {
	var list []netlink.Route
	for _, table := range []int{unix.RT_TABLE_MAIN, unix.RT_TABLE_LOCAL} {
		filter := &netlink.Route{LinkIndex: link.Attrs().Index, Protocol: RouteProtocol, Table: table}
		mask := netlink.RT_FILTER_OIF | netlink.RT_FILTER_PROTOCOL | netlink.RT_FILTER_TABLE
		some, err := h.RouteListFiltered(netlink.FAMILY_ALL, filter, mask)
		if err != nil {
			return nil, fmt.Errorf("list routes of %s: %w", link.Attrs().Name, err)
		}
		list = append(list, some...)
	}
	routes := make([]Route, 0, len(list))
	for _, r := range list {
		if r.Dst == nil {
			continue
		}
		routes = append(routes, Route{
			Dst: prefix(r.Dst), Via: addr(r.Gw), Source: addr(r.Src), MTU: r.MTU,
			Local: r.Type == unix.RTN_LOCAL, misplaced: r.Type == unix.RTN_LOCAL && r.Table == unix.RT_TABLE_MAIN,
		})
	}
	slices.SortFunc(routes, func(a, b Route) int { return cmp.Compare(a.String(), b.String()) })
	return routes, nil
}

func (r Route) kernel(link netlink.Link) *netlink.Route {
	k := &netlink.Route{
		LinkIndex: link.Attrs().Index, Protocol: RouteProtocol, Table: unix.RT_TABLE_MAIN,
		Dst: ipNet(r.Dst), MTU: r.MTU, Scope: netlink.SCOPE_LINK,
	}
	if r.Local {
		k.Type, k.Scope = unix.RTN_LOCAL, netlink.SCOPE_HOST
		if !r.misplaced {
			k.Table = unix.RT_TABLE_LOCAL
		}
	}
	if r.Via.IsValid() {
		k.Gw, k.Scope = r.Via.AsSlice(), netlink.SCOPE_UNIVERSE
		k.Flags = int(netlink.FLAG_ONLINK)
	}
	if r.Source.IsValid() {
		k.Src = r.Source.AsSlice()
	}
	return k
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// prefix is invalid where there is none.
func prefix(n *net.IPNet) netip.Prefix {
	if n == nil {
		return netip.Prefix{}
	}
	bits, _ := n.Mask.Size()
	return netip.PrefixFrom(addr(n.IP), bits)
}

func addr(ip net.IP) netip.Addr {
	a, _ := netip.AddrFromSlice(ip)
	return a.Unmap()
}
