package tables

import (
	"fmt"
	"net/netip"
	"strings"
)

const (
	toPort = "output:NXM_NX_REG2[]"
	// Priorities of the tables of policy.
	priorityReply, priorityAllow, prioritySelected, priorityOpen = 200, 150, 100, 50
)

// policy is tables 27 and 80: whether two pods may talk.
func (n Node) policy() []Flow {
	flows := []Flow{
		flow(PolicyEgress, 0, "", "drop"),
		flow(PolicyIngress, 300, fmt.Sprintf("ip,nw_src=%s", n.Gateway()), toPort),
		flow(PolicyIngress, 0, "", "drop"),
	}
	switch n.Mode {
	case Subnet:
		flows = append(flows, flow(PolicyEgress, 500, "", to(Track)), flow(PolicyIngress, priorityReply, "", toPort))
	case Multitenant:
		flows = append(flows, flow(PolicyEgress, 500, "", to(Track)),
			flow(PolicyIngress, 200, "reg0=0", toPort), flow(PolicyIngress, 200, "reg1=0", toPort))
		for _, id := range n.vnids() {
			if id != 0 {
				flows = append(flows, flow(PolicyIngress, 100, fmt.Sprintf("reg0=%#x,reg1=%#x", id, id), toPort))
			}
		}
	case NetworkPolicy:
		flows = append(flows,
			flow(PolicyEgress, 300, fmt.Sprintf("ip,nw_dst=%s", n.ServiceCIDR), to(Track)),
			flow(PolicyEgress, priorityReply, "ct_state=+rpl,ip", to(Track)),
			flow(PolicyIngress, priorityReply, "ct_state=+rpl,ip", toPort))
		for _, ns := range n.Policies {
			flows = append(flows, ns.flows()...)
		}
	}
	return flows
}

func (ns Namespace) flows() []Flow {
	egress := direction{table: PolicyEgress, own: "reg0", peer: "reg1", ownIP: "nw_src", peerIP: "nw_dst", pass: to(Track)}
	ingress := direction{table: PolicyIngress, own: "reg1", peer: "reg0", ownIP: "nw_dst", peerIP: "nw_src", pass: toPort}
	return append(egress.flows(ns.VNID, ns.Egress), ingress.flows(ns.VNID, ns.Ingress)...)
}

// direction is one policy table: which register and address is the namespace's own.
type direction struct {
	table         Table
	own, peer     string
	ownIP, peerIP string
	pass          string
}

func (d direction) flows(vnid uint32, r Rules) []Flow {
	own := fmt.Sprintf("%s=%s", d.own, hex(vnid))
	var flows []Flow
	for _, a := range r.Allow {
		flows = append(flows, flow(d.table, priorityAllow, own+","+d.match(a), d.pass))
	}
	if r.Isolated {
		return unique(flows)
	}
	for _, ip := range r.Selected {
		flows = append(flows, flow(d.table, prioritySelected, fmt.Sprintf("%s,ip,%s=%s", own, d.ownIP, ip), "drop"))
	}
	return unique(append(flows, flow(d.table, priorityOpen, own, d.pass)))
}

func (d direction) match(a Allow) string {
	var m []string
	ip := a.Proto
	if ip == "" && (a.Pod.IsValid() || a.PeerCIDR.IsValid()) {
		ip = "ip"
	}
	if ip != "" {
		m = append(m, ip)
	}
	if a.Pod.IsValid() {
		m = append(m, prefixMatch(d.ownIP, netip.PrefixFrom(a.Pod, a.Pod.BitLen())))
	}
	if a.PeerVNID != nil {
		m = append(m, fmt.Sprintf("%s=%s", d.peer, hex(*a.PeerVNID)))
	}
	if a.PeerCIDR.IsValid() {
		m = append(m, prefixMatch(d.peerIP, a.PeerCIDR))
	}
	if a.Port != 0 {
		m = append(m, fmt.Sprintf("tp_dst=%d", a.Port))
	}
	return strings.Join(m, ",")
}

// unique drops later flows with an earlier one's match: the first would be overwritten.
func unique(flows []Flow) []Flow {
	seen := make(map[string]bool, len(flows))
	kept := flows[:0]
	for _, f := range flows {
		if !seen[f.key()] {
			kept = append(kept, f)
			seen[f.key()] = true
		}
	}
	return kept
}
