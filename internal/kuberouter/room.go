package kuberouter

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/fnv"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"github.com/vishvananda/netlink"

	"github.com/sdn-tunnel/sdn-tunnel/internal/tunnelns"
)

// Names of what is in a member's namespace and of its link in the tunnel namespace.
const (
	roomLink   = "tunnel0"
	linkPrefix = "sdnsvc-"
)

// linkAddress is the hardware address of both ends of the pair: without ARP a packet bears
// its sender's own, which is to be the receiver's, too.
var linkAddress = net.HardwareAddr{0x02, 's', 'd', 'n', 's', 'v'}

// everything is all of IPv4 in two routes, as package tunnelns leaves default routes alone.
var everything = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/1"), netip.MustParsePrefix("128.0.0.0/1")}

// room is a member's namespace, beside the tunnel namespace.
type room struct {
	member    string
	tunnel    tunnelns.Namespace
	namespace tunnelns.Namespace
	link      string // in the tunnel namespace
	table     *ruleset
}

func newRoom(tunnel tunnelns.Namespace, member string) *room {
	sum := fnv.New32a()
	_, _ = sum.Write([]byte(member))
	r := &room{
		member: member, tunnel: tunnel, namespace: tunnelns.At(roomPath(tunnel, member)),
		link: linkPrefix + hex.EncodeToString(sum.Sum(nil)),
	}
	r.table = &ruleset{namespace: r.namespace}
	return r
}

// roomPath is the name of a member's namespace. No cluster's name has a dot.
func roomPath(tunnel tunnelns.Namespace, member string) string { return tunnel.Path() + "." + member }

// membersWithRooms are the members that have a namespace, also of an earlier process.
func membersWithRooms(tunnel tunnelns.Namespace) ([]string, error) {
	paths, err := filepath.Glob(roomPath(tunnel, "*"))
	if err != nil {
		return nil, fmt.Errorf("look for namespaces of members: %w", err)
	}
	for i, p := range paths {
		paths[i] = strings.TrimPrefix(p, roomPath(tunnel, ""))
	}
	return paths, nil
}

// plan is what a room has to be.
type plan struct {
	address  netip.Addr     // the node's tunnel address
	services []netip.Prefix // the member's service networks, of IPv4
	mtu      int            // 0: the kernel's choice
}

// sync makes the namespace, its link to the tunnel namespace and everything in it but what
// is kube-router's.
func (r *room) sync(ctx context.Context, p plan) (changes []string, err error) {
	if !r.namespace.Exists() {
		if err := r.namespace.Create(); err != nil {
			return nil, err
		}
		changes = append(changes, fmt.Sprintf("%v made", r.namespace))
	}
	for _, step := range []func() ([]string, error){
		r.syncSysctls,
		func() ([]string, error) { return r.syncPair(p.mtu) },
		func() ([]string, error) { return r.syncInside(p) },
		func() ([]string, error) { return r.table.sync(ctx, tableRefuse, refuseRules(p.services)) },
	} {
		done, err := step()
		changes = append(changes, done...)
		if err != nil {
			return changes, err
		}
	}
	return changes, nil
}

// roomSysctls let the namespace forward from and to its one link without redirects, which
// would say that there is a shorter way; and refuse pods of this node, the only ones that
// it refuses, as often as they ask, where the kernel would leave out all but one a second.
var roomSysctls = []struct{ name, value string }{
	{"ipv4/ip_forward", "1"},
	{"ipv4/icmp_ratelimit", "0"},
	{"ipv4/conf/all/send_redirects", "0"},
	{"ipv4/conf/default/send_redirects", "0"},
	{"ipv4/conf/" + roomLink + "/send_redirects", "0"},
	{"ipv4/conf/all/rp_filter", "2"},
	{"ipv4/conf/default/rp_filter", "2"},
	{"ipv6/conf/all/disable_ipv6", "1"},
	{"ipv6/conf/default/disable_ipv6", "1"},
}

func (r *room) syncSysctls() (changes []string, err error) {
	err = r.namespace.Do(func() error {
		for _, s := range roomSysctls {
			path := "/proc/sys/net/" + s.name
			have, err := os.ReadFile(path)
			if errors.Is(err, os.ErrNotExist) {
				continue // a kernel without that protocol, or the link is not there yet
			}
			if err == nil && strings.TrimSpace(string(have)) == s.value {
				continue
			}
			if err := os.WriteFile(path, []byte(s.value), 0o644); err != nil {
				return fmt.Errorf("set sysctl net/%s in %v: %w", s.name, r.namespace, err)
			}
			changes = append(changes, fmt.Sprintf("%v: sysctl net/%s=%s", r.namespace, s.name, s.value))
		}
		return nil
	})
	return changes, err
}

// syncPair makes the link between the two namespaces, with the tunnel's MTU: what is too
// big for the tunnel is answered before it is translated.
func (r *room) syncPair(mtu int) (changes []string, err error) {
	tunnel, err := r.tunnel.Netlink()
	if err != nil {
		return nil, err
	}
	defer tunnel.Close()
	inside, err := r.namespace.Netlink()
	if err != nil {
		return nil, err
	}
	defer inside.Close()
	if !tunnelns.IsPair(tunnel, r.link, inside, roomLink) {
		attrs := netlink.NewLinkAttrs()
		attrs.Name, attrs.HardwareAddr = r.link, linkAddress
		pair := &netlink.Veth{LinkAttrs: attrs, PeerName: roomLink, PeerHardwareAddr: linkAddress}
		if err := tunnelns.MakePair(tunnel, inside, r.namespace, pair); err != nil {
			return nil, err
		}
		changes = append(changes, fmt.Sprintf("veth pair %s-%s of %v made", r.link, roomLink, r.namespace))
	}
	for _, end := range []struct {
		h    *netlink.Handle
		name string
	}{{tunnel, r.link}, {inside, roomLink}} {
		done, err := tunnelns.SyncLink(end.h, end.name, tunnelns.LinkState{NoARP: true, MTU: mtu})
		changes = append(changes, done...)
		if err != nil {
			return changes, fmt.Errorf("link to %v: %w", r.namespace, err)
		}
	}
	return changes, nil
}

// syncInside sets the namespace's address and routes: everything leads to the tunnel
// namespace; what is sent to the member's services arrives, whether kube-router has the
// service on its own link at the moment or not.
func (r *room) syncInside(p plan) (changes []string, err error) {
	h, err := r.namespace.Netlink()
	if err != nil {
		return nil, err
	}
	defer h.Close()
	lo, err := h.LinkByName("lo")
	if err != nil {
		return nil, fmt.Errorf("find lo in %v: %w", r.namespace, err)
	}
	if lo.Attrs().Flags&net.FlagUp == 0 {
		if err := h.LinkSetUp(lo); err != nil {
			return nil, fmt.Errorf("set lo up in %v: %w", r.namespace, err)
		}
		changes = append(changes, fmt.Sprintf("%v: lo set up", r.namespace))
	}
	done, err := syncAddress(h, lo, p.address)
	changes = append(changes, done...)
	if err != nil {
		return changes, fmt.Errorf("%v: %w", r.namespace, err)
	}
	out, err := h.LinkByName(roomLink)
	if err != nil {
		return changes, fmt.Errorf("find %s in %v: %w", roomLink, r.namespace, err)
	}
	var local, away []tunnelns.Route
	for _, n := range p.services {
		local = append(local, tunnelns.Route{Dst: n, Local: true})
	}
	for _, n := range everything {
		away = append(away, tunnelns.Route{Dst: n, Source: p.address})
	}
	for _, on := range []struct {
		link netlink.Link
		want []tunnelns.Route
	}{{lo, local}, {out, away}} {
		done, err := tunnelns.SyncRoutes(h, on.link, on.want)
		for _, d := range done {
			changes = append(changes, fmt.Sprintf("%v: %s", r.namespace, d))
		}
		if err != nil {
			return changes, fmt.Errorf("%v: %w", r.namespace, err)
		}
	}
	return changes, nil
}

// syncAddress puts the node's tunnel address on lo: errors come from it, and it is the one
// of kube-router's Node.
func syncAddress(h *netlink.Handle, lo netlink.Link, want netip.Addr) (changes []string, err error) {
	list, err := h.AddrList(lo, netlink.FAMILY_V4)
	if err != nil {
		return nil, fmt.Errorf("list addresses of lo: %w", err)
	}
	there := false
	for _, a := range list {
		have, _ := netip.AddrFromSlice(a.IP)
		switch have = have.Unmap(); {
		case have.IsLoopback():
		case have == want:
			there = true
		default:
			if err := h.AddrDel(lo, &a); err != nil {
				return changes, fmt.Errorf("delete address %v: %w", have, err)
			}
			changes = append(changes, fmt.Sprintf("address %v deleted", have))
		}
	}
	if there {
		return changes, nil
	}
	ip := &net.IPNet{IP: want.AsSlice(), Mask: net.CIDRMask(32, 32)}
	if err := h.AddrAdd(lo, &netlink.Addr{IPNet: ip}); err != nil {
		return changes, fmt.Errorf("add address %v: %w", want, err)
	}
	return append(changes, fmt.Sprintf("address %v added", want)), nil
}

// remove takes the namespace and its link away; with the namespace goes all that
// kube-router made in it.
func (r *room) remove() (changes []string, err error) {
	if r.tunnel.Exists() {
		if err := tunnelns.DeleteLink(r.tunnel, r.link); err != nil {
			return nil, err
		}
	}
	if _, err := os.Lstat(r.namespace.Path()); errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err := r.namespace.Remove(); err != nil {
		return nil, err
	}
	return []string{fmt.Sprintf("%v deleted", r.namespace)}, nil
}
