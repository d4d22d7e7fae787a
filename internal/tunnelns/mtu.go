package tunnelns

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/sdn-tunnel/sdn-tunnel/internal/mesh"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// WireGuard's bytes around a packet: outer IP header, UDP, and 32 of its own.
const (
	overheadIPv4 = 60
	overheadIPv6 = 80
	// minMTU is what IPv6 asks of every link (RFC 8200, section 5).
	minMTU = 1280
	// defaultMTU is taken where a node has no route to anything yet.
	defaultMTU = 1500
)

// MTU is what fits, in bytes.
type MTU struct {
	// Underlay is the smallest MTU of the node's ways to its peers.
	Underlay int
	// Tunnel is what fits into the WireGuard packets of every one of those ways, at most
	// what the mesh's owner allows.
	Tunnel int
	// Pods is what the node's pods use, taken from the pod network's link; 0: unknown.
	Pods int
}

// MinTunnelMTU is the least that a tunnel may be limited to: what IPv6 asks of every link.
const MinTunnelMTU = minMTU

// measureMTU reads from the node's routes what the ways to the peers carry, and gives the
// links that it looked at, by their indexes. An endpoint given by name counts as the
// default route. podLink is the interface by which the node reaches its pods (tun0); it
// may be missing. limit caps the tunnel; 0: nothing does.
//
// Each way is reckoned with its own outer headers, and the tunnel has one MTU, that of
// the narrowest: a peer reached by IPv6 takes 20 bytes from the others only where its
// own way is not wider by as much.
func measureMTU(node Namespace, peers []mesh.Peer, podLink string, limit int) (m MTU, looked map[int]bool, err error) {
	looked = map[int]bool{}
	err = node.with(func(h *netlink.Handle) error {
		list, err := h.LinkList()
		if err != nil {
			return fmt.Errorf("list links of %v: %w", node, err)
		}
		byIndex := make(map[int]*netlink.LinkAttrs, len(list))
		for _, l := range list {
			byIndex[l.Attrs().Index] = l.Attrs()
			if l.Attrs().Name == podLink {
				m.Pods = l.Attrs().MTU
				looked[l.Attrs().Index] = true
			}
		}
		count := func(r *netlink.Route, ipv6 bool) {
			mtu := routeMTU(r, byIndex, looked)
			if mtu > 0 {
				m.Underlay, m.Tunnel = least(m.Underlay, mtu), least(m.Tunnel, tunnelMTU(mtu, ipv6))
			}
		}
		ways, err := newWays(h)
		if err != nil {
			return err
		}
		for _, p := range peers {
			if a, err := netip.ParseAddr(p.Endpoint.Host); err == nil {
				count(ways.to(a.Unmap()), a.Unmap().Is6())
			}
		}
		count(defaultRoute(h), false)
		if m.Underlay == 0 {
			m.Underlay, m.Tunnel = defaultMTU, tunnelMTU(defaultMTU, false)
		}
		return nil
	})
	if limit > 0 {
		m.Tunnel = min(m.Tunnel, limit)
	}
	return m, looked, err
}

// least is the smaller one, where 0 is not known yet.
func least(a, b int) int {
	if a == 0 {
		return b
	}
	return min(a, b)
}

// tunnelMTU is what fits into the WireGuard packets of an underlay; on one too small for
// that, the outer packets are fragmented.
func tunnelMTU(underlay int, ipv6 bool) int {
	overhead := overheadIPv4
	if ipv6 {
		overhead = overheadIPv6
	}
	return max(underlay-overhead, minMTU)
}

// defaultRoute is the best default route of the main table, nil if there is none. No
// address is asked for: any could be the node's own.
func defaultRoute(h *netlink.Handle) *netlink.Route {
	routes, err := h.RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{Table: unix.RT_TABLE_MAIN}, netlink.RT_FILTER_TABLE)
	if err != nil {
		return nil
	}
	var best *netlink.Route
	for i, r := range routes {
		isDefault := r.Dst == nil || r.Dst.IP.IsUnspecified() && r.Dst.Mask.String() == "00000000"
		if isDefault && r.Type == unix.RTN_UNICAST && (best == nil || r.Priority < best.Priority) {
			best = &routes[i]
		}
	}
	return best
}

// routeMTU is the route's own MTU, else that of its narrowest link; 0 without a route. It
// notes the links that it looked at.
func routeMTU(r *netlink.Route, links map[int]*netlink.LinkAttrs, looked map[int]bool) int {
	if r == nil {
		return 0
	}
	mtu := 0
	hops := []int{r.LinkIndex}
	for _, hop := range r.MultiPath {
		hops = append(hops, hop.LinkIndex)
	}
	for _, index := range hops {
		if link := links[index]; link != nil && link.Flags&net.FlagLoopback == 0 {
			mtu = least(mtu, link.MTU)
			looked[index] = true
		}
	}
	if r.MTU > 0 && r.MTU < mtu {
		return r.MTU
	}
	return mtu
}
