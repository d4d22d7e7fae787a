package tunnelns

import (
	"fmt"
	"net/netip"

	"github.com/sdn-tunnel/sdn-tunnel/internal/mesh"
	"github.com/vishvananda/netlink"
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
	// Tunnel is what fits into the WireGuard packets of that underlay.
	Tunnel int
	// Pods is what the node's pods use, taken from the pod network's link; 0: unknown.
	Pods int
}

// MeasureMTU reads from the node's routes what the ways to the peers carry. An
// endpoint given by name counts as the default route. podLink is the interface by which
// the node reaches its pods (tun0); it may be missing.
func MeasureMTU(node Namespace, peers []mesh.Peer, podLink string) (MTU, error) {
	var m MTU
	err := node.with(func(h *netlink.Handle) error {
		if l, err := h.LinkByName(podLink); err == nil {
			m.Pods = l.Attrs().MTU
		}
		links, err := h.LinkList()
		if err != nil {
			return fmt.Errorf("list links of %v: %w", node, err)
		}
		byIndex := make(map[int]int, len(links))
		for _, l := range links {
			byIndex[l.Attrs().Index] = l.Attrs().MTU
		}
		ipv6 := false
		for _, a := range endpoints(peers) {
			ipv6 = ipv6 || a.Is6()
			if mtu := pathMTU(h, a, byIndex); mtu > 0 && (m.Underlay == 0 || mtu < m.Underlay) {
				m.Underlay = mtu
			}
		}
		if m.Underlay == 0 {
			m.Underlay = defaultMTU
		}
		m.Tunnel = tunnelMTU(m.Underlay, ipv6)
		return nil
	})
	return m, err
}

// tunnelMTU is what fits into the WireGuard packets of an underlay; on one too small for
// that, the outer packets are fragmented. One peer reached by IPv6 counts for all.
func tunnelMTU(underlay int, ipv6 bool) int {
	overhead := overheadIPv4
	if ipv6 {
		overhead = overheadIPv6
	}
	return max(underlay-overhead, minMTU)
}

// endpoints are the peers' literal addresses, and one of documentation (RFC 5737) that
// stands for the default route.
func endpoints(peers []mesh.Peer) []netip.Addr {
	all := []netip.Addr{netip.AddrFrom4([4]byte{192, 0, 2, 1})}
	for _, p := range peers {
		if a, err := netip.ParseAddr(p.Endpoint.Host); err == nil {
			all = append(all, a.Unmap())
		}
	}
	return all
}

// pathMTU is the MTU of the route to a, 0 if there is none.
func pathMTU(h *netlink.Handle, a netip.Addr, links map[int]int) int {
	routes, err := h.RouteGet(a.AsSlice())
	if err != nil || len(routes) == 0 {
		return 0
	}
	link := links[routes[0].LinkIndex]
	if m := routes[0].MTU; m > 0 && m < link {
		return m
	}
	return link
}
