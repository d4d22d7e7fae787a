package ovsflow

import (
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/digitalocean/go-openvswitch/ovs"
)

// Flows are the flows that the plan asks for, in canonical order. OpenShift SDN's
// pipeline is IPv4 only, so prefixes of the other family are left out.
//
// For each pair of a local subnet and a remote network there are:
//
//   - out, at TableRoute: what a local pod or the node sends to the remote network. The
//     connection is committed, else an isolated pod would lose the replies.
//   - in, at TableClassify: what the tunnel brings for a local pod. It takes the network
//     id that the plan gives to remote traffic and goes on where policy is applied.
//   - node: the same for the node itself, by its gateway address, to tun0's own MAC.
//   - error: ICMP errors of tunnel namespaces, here and at the other end, to pods and node.
func Flows(p Plan) ([]*ovs.Flow, error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	b := builder{p: p}
	networks := slices.Concat(ipv4(p.Remote), ipv4(p.RemoteService))
	for _, local := range ipv4(p.Local) {
		for _, remote := range networks {
			b.out(local, remote)
			b.in(priorityPods, ovs.ProtocolIPv4, remote, local, p.VNID, b.toPod())
		}
	}
	errors := ipv4(p.RemoteTunnel)
	if p.TunnelAddress.Is4() {
		errors = append(errors, netip.PrefixFrom(p.TunnelAddress, 32))
	}
	gateway := netip.PrefixFrom(p.Gateway, 32)
	for _, from := range networks {
		b.in(priorityNode, ovs.ProtocolIPv4, from, gateway, 0, b.toNode())
	}
	for _, from := range errors {
		b.in(priorityNodeError, ovs.ProtocolICMPv4, from, gateway, 0, b.toNode())
		for _, local := range ipv4(p.Local) {
			b.in(priorityError, ovs.ProtocolICMPv4, from, local, 0, b.toPod())
		}
	}
	return Sort(b.flows)
}

// Validate says what is missing or wrong in the plan, and what to do.
func (p Plan) Validate() error {
	// Ports above 0xfeff are reserved (OFPP_MAX of OpenFlow 1.0, the limit that Open
	// vSwitch keeps for numbers it assigns).
	if p.Port == 0 || p.Port > 0xfeff {
		return fmt.Errorf("plan of flows: port %d: want the OpenFlow port number of the tunnel's port, 1 to 65279; is it on the bridge?", p.Port)
	}
	if err := checkMAC("tunnel", p.TunnelMAC); err != nil {
		return err
	}
	if err := checkMAC("gateway", p.GatewayMAC); err != nil {
		return err
	}
	if p.VNID > 0xffffff {
		return fmt.Errorf("plan of flows: VNID %#x: a network id has 24 bits", p.VNID)
	}
	local := ipv4(p.Local)
	if len(local) == 0 {
		return fmt.Errorf("plan of flows: no IPv4 host subnet of this node; OpenShift SDN assigns one when the node joins")
	}
	if !slices.ContainsFunc(local, func(s netip.Prefix) bool { return s.Contains(p.Gateway) }) {
		return fmt.Errorf("plan of flows: gateway %v is in none of the node's host subnets %v; it is the address of tun0", p.Gateway, local)
	}
	if p.TunnelAddress.IsValid() && slices.ContainsFunc(local, func(s netip.Prefix) bool { return s.Contains(p.TunnelAddress) }) {
		return fmt.Errorf("plan of flows: tunnel address %v lies in a host subnet; it needs a network of its own", p.TunnelAddress)
	}
	return p.checkRemote(local)
}

func (p Plan) checkRemote(local []netip.Prefix) error {
	for _, s := range slices.Concat(p.Local, p.Remote, p.RemoteService, p.RemoteTunnel) {
		if !s.IsValid() || s != s.Masked() {
			return fmt.Errorf("plan of flows: %v is not an address prefix without host bits", s)
		}
	}
	for _, r := range slices.Concat(p.Remote, p.RemoteService, p.RemoteTunnel) {
		for _, l := range local {
			if r.Overlaps(l) {
				return fmt.Errorf("plan of flows: remote network %v overlaps the host subnet %v; its flows would take local traffic", r, l)
			}
		}
	}
	return nil
}

func checkMAC(what string, mac net.HardwareAddr) error {
	if len(mac) != 6 || mac[0]&1 != 0 || slices.Equal(mac, make(net.HardwareAddr, 6)) {
		return fmt.Errorf("plan of flows: %s MAC %q: want the 6 bytes of one interface's hardware address", what, mac)
	}
	return nil
}

func ipv4(ps []netip.Prefix) []netip.Prefix {
	var v4 []netip.Prefix
	for _, p := range ps {
		if p.Addr().Is4() {
			v4 = append(v4, p)
		}
	}
	return v4
}

// builder gathers the flows of a plan.
type builder struct {
	p     Plan
	flows []*ovs.Flow
}

func (b *builder) out(local, remote netip.Prefix) {
	b.flows = append(b.flows, &ovs.Flow{
		Cookie: Cookie, Table: TableRoute, Priority: priorityPods, Protocol: ovs.ProtocolIPv4,
		Matches: fromTo(local, remote),
		Actions: []ovs.Action{
			ovs.ConnectionTracking("commit"),
			ovs.SetField(b.p.TunnelMAC.String(), fieldMAC),
			ovs.Output(int(b.p.Port)),
		},
	})
}

// in takes what the tunnel brings, gives it a hardware address and a network id, and
// sends it on to TableRoute: data with its connection committed, so that an
// egress-isolated pod may answer; ICMP errors belong to a connection that is.
func (b *builder) in(priority int, proto ovs.Protocol, from, to netip.Prefix, vnid uint32, address []ovs.Action) {
	next := ovs.ConnectionTracking(fmt.Sprintf("commit,table=%d", TableRoute))
	if proto == ovs.ProtocolICMPv4 {
		next = gotoTable(TableRoute)
	}
	b.flows = append(b.flows, &ovs.Flow{
		Cookie: Cookie, Table: TableClassify, Priority: priority, Protocol: proto, InPort: int(b.p.Port),
		Matches: fromTo(from, to),
		Actions: append(address, ovs.Load(number(uint64(vnid)), fieldSourceVNID), next),
	})
}

// toPod addresses the packet to the pod's own MAC, which follows from its IP address.
func (b *builder) toPod() []ovs.Action {
	return []ovs.Action{ovs.Move(fieldIPDst, fieldMACLow), ovs.Load(podMACPrefix, fieldMACHigh)}
}

// toNode addresses the packet to tun0.
func (b *builder) toNode() []ovs.Action {
	return []ovs.Action{ovs.SetField(b.p.GatewayMAC.String(), fieldMAC)}
}

func fromTo(src, dst netip.Prefix) []ovs.Match {
	return []ovs.Match{ovs.NetworkSource(address(src)), ovs.NetworkDestination(address(dst))}
}
