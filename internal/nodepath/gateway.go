package nodepath

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/sdn-tunnel/sdn-tunnel/internal/tunnelns"
	"github.com/vishvananda/netlink"
)

// ErrNoGateway means that the node's SDN has not set up its gateway link (yet).
var ErrNoGateway = errors.New("the node has no gateway into its host subnet")

// Gateway is the SDN's own way into the host subnet, from the node.
type Gateway struct {
	Link    netlink.Link
	Address netip.Addr
	MAC     net.HardwareAddr
}

// FindGateway finds the address that the link has in one of the node's host subnets.
// It is ErrNoGateway if there is no such link or address.
func FindGateway(node tunnelns.Namespace, link string, local []netip.Prefix) (Gateway, error) {
	h, err := node.Netlink()
	if err != nil {
		return Gateway{}, err
	}
	defer h.Close()
	return findGateway(h, link, local)
}

func findGateway(h *netlink.Handle, name string, local []netip.Prefix) (Gateway, error) {
	link, err := h.LinkByName(name)
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		return Gateway{}, fmt.Errorf("link %s is missing; is the SDN running on this node? %w", name, ErrNoGateway)
	}
	if err != nil {
		return Gateway{}, fmt.Errorf("find link %s: %w", name, err)
	}
	addrs, err := h.AddrList(link, netlink.FAMILY_V4)
	if err != nil {
		return Gateway{}, fmt.Errorf("list addresses of %s: %w", name, err)
	}
	for _, a := range addrs {
		ip, _ := netip.AddrFromSlice(a.IP.To4())
		if slices.ContainsFunc(local, func(s netip.Prefix) bool { return s.Contains(ip) }) {
			return Gateway{Link: link, Address: ip, MAC: link.Attrs().HardwareAddr}, nil
		}
	}
	return Gateway{}, fmt.Errorf("link %s has no address in the host subnets %v: %w", name, local, ErrNoGateway)
}
