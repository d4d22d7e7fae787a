package underlay

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"

	"github.com/vishvananda/netlink"

	"github.com/sdn-tunnel/sdn-tunnel/internal/lab/layout"
)

// Interfaces inside a machine: Uplink carries its address, Vtep joins a segment of
// its own on which only the SDN's VXLAN runs when Open vSwitch is in userspace.
const (
	Uplink = "eth0"
	Vtep   = "vtep0"
)

// Create makes all of the lab's namespaces and links. It expects that none exist.
func Create(l *layout.Lab) error {
	if err := addNamespaces(l.Namespaces()); err != nil {
		return err
	}
	router, err := open(l.RouterNS())
	if err != nil {
		return err
	}
	defer router.close()
	if err := operator(l, router); err != nil {
		return err
	}
	for _, c := range l.Clusters {
		if err := segment(l, c, router); err != nil {
			return fmt.Errorf("underlay of cluster %s: %w", c.Name, err)
		}
	}
	return routing(l)
}

func operator(l *layout.Lab, router *namespace) error {
	return router.wire("op0", "", machineEnd{
		ns: l.OperatorNS(), link: Uplink, address: l.Operator, gateway: l.Gateway,
	}, netip.PrefixFrom(l.Gateway, l.Operator.Bits()))
}

// segment makes a cluster's bridge, its VXLAN bridge, and a cable to each machine.
func segment(l *layout.Lab, c layout.Cluster, router *namespace) error {
	br, vx := "br-"+c.Name, "vx-"+c.Name
	if err := router.bridge(br, netip.PrefixFrom(c.Router, c.Underlay.Bits())); err != nil {
		return err
	}
	if err := router.bridge(vx, netip.Prefix{}); err != nil {
		return err
	}
	bits := c.Underlay.Bits()
	cp := machineEnd{ns: l.ControlPlaneNS(c), link: Uplink, address: netip.PrefixFrom(c.ControlPlane, bits), gateway: c.Router,
		services: c.Services}
	if len(c.Nodes) > 0 {
		cp.proxy = c.Nodes[0].Address
	}
	if err := router.wire(c.Name+"-cp", br, cp, netip.Prefix{}); err != nil {
		return err
	}
	for _, n := range c.Nodes {
		if err := plug(l, c, n, router); err != nil {
			return err
		}
	}
	return nil
}

// plug lays a node's cables to its cluster's bridges.
func plug(l *layout.Lab, c layout.Cluster, n layout.Node, router *namespace) error {
	up := machineEnd{ns: l.NodeNS(n), link: Uplink, address: netip.PrefixFrom(n.Address, c.Underlay.Bits()), gateway: c.Router}
	if err := router.wire(n.Name, "br-"+c.Name, up, netip.Prefix{}); err != nil {
		return err
	}
	if err := router.wire(n.Name+"-vx", "vx-"+c.Name, machineEnd{ns: l.NodeNS(n), link: Vtep}, netip.Prefix{}); err != nil {
		return err
	}
	// As distributions have it (systemd's 50-default.conf): everybody may ping.
	if err := In(l.NodeNS(n), func() error { return set("ipv4/ping_group_range", "0 2147483647") }); err != nil {
		return fmt.Errorf("node %s: %w", n.Name, err)
	}
	return nil
}

// AddCluster makes the network of one more cluster beside those there are; l has it
// already.
func AddCluster(l *layout.Lab, c layout.Cluster) error {
	spaces := []string{l.ControlPlaneNS(c)}
	for _, n := range c.Nodes {
		spaces = append(spaces, l.NodeNS(n))
	}
	return add(l, spaces, func(router *namespace) error { return segment(l, c, router) })
}

// AddNode makes the network of one more node; l has it already.
func AddNode(l *layout.Lab, c layout.Cluster, n layout.Node) error {
	return add(l, []string{l.NodeNS(n)}, func(router *namespace) error { return plug(l, c, n, router) })
}

func add(l *layout.Lab, spaces []string, connect func(router *namespace) error) error {
	if err := addNamespaces(spaces); err != nil {
		return err
	}
	router, err := open(l.RouterNS())
	if err != nil {
		return err
	}
	defer router.close()
	if err := connect(router); err != nil {
		return err
	}
	return UpdateRules(l)
}

// UpdateRules makes the router let through what the lab, as it is now, needs. What is
// under way is not disturbed: the rules change in one transaction.
func UpdateRules(l *layout.Lab) error {
	return In(l.RouterNS(), func() error { return loadRules("table inet lab {}\ndelete table inet lab\n" + Rules(l)) })
}

// routing turns the router's namespace into a filtering router.
func routing(l *layout.Lab) error {
	return In(l.RouterNS(), func() error {
		for _, s := range []struct{ key, value string }{
			{"ipv4/conf/all/forwarding", "1"},
			{"ipv4/conf/all/send_redirects", "0"},
			{"ipv4/conf/default/send_redirects", "0"},
			// What stays on a segment is switched, not routed: the rules are not for it.
			{"bridge/bridge-nf-call-iptables", "0"},
		} {
			err := set(s.key, s.value)
			if errors.Is(err, os.ErrNotExist) && strings.HasPrefix(s.key, "bridge/") {
				continue // no such filter in this kernel
			}
			if err != nil {
				return fmt.Errorf("router: %w", err)
			}
		}
		return loadRules(Rules(l))
	})
}

// set writes a sysctl of the network namespace.
func set(key, value string) error { return os.WriteFile("/proc/sys/net/"+key, []byte(value), 0o644) }

type machineEnd struct {
	ns, link string
	address  netip.Prefix
	gateway  netip.Addr
	// services are reached by proxy, a node: a control plane in a cluster of OpenShift's
	// is on nodes itself, and calls webhooks by their Service.
	services netip.Prefix
	proxy    netip.Addr
}

// bridge makes a bridge, up, with an address if it is valid. Its Ethernet address is given:
// the kernel's own choice is the lowest of its ports, so that with each machine that comes or
// goes the router may be another one to all others, until they ask for it again.
func (n *namespace) bridge(name string, address netip.Prefix) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = name
	attrs.HardwareAddr = make(net.HardwareAddr, 6)
	_, _ = rand.Read(attrs.HardwareAddr)                 // it never fails
	attrs.HardwareAddr[0] = attrs.HardwareAddr[0]&^1 | 2 // of one interface, and of nobody's making
	br := &netlink.Bridge{LinkAttrs: attrs}
	if err := n.LinkAdd(br); err != nil {
		return fmt.Errorf("bridge %s: %w", name, err)
	}
	return n.raise(name, address)
}

// wire lays a veth pair from the router to a machine: the near end joins bridge or
// takes the address near, the far end is set up as to says.
func (n *namespace) wire(name, bridge string, to machineEnd, near netip.Prefix) error {
	far, err := open(to.ns)
	if err != nil {
		return err
	}
	defer far.close()
	attrs := netlink.NewLinkAttrs()
	attrs.Name = name
	veth := &netlink.Veth{LinkAttrs: attrs, PeerName: to.link, PeerNamespace: netlink.NsFd(int(far.handle))}
	if err := n.LinkAdd(veth); err != nil {
		return fmt.Errorf("cable %s to %s: %w", name, to.ns, err)
	}
	if bridge != "" {
		if err := n.enslave(name, bridge); err != nil {
			return err
		}
	}
	if err := n.raise(name, near); err != nil {
		return err
	}
	if err := far.raise("lo", netip.Prefix{}); err != nil {
		return err
	}
	if err := far.raise(to.link, to.address); err != nil {
		return err
	}
	if !to.gateway.IsValid() {
		return nil
	}
	route := &netlink.Route{Gw: to.gateway.AsSlice()}
	if err := far.RouteAdd(route); err != nil {
		return fmt.Errorf("default route of %s: %w", to.ns, err)
	}
	if !to.proxy.IsValid() {
		return nil
	}
	services := &net.IPNet{IP: to.services.Addr().AsSlice(), Mask: net.CIDRMask(to.services.Bits(), to.services.Addr().BitLen())}
	if err := far.RouteAdd(&netlink.Route{Dst: services, Gw: to.proxy.AsSlice()}); err != nil {
		return fmt.Errorf("route of %s to services: %w", to.ns, err)
	}
	return nil
}

func (n *namespace) enslave(link, bridge string) error {
	br, err := n.LinkByName(bridge)
	if err != nil {
		return fmt.Errorf("bridge %s: %w", bridge, err)
	}
	l, err := n.LinkByName(link)
	if err != nil {
		return fmt.Errorf("link %s: %w", link, err)
	}
	if err := n.LinkSetMaster(l, br); err != nil {
		return fmt.Errorf("join %s to %s: %w", link, bridge, err)
	}
	return nil
}

func (n *namespace) raise(link string, address netip.Prefix) error {
	l, err := n.LinkByName(link)
	if err != nil {
		return fmt.Errorf("link %s: %w", link, err)
	}
	if address.IsValid() {
		a := &netlink.Addr{IPNet: &net.IPNet{
			IP: address.Addr().AsSlice(), Mask: net.CIDRMask(address.Bits(), address.Addr().BitLen()),
		}}
		if err := n.AddrAdd(l, a); err != nil {
			return fmt.Errorf("address %s on %s: %w", address, link, err)
		}
	}
	if err := n.LinkSetUp(l); err != nil {
		return fmt.Errorf("link %s up: %w", link, err)
	}
	return nil
}
