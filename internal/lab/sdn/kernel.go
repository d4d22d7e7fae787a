package sdn

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// The nftables tables that the node daemon owns: translation of what leaves the cluster
// (family ip), and the interfaces whose packets only the bridge may see (family netdev).
const nftTable = "openshift-sdn"

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

func linkUp(name string) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("interface %s: %w", name, err)
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return fmt.Errorf("set interface %s up: %w", name, err)
	}
	return nil
}

// addressUp gives an interface an address and sets it up. mtu 0 leaves the MTU.
func addressUp(name string, addr netip.Prefix, mtu int) error {
	return address(name, addr, mtu, 0)
}

func address(name string, addr netip.Prefix, mtu, flags int) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("interface %s: %w", name, err)
	}
	if mtu != 0 && link.Attrs().MTU != mtu {
		if err := netlink.LinkSetMTU(link, mtu); err != nil {
			return fmt.Errorf("MTU of %s: %w", name, err)
		}
	}
	if err := netlink.AddrReplace(link, &netlink.Addr{IPNet: ipNet(addr), Flags: flags}); err != nil {
		return fmt.Errorf("address %s on %s: %w", addr, name, err)
	}
	return linkUp(name)
}

// underlayPrefix is the node's address with the length that it has on the underlay's
// interface; other is not that one.
func underlayPrefix(ip netip.Addr, other string) (netip.Prefix, error) {
	links, err := netlink.LinkList()
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("interfaces: %w", err)
	}
	for _, link := range links {
		addrs, err := netlink.AddrList(link, netlink.FAMILY_V4)
		if err != nil {
			return netip.Prefix{}, fmt.Errorf("addresses of %s: %w", link.Attrs().Name, err)
		}
		for _, a := range addrs {
			if link.Attrs().Name != other && a.IP.Equal(ip.AsSlice()) {
				bits, _ := a.Mask.Size()
				return netip.PrefixFrom(ip, bits), nil
			}
		}
	}
	return netip.Prefix{}, fmt.Errorf("no interface has the node's address %s", ip)
}

// ensureKernel is the node's own side of tun0: gateway address, routes of the cluster's
// networks, forwarding and translation.
func (n *node) ensureKernel(ctx context.Context) error {
	if err := addressUp(tunPort, netip.PrefixFrom(n.gateway(), n.subnet.Bits()), n.cfg.MTU); err != nil {
		return err
	}
	link, err := netlink.LinkByName(tunPort)
	if err != nil {
		return fmt.Errorf("interface %s: %w", tunPort, err)
	}
	for _, p := range []netip.Prefix{n.cfg.PodCIDR, n.cfg.ServiceCIDR} {
		r := &netlink.Route{LinkIndex: link.Attrs().Index, Dst: ipNet(p.Masked()), Scope: netlink.SCOPE_LINK, Protocol: unix.RTPROT_KERNEL}
		if err := netlink.RouteReplace(r); err != nil {
			return fmt.Errorf("route %s by %s: %w", p, tunPort, err)
		}
	}
	for key, value := range map[string]string{
		"ip_forward": "1", "conf/all/send_redirects": "0", "conf/" + tunPort + "/send_redirects": "0",
		"conf/" + tunPort + "/rp_filter": "2",
	} {
		if err := os.WriteFile(filepath.Join("/proc/sys/net/ipv4", key), []byte(value), 0); err != nil {
			return fmt.Errorf("sysctl net/ipv4/%s: %w", key, err)
		}
	}
	return nft(ctx, fmt.Sprintf(`
add table ip %[1]s
delete table ip %[1]s
add table ip %[1]s
add chain ip %[1]s postrouting { type nat hook postrouting priority srcnat; policy accept; }
add rule ip %[1]s postrouting ip saddr %[2]s ip daddr != %[2]s masquerade
`, nftTable, n.cfg.PodCIDR))
}

// dropIngress keeps the node's own network stack from an interface whose packets a
// userspace datapath takes: otherwise both would see them, and the node would answer ARP
// requests that are meant for pods. The datapath's tap comes before this hook.
func dropIngress(ctx context.Context, iface string) error {
	return nft(ctx, fmt.Sprintf(`
add table netdev %[1]s
add chain netdev %[1]s %[2]s { type filter hook ingress device "%[2]s" priority 0; policy drop; }
`, nftTable, iface))
}

// releaseIngress undoes dropIngress; nothing to undo is not an error.
func releaseIngress(ctx context.Context, iface string) {
	// The kernel takes the chain away with its device, and did so already if this fails.
	_ = nft(ctx, fmt.Sprintf("delete chain netdev %s %s\n", nftTable, iface))
}

func nft(ctx context.Context, rules string) error {
	cmd := exec.CommandContext(ctx, "nft", "-f", "-")
	cmd.Stdin = strings.NewReader(rules)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("nft: %w: %s", err, strings.TrimSpace(stderr.String()))
	}
	return nil
}

// linkExists tells whether the node has an interface of that name.
func linkExists(name string) bool {
	_, err := netlink.LinkByName(name)
	var notFound netlink.LinkNotFoundError
	return !errors.As(err, &notFound)
}
