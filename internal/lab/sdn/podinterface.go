package sdn

import (
	"crypto/sha256"
	"fmt"
	"net"
	"net/netip"
	"os/exec"

	"github.com/containernetworking/plugins/pkg/ns"
	"github.com/vishvananda/netlink"
)

// podInterface is a pod's end of its veth pair and what belongs to it.
type podInterface struct {
	name, veth string
	ip         netip.Prefix
	facts      nodeFacts
}

// hostVeth names the node's end of a sandbox's veth pair.
func hostVeth(sandbox string) string {
	return fmt.Sprintf("veth%x", sha256.Sum256([]byte(sandbox)))[:12]
}

// podMAC is 0a:58 and the address, by which the tables know a pod's hardware address.
func podMAC(ip netip.Addr) net.HardwareAddr {
	b := ip.As4()
	return net.HardwareAddr{0x0a, 0x58, b[0], b[1], b[2], b[3]}
}

func (p podInterface) create(netns ns.NetNS) error {
	deleteLink(p.veth) // of an attempt that was cut off
	return netns.Do(func(host ns.NetNS) error {
		attrs := netlink.NewLinkAttrs()
		attrs.Name, attrs.MTU, attrs.HardwareAddr = p.name, p.facts.MTU, podMAC(p.ip.Addr())
		pair := &netlink.Veth{LinkAttrs: attrs, PeerName: p.veth, PeerNamespace: netlink.NsFd(int(host.Fd()))}
		if err := netlink.LinkAdd(pair); err != nil {
			return fmt.Errorf("veth pair %s, %s: %w", p.name, p.veth, err)
		}
		if err := host.Do(func(ns.NetNS) error { return linkUp(p.veth) }); err != nil {
			return err
		}
		if p.facts.Datapath == Netdev {
			if err := offloadsOff(p.name); err != nil {
				return err
			}
		}
		if err := addressUp(p.name, p.ip, p.facts.MTU); err != nil {
			return err
		}
		return p.routes()
	})
}

// routes are OpenShift's: the cluster's network and multicast on the link, all else by
// the gateway.
func (p podInterface) routes() error {
	link, err := netlink.LinkByName(p.name)
	if err != nil {
		return fmt.Errorf("interface %s: %w", p.name, err)
	}
	index := link.Attrs().Index
	multicast := netip.MustParsePrefix("224.0.0.0/4")
	routes := []netlink.Route{
		{LinkIndex: index, Dst: ipNet(p.facts.ClusterCIDR.Masked()), Scope: netlink.SCOPE_LINK},
		{LinkIndex: index, Dst: ipNet(multicast), Scope: netlink.SCOPE_LINK},
		{LinkIndex: index, Gw: p.facts.Gateway.AsSlice()},
	}
	for _, r := range routes {
		if err := netlink.RouteReplace(&r); err != nil {
			return fmt.Errorf("route %s of the pod: %w", r.Dst, err)
		}
	}
	return nil
}

// offloadsOff makes the kernel finish packets before a userspace datapath sees them.
func offloadsOff(name string) error {
	out, err := exec.Command("ethtool", "-K", name, "tx", "off", "tso", "off", "gso", "off", "gro", "off").CombinedOutput()
	if err != nil {
		return fmt.Errorf("turn the offloads of %s off: %w: %s", name, err, out)
	}
	return nil
}

// deleteLink takes an interface away; one that is not there is fine.
func deleteLink(name string) {
	if link, err := netlink.LinkByName(name); err == nil {
		_ = netlink.LinkDel(link) // it may have gone with its namespace meanwhile
	}
}

func checkInterface(name string, ip netip.Addr) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("interface %s: %w", name, err)
	}
	addrs, err := netlink.AddrList(link, netlink.FAMILY_V4)
	if err != nil {
		return fmt.Errorf("addresses of %s: %w", name, err)
	}
	for _, a := range addrs {
		if a.IP.Equal(ip.AsSlice()) {
			return nil
		}
	}
	return fmt.Errorf("interface %s does not have the address %s", name, ip)
}
