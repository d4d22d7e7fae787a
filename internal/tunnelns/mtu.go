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

// MeasureMTU reads from the node's routes what the ways to the peers carry. An
// endpoint given by name counts as the default route. podLink is the interface by which
// the node reaches its pods (tun0); it may be missing. limit caps the tunnel; 0: nothing
// does.
//
// Each way is reckoned with its own outer headers, and the tunnel has one MTU, that of
// the narrowest: a peer reached by IPv6 takes 20 bytes from the others only where its
// own way is not wider by as much.
func MeasureMTU(node Namespace, peers []mesh.Peer, podLink string, limit int) (MTU, error) {
	var m MTU
	err := node.with(func(h *netlink.Handle) error {
		if l, err := h.LinkByName(podLink); err == nil {
			m.Pods = l.Attrs().MTU
		}
		list, err := h.LinkList()
		if err != nil {
			return fmt.Errorf("list links of %v: %w", node, err)
		}
		byIndex := make(map[int]*netlink.LinkAttrs, len(list))
		for _, l := range list {
			byIndex[l.Attrs().Index] = l.Attrs()
		}
		for _, p := range peers {
			a, err := netip.ParseAddr(p.Endpoint.Host)
			if err != nil {
				continue
			}
			if mtu := pathMTU(h, a.Unmap(), byIndex); mtu > 0 {
				m.Underlay, m.Tunnel = least(m.Underlay, mtu), least(m.Tunnel, tunnelMTU(mtu, a.Unmap().Is6()))
			}
		}
		if mtu := defaultRouteMTU(h, byIndex); mtu > 0 {
			m.Underlay, m.Tunnel = least(m.Underlay, mtu), least(m.Tunnel, tunnelMTU(mtu, false))
		}
		if m.Underlay == 0 {
			m.Underlay, m.Tunnel = defaultMTU, tunnelMTU(defaultMTU, false)
		}
		return nil
	})
	if limit > 0 {
		m.Tunnel = min(m.Tunnel, limit)
	}
	return m, err
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

// defaultRouteMTU is what the best default route of the main table carries, 0 if there is
// none. No address is asked for: any could be the node's own.
func defaultRouteMTU(h *netlink.Handle, links map[int]*netlink.LinkAttrs) int {
	routes, err := h.RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{Table: unix.RT_TABLE_MAIN}, netlink.RT_FILTER_TABLE)
	if err != nil {
		return 0
	}
	var best *netlink.Route
	for i, r := range routes {
		isDefault := r.Dst == nil || r.Dst.IP.IsUnspecified() && r.Dst.Mask.String() == "00000000"
		if isDefault && r.Type == unix.RTN_UNICAST && (best == nil || r.Priority < best.Priority) {
			best = &routes[i]
		}
	}
	if best == nil {
		return 0
	}
	return routeMTU(*best, links)
}

// pathMTU is the MTU of the route to a, 0 if there is none or it leads to the node itself.
func pathMTU(h *netlink.Handle, a netip.Addr, links map[int]*netlink.LinkAttrs) int {
	routes, err := h.RouteGet(a.AsSlice())
	if err != nil || len(routes) == 0 || routes[0].Type == unix.RTN_LOCAL {
		return 0
	}
	return routeMTU(routes[0], links)
}

// routeMTU is the route's own MTU, else that of its narrowest link.
func routeMTU(r netlink.Route, links map[int]*netlink.LinkAttrs) int {
	mtu := 0
	hops := []int{r.LinkIndex}
	for _, hop := range r.MultiPath {
		hops = append(hops, hop.LinkIndex)
	}
	for _, index := range hops {
		if link := links[index]; link != nil && link.Flags&net.FlagLoopback == 0 {
			mtu = least(mtu, link.MTU)
		}
	}
	if r.MTU > 0 && r.MTU < mtu {
		return r.MTU
	}
	return mtu
}
