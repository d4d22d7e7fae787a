package tables

import (
	"fmt"
	"net/netip"
	"slices"
)

// Flows are all flows of the node's bridge.
func (n Node) Flows() []Flow {
	flows := slices.Concat(n.classify(), n.tracking(), n.routing(), n.leaving(), n.multicast())
	flows = append(flows, flow(VXLANIngress, 0, "", "drop"),
		flow(PodIngress, 300, "udp,tp_dst=4789", "drop"), flow(PodIngress, 0, "", "drop"),
		flow(ServiceIngress, 0, "", "drop"), flow(LocalARP, 0, "", "drop"),
		flow(RemoteARP, 0, "", "drop"), flow(ToService, 200, "", out(TunPort)),
		flow(ToPod, 0, "", "drop"), flow(ToRemote, 0, "", "drop"))
	for _, p := range n.Pods {
		flows = append(flows, n.pod(p)...)
	}
	for _, p := range n.Peers {
		flows = append(flows, n.peer(p)...)
	}
	flows = append(flows, n.policy()...)
	if n.Userspace {
		flows = append(flows, n.userspace()...)
	}
	return append(flows, n.note())
}

func out(port uint32) string { return fmt.Sprintf("output:%d", port) }

func to(t Table) string { return fmt.Sprintf("goto_table:%d", t) }

const podMACFromIP = "move:NXM_OF_IP_DST[]->NXM_OF_ETH_DST[0..31],load:0xa58->NXM_OF_ETH_DST[32..47]"

// classify is table 0 (where a packet came in) and what hangs on vxlan0's address.
func (n Node) classify() []Flow {
	gw, local, cluster := n.Gateway(), n.HostSubnet, n.ClusterCIDR
	tun, vxlan := fmt.Sprintf("in_port=%d", TunPort), fmt.Sprintf("in_port=%d", VXLANPort)
	vnid := "move:NXM_NX_TUN_ID[0..31]->NXM_NX_REG0[]," + to(VXLANIngress)
	return []Flow{
		flow(Classify, 1000, "ct_state=-trk,ip", "ct(table=0)"),
		flow(Classify, 400, fmt.Sprintf("ip,%s,nw_src=%s", tun, gw), to(Track)),
		flow(Classify, 300, fmt.Sprintf("ip,%s,nw_src=%s,nw_dst=%s", tun, local, cluster), to(ServiceIngress)),
		flow(Classify, 250, fmt.Sprintf("ip,%s,nw_dst=224.0.0.0/4", tun), "drop"),
		flow(Classify, 200, fmt.Sprintf("arp,%s,arp_spa=%s,arp_tpa=%s", vxlan, cluster, local), vnid),
		flow(Classify, 200, fmt.Sprintf("ip,%s,nw_src=%s", vxlan, cluster), vnid),
		flow(Classify, 200, fmt.Sprintf("ip,%s,nw_dst=%s", vxlan, cluster), vnid),
		flow(Classify, 200, fmt.Sprintf("arp,%s,arp_spa=%s,arp_tpa=%s", tun, gw, cluster), to(Track)),
		flow(Classify, 200, "ip,"+tun, to(Track)),
		flow(Classify, 150, vxlan, "drop"),
		flow(Classify, 150, tun, "drop"),
		flow(Classify, 100, "arp", to(PodIngress)),
		flow(Classify, 100, "ip", to(PodIngress)),
		flow(Classify, 0, "", "drop"),
		flow(VXLANIngress, 210, fmt.Sprintf("ip,dl_dst=%s,nw_dst=%s", n.VXLANMAC, gw),
			fmt.Sprintf("set_field:%s->eth_dst,resubmit:10", n.TunMAC)),
		flow(VXLANIngress, 200, fmt.Sprintf("ip,dl_dst=%s,nw_dst=%s", n.VXLANMAC, local), podMACFromIP+",resubmit:10"),
	}
}

// tracking is table 30: only NetworkPolicy needs to know replies.
func (n Node) tracking() []Flow {
	flows := []Flow{flow(Track, 0, "", to(Route))}
	if n.Mode == NetworkPolicy {
		flows = append(flows, flow(Track, 100,
			fmt.Sprintf("ct_state=-rpl,ip,nw_src=%s,nw_dst=%s", n.ClusterCIDR, n.ClusterCIDR), "ct(commit,table=31)"))
	}
	return flows
}

func (n Node) routing() []Flow {
	gw, local, cluster := n.Gateway(), n.HostSubnet, n.ClusterCIDR
	return []Flow{
		flow(Route, 300, fmt.Sprintf("arp,arp_tpa=%s", gw), out(TunPort)),
		flow(Route, 300, fmt.Sprintf("ip,nw_dst=%s", gw), out(TunPort)),
		flow(Route, 250, fmt.Sprintf("ct_state=+rpl,ip,nw_dst=%s", local), "ct(table=70,nat)"),
		flow(Route, 200, fmt.Sprintf("arp,arp_tpa=%s", local), to(LocalARP)),
		flow(Route, 200, fmt.Sprintf("ip,nw_dst=%s", local), to(ToPod)),
		flow(Route, 100, fmt.Sprintf("arp,arp_tpa=%s", cluster), to(RemoteARP)),
		flow(Route, 100, fmt.Sprintf("ip,nw_dst=%s", cluster), to(ToRemote)),
		flow(Route, 100, fmt.Sprintf("ip,nw_dst=%s", n.ServiceCIDR), to(ToService)),
		flow(Route, 50, fmt.Sprintf("ip,in_port=%d,nw_dst=224.0.0.0/4", VXLANPort), to(MulticastIn)),
		flow(Route, 25, "ip,nw_dst=224.0.0.0/4", to(MulticastOut)),
		flow(Route, 0, "ip", to(NodeDNS)),
		flow(Route, 0, "arp", "drop"),
	}
}

// leaving is the way of packets that leave the cluster.
func (n Node) leaving() []Flow {
	return []Flow{
		flow(NodeDNS, 200, fmt.Sprintf("tcp,nw_dst=%s,tp_dst=53", n.NodeIP), out(TunPort)),
		flow(NodeDNS, 200, fmt.Sprintf("udp,nw_dst=%s,tp_dst=53", n.NodeIP), out(TunPort)),
		flow(NodeDNS, 0, "", to(EgressPolicy)),
		flow(EgressPolicy, 0, "", to(EgressRoute)),
		flow(EgressRoute, 150, "ct_state=+rpl", out(TunPort)),
		flow(EgressRoute, 0, "", out(TunPort)),
	}
}

func (n Node) multicast() []Flow {
	return []Flow{
		flow(MulticastOut, 0, "", "drop"),
		flow(MulticastRemote, 100, "", to(MulticastIn)),
		flow(MulticastIn, 0, "", "drop"),
	}
}

func (n Node) pod(p Pod) []Flow {
	ip := p.IP.As4()
	mac := fmt.Sprintf("00:00:%02x:%02x:%02x:%02x/00:00:ff:ff:ff:ff", ip[0], ip[1], ip[2], ip[3])
	source := fmt.Sprintf("load:%s->NXM_NX_REG0[],", hex(p.VNID))
	return []Flow{
		flow(PodIngress, 100, fmt.Sprintf("arp,in_port=%d,arp_spa=%s,arp_sha=%s", p.Port, p.IP, mac), source+to(Track)),
		flow(PodIngress, 100, fmt.Sprintf("ip,in_port=%d,nw_src=%s", p.Port, p.IP), source+to(PolicyEgress)),
		flow(ServiceIngress, 100, fmt.Sprintf("ip,nw_src=%s", p.IP), source+to(PolicyEgress)),
		flow(LocalARP, 100, fmt.Sprintf("arp,arp_tpa=%s", p.IP), out(p.Port)),
		flow(ToPod, 100, fmt.Sprintf("ip,nw_dst=%s", p.IP), fmt.Sprintf(
			"load:%s->NXM_NX_REG1[],load:%#x->NXM_NX_REG2[],goto_table:%d", hex(p.VNID), p.Port, PolicyIngress)),
	}
}

// hex is a number as ovs-ofctl shows it in register matches and loads.
func hex(v uint32) string {
	if v == 0 {
		return "0"
	}
	return fmt.Sprintf("%#x", v)
}

func (n Node) peer(p Peer) []Flow {
	send := fmt.Sprintf("move:NXM_NX_REG0[]->NXM_NX_TUN_ID[0..31],set_field:%s->tun_dst,%s", p.NodeIP, out(VXLANPort))
	flows := []Flow{
		flow(VXLANIngress, 100, fmt.Sprintf("tun_src=%s", p.NodeIP), to(Track)),
		flow(RemoteARP, 100, fmt.Sprintf("arp,arp_tpa=%s", p.Subnet), send),
		flow(ToRemote, 100, fmt.Sprintf("ip,nw_dst=%s", p.Subnet), send),
	}
	for i := range flows {
		flows[i].Cookie = uint64(p.Cookie)
	}
	return flows
}

// note is how the SDN knows its bridge again: the plug-in and the version of the rules.
func (n Node) note() Flow {
	plugin := map[Mode]int{Subnet: 0, Multitenant: 1, NetworkPolicy: 2}[n.Mode]
	return flow(Version, defaultPriority, "", fmt.Sprintf("note:%02x.%02x.00.00.00.00", plugin, RuleVersion))
}

// IsCurrent tells whether the flows of the Version table, as dumped, are those of a
// bridge in this mode: exactly one flow, the expected note. It decides whether the SDN
// keeps a bridge that it finds or makes a new one.
func IsCurrent(mode Mode, version []Flow) bool {
	return len(version) == 1 && version[0].Actions == Node{Mode: mode}.note().Actions
}

// vnids are the pods' network ids, sorted, each once.
func (n Node) vnids() []uint32 {
	var ids []uint32
	for _, p := range n.Pods {
		ids = append(ids, p.VNID)
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// userspace stands in for what a kernel datapath shares with the node's own stack: one
// connection table. There, a reply is known as one (+rpl) also when the node's stack
// saw the first packet, and table 31 undoes kube-proxy's translation of a service
// address. A userspace datapath has a table of its own, so here what goes to the node is
// committed, and replies of a pod to a connection that the node's stack has translated
// (mark 1) go back by way of the node.
func (n Node) userspace() []Flow {
	commitOut := "ct(commit)," + out(TunPort)
	tun := fmt.Sprintf("in_port=%d", TunPort)
	dns := fmt.Sprintf("nw_dst=%s,tp_dst=53", n.NodeIP)
	flows := []Flow{
		flow(Track, 120, fmt.Sprintf("ct_state=-rpl,ip,%s,nw_src=%s,nw_dst=%s", tun, n.HostSubnet, n.ClusterCIDR),
			"ct(commit,table=31,exec(set_field:0x1->ct_mark))"),
		flow(Track, 110, "ct_state=-rpl,ip,"+tun, "ct(commit,table=31)"),
		flow(Route, 260, fmt.Sprintf("ct_state=+rpl,ct_mark=0x1,ip,nw_dst=%s", n.HostSubnet),
			fmt.Sprintf("set_field:%s->eth_dst,%s", n.TunMAC, out(TunPort))),
		flow(ToService, 250, "ct_state=-rpl,ip", commitOut),
		flow(NodeDNS, 250, "ct_state=-rpl,tcp,"+dns, commitOut),
		flow(NodeDNS, 250, "ct_state=-rpl,udp,"+dns, commitOut),
		flow(EgressRoute, 100, "ct_state=-rpl,ip", commitOut),
	}
	for i := range flows {
		flows[i].Cookie = UserspaceCookie
	}
	return flows
}

// UserspaceCookie marks the flows that only a userspace datapath has.
const UserspaceCookie = 0x75737063

// prefixMatch is the match of the peers' prefix in a policy rule.
func prefixMatch(field string, p netip.Prefix) string {
	if p.IsSingleIP() {
		return fmt.Sprintf("%s=%s", field, p.Addr())
	}
	return fmt.Sprintf("%s=%s", field, p.Masked())
}
