package dataplane

import (
	"fmt"
	"net/netip"
	"os/exec"
	"strings"
	"syscall"
)

// layouts are the ways that are compared, in an order in which each leaves the world so
// that the next can be laid.
var layouts = []struct {
	name string
	lay  func(*world) route
}{
	{"underlay", layUnderlay},
	{"wireguard", layWireGuard},
	{"mesh", layMesh},
	{"pod-tunnel", layPodTunnel},
	{"gateway", layGateway},
}

// layUnderlay is veth pairs and a router, and nothing else: what the kernel can do here.
func layUnderlay(w *world) route {
	a, b := w.node("east-1"), w.node("west-1")
	return route{end{a.network(), a.ip}, end{b.network(), b.ip}}
}

// layWireGuard is WireGuard between two nodes, in their own namespaces, with the tunnel's
// MTU: nothing that is encrypted by it can be faster.
func layWireGuard(w *world) route {
	a, b := w.node("east-1"), w.node("west-1")
	from, to := netip.MustParseAddr("10.99.0.1"), netip.MustParseAddr("10.99.0.2")
	w.cable("raw0", 5600, tunnelMTU(underlayMTU),
		cableEnd{a.name, a.ip, from, to.String()}, cableEnd{b.name, b.ip, to, from.String()})
	return route{end{a.network(), from}, end{b.network(), to}}
}

// layMesh is this product's: pod, br0, tunnel namespace, WireGuard, and the same back.
func layMesh(w *world) route {
	a, b := w.pod("east-1", open), w.pod("west-1", open)
	return route{end{a.network(), a.ip}, end{b.network(), b.ip}}
}

// endAgents ends the agents, and takes away what they made outside of their namespaces.
func (w *world) endAgents() {
	for _, n := range w.nodes {
		n.agent.end(syscall.SIGTERM)
		n.sh("ovs-ofctl -OOpenFlow13 del-flows br0 %s; ovs-vsctl --timeout=20 del-port sdntun1; ip route flush proto 133", ourFlows)
	}
}

// layPodTunnel has WireGuard in the namespace of a pod on br0, to which two flows in
// table 0 lead, a layout that was in use before. Its outer packets pass br0 too, and are
// masqueraded by the node. TCP is clamped, or it would stall: the tunnel's MTU is smaller.
func layPodTunnel(w *world) route {
	w.endAgents()
	ends := make([]cableEnd, 2)
	nodes := []*node{w.node("east-1"), w.node("west-1")}
	const port, ofport, mtu = 5601, 12, podMTU - 60
	for i, n := range nodes {
		p := n.addPod(n.name+"-t", 4, 0, ofport)
		remote := nodes[1-i].cluster.pods
		ends[i] = cableEnd{p.name, n.ip, netip.Addr{}, remote.String()}
		n.sh(`nft 'table ip outer {
chain out { type nat hook postrouting priority srcnat; oifname eth0 ip saddr %s masquerade; }
chain in { type nat hook prerouting priority dstnat; iifname eth0 udp dport %d dnat to %s; }; }'`, n.cluster.pods, port, p.ip)
		n.sh(`ovs-ofctl -OOpenFlow13 --bundle add-flows br0 - <<'.'
table=0,priority=300,ip,nw_dst=%[1]s actions=set_field:%[2]s->eth_dst,output:%[3]d
table=0,priority=300,ip,in_port=%[3]d,nw_src=%[1]s actions=move:NXM_OF_IP_DST[]->NXM_OF_ETH_DST[0..31],load:0xa58->NXM_OF_ETH_DST[32..47],goto_table:30
.`, remote, p.mac(), ofport)
		w.sysctl(p.network(), "net/ipv4/ip_forward", "1")
		w.clamp(p.name)
	}
	w.cable("wg0", port, mtu, ends[0], ends[1])
	return layMesh(w)
}

// layGateway leads from pods to a gateway node by vxlan, from there to the other cluster's
// gateway by WireGuard, and on to the pod by the SDN's own vxlan. Gateways clamp TCP.
func layGateway(w *world) route {
	for _, c := range [][3]string{{"east-1", "east-2", "west-1"}, {"west-1", "west-2", "east-1"}} {
		gateway, worker, remote := w.node(c[0]), w.node(c[1]), w.node(c[2]).cluster.pods
		for i, n := range []*node{gateway, worker} {
			other := []*node{worker, gateway}[i]
			w.ip(n.name, []string{
				fmt.Sprintf("link add gw0 type vxlan id 100 dstport 4800 local %s remote %s dev eth0", n.ip, other.ip),
				fmt.Sprintf("addr add 10.98.0.%d/30 dev gw0", i+1), fmt.Sprintf("link set gw0 mtu %d up", podMTU),
			})
			w.sysctl(n.network(), "net/ipv4/conf/all/rp_filter", "0")
			w.sysctl(n.network(), "net/ipv4/conf/tun0/rp_filter", "0")
		}
		w.ip(worker.name, []string{fmt.Sprintf("route add %s via 10.98.0.1", remote)})
		w.clamp(gateway.name)
	}
	east, west := w.node("east-1"), w.node("west-1")
	w.cable("wg0", 5602, tunnelMTU(underlayMTU),
		cableEnd{east.name, east.ip, netip.Addr{}, west.cluster.pods.String()},
		cableEnd{west.name, west.ip, netip.Addr{}, east.cluster.pods.String()})
	a, b := w.pod("east-2", open), w.pod("west-2", open)
	return route{end{a.network(), a.ip}, end{b.network(), b.ip}}
}

// cableEnd is one end of a WireGuard tunnel made by hand.
type cableEnd struct {
	namespace string
	outside   netip.Addr // where its port is reached
	address   netip.Addr // of the link; invalid: none
	allowed   string     // what is sent to the other end
}

// cable makes a WireGuard tunnel.
func (w *world) cable(link string, port, mtu int, ends ...cableEnd) {
	w.t.Helper()
	in := func(e cableEnd, format string, args ...any) string {
		return strings.TrimSpace(sh(w.t, exec.Command("nsenter", "--net="+w.netns(e.namespace), "sh", "-c", fmt.Sprintf(format, args...))))
	}
	keys := make([]string, len(ends))
	for i, e := range ends {
		keys[i] = in(e, "umask 077; wg genkey > %[1]s/%[2]s-%[3]s; wg pubkey < %[1]s/%[2]s-%[3]s", w.dir, link, e.namespace)
		in(e, "ip link add %[1]s type wireguard; wg set %[1]s listen-port %[2]d private-key %[3]s/%[1]s-%[4]s", link, port, w.dir, e.namespace)
		if e.address.IsValid() {
			in(e, "ip addr add %s/32 dev %s", e.address, link)
		}
		in(e, "ip link set %[1]s mtu %[2]d up; ip route add %[3]s dev %[1]s", link, mtu, e.allowed)
	}
	for i, e := range ends {
		other := ends[1-i]
		in(e, "wg set %s peer %s endpoint %s:%d allowed-ips %s", link, keys[1-i], other.outside, port, e.allowed)
	}
}

// clamp makes a namespace clamp TCP's segments to what its routes carry.
func (w *world) clamp(namespace string) {
	w.t.Helper()
	sh(w.t, exec.Command("nsenter", "--net="+w.netns(namespace), "nft",
		"table inet clamp { chain c { type filter hook forward priority mangle; tcp flags & (syn|rst) == syn tcp option maxseg size set rt mtu; }; }"))
}

// addPod adds a pod to a node that is up already.
func (n *node) addPod(name string, number int, vnid, port uint32) *pod {
	n.t.Helper()
	p := &pod{node: n, name: name, ip: host(n.subnet, number), vnid: vnid, port: port}
	n.w.ip("", p.links())
	n.w.ip(p.name, p.setup())
	n.w.ip(n.name, []string{"link set " + p.veth() + " up"})
	n.vsctl(fmt.Sprintf("add-port br0 %[1]s -- set Interface %[1]s ofport_request=%[2]d", p.veth(), p.port))
	n.pods = append(n.pods, p)
	n.writeFlows()
	return p
}
