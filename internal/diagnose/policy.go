package diagnose

import (
	"fmt"
	"strings"

	networkingv1 "k8s.io/api/networking/v1"

	"github.com/sdn-tunnel/sdn-tunnel/internal/mesh"
	"github.com/sdn-tunnel/sdn-tunnel/ovsflow"
)

// Names of the packets that are followed through the switches' tables.
const (
	PacketOut      = "out"
	PacketIn       = "in"
	PacketReplyOut = "reply-out"
	PacketReplyIn  = "reply-in"
)

// traced finds a packet's trace; nil if there is none.
func (w *walk) traced(ref mesh.Ref, name string) *TraceView {
	v := w.view(ref)
	if v == nil {
		return nil
	}
	for i := range v.Traces {
		if v.Traces[i].Packet.Name == name {
			return &v.Traces[i]
		}
	}
	return nil
}

// flows checks what is of ours on a node's switch. It tells whether to go on.
func (w *walk) flows(ref mesh.Ref) bool {
	v := w.seen(ref)
	if v == nil {
		return false
	}
	switch n := len(v.Switch.Missing); {
	case v.Switch.Error != "":
		w.found("switch-port", nodeName(ref), "the tunnel is not on the SDN's switch: "+v.Switch.Error+failing(v), agentRepairs)
		return false
	case n > 0:
		w.found("flows-missing", nodeName(ref), fmt.Sprintf("%d of sdn-tunnel's flows are missing on the SDN's bridge, %s the first%s", n, v.Switch.Missing[0], failing(v)), agentRepairs)
		return false
	}
	return true
}

// leaving follows the packet from the pod to the tunnel.
func (w *walk) leaving() {
	if !w.flows(w.near) {
		return
	}
	t := w.traced(w.near, PacketOut)
	if t == nil || t.Arrives {
		w.tell("to the tunnel's port")
		return
	}
	object := "Pod " + w.q.From.String()
	if w.unplugged(t, object) {
		return
	}
	switch t.Table {
	case ovsflow.TableEgressPolicy:
		w.found("egress-policy", object, "a NetworkPolicy of its namespace does not let it out: "+policies(w.q.From, networkingv1.PolicyTypeEgress), "allow egress to the other cluster's networks by ipBlock")
	case ovsflow.TableFromPod:
		w.found("spoofed", object, "the SDN knows another address at its port than "+t.Packet.Src.String(), "the SDN plugged another pod in there: restart the pod")
	default:
		w.foreign(t, w.near)
	}
}

// unplugged tells of a trace that could not be made.
func (w *walk) unplugged(t *TraceView, object string) bool {
	if t.Error == "" {
		return false
	}
	if strings.Contains(t.Error, "no port for the pod") {
		w.found("pod-unplugged", object, t.Error, "the SDN plugs pods in: restart the pod, and look at the SDN's log on that node")
	} else {
		w.unknown("a packet could not be followed through the switch: " + t.Error)
	}
	return true
}

// foreign tells of a flow, not the SDN's policy, that keeps a packet from where it should go.
func (w *walk) foreign(t *TraceView, ref mesh.Ref) {
	w.found("foreign-flow", nodeName(ref), fmt.Sprintf("a flow in table %d of the SDN's bridge takes the packet elsewhere: %s", t.Table, t.Last), "it is neither sdn-tunnel's nor as the SDN makes it: find who made it (ovs-ofctl -O OpenFlow13 dump-flows br0 table="+fmt.Sprint(t.Table)+"), and delete it")
}

// arriving follows the packet from the tunnel to the pod.
func (w *walk) arriving() {
	if !w.flows(w.far) {
		return
	}
	t := w.traced(w.far, PacketIn)
	if t == nil || t.Arrives {
		w.tell("to the pod's port")
		return
	}
	object := "Pod " + w.q.To.String()
	if w.unplugged(t, object) {
		return
	}
	switch t.Table {
	case ovsflow.TableIngressPolicy:
		w.policy(object)
	case ovsflow.TableToPod:
		w.found("pod-unplugged", object, "the SDN's switch does not know its address "+t.Packet.Dst.String(), "the SDN plugs pods in: restart the pod, and look at the SDN's log on that node")
	default:
		w.foreign(t, w.far)
	}
}

// policy tells why the SDN does not let a packet to the pod.
func (w *walk) policy(object string) {
	if names := policies(w.q.To, networkingv1.PolicyTypeIngress); names != "" {
		w.found("network-policy", object, "a NetworkPolicy does not let it in: "+names+"; pods of other clusters come with network id 0, as what is global", "allow them by ipBlock with the other cluster's pod network, or from namespaces with network id 0")
		return
	}
	id := "another one"
	if w.q.To.NetID != nil {
		id = fmt.Sprint(*w.q.To.NetID)
	}
	w.found("netid", object, fmt.Sprintf("the SDN isolates its namespace %s, network id %s, from that of remote traffic", w.q.To.Namespace, id), "tunnel_vnid 0 lets remote traffic in everywhere (the default); or oc adm pod-network make-projects-global "+w.q.To.Namespace)
}

// policies names those of a pod that are of a type.
func policies(p *Pod, kind networkingv1.PolicyType) string {
	var names []string
	for _, np := range p.Policies {
		for _, t := range np.Spec.PolicyTypes {
			if t == kind {
				names = append(names, np.Namespace+"/"+np.Name)
			}
		}
	}
	return strings.Join(names, ", ")
}

// wayBack follows the reply.
func (w *walk) wayBack() {
	if !w.tunnel() {
		return
	}
	looked := false
	for _, side := range []struct {
		ref  mesh.Ref
		name string
		pod  *Pod
	}{{w.far, PacketReplyOut, w.q.To}, {w.near, PacketReplyIn, w.q.From}} {
		t := w.traced(side.ref, side.name)
		if t == nil {
			continue
		}
		looked = true
		if t.Arrives {
			w.tell("by the same tunnel")
			continue
		}
		if w.unplugged(t, "Pod "+side.pod.String()) {
			continue
		}
		if t.Table == ovsflow.TableEgressPolicy || t.Table == ovsflow.TableIngressPolicy {
			w.found("reply-policy", "Pod "+side.pod.String(), fmt.Sprintf("policy of the SDN drops replies: table %d, %s", t.Table, t.Last), "replies of known connections pass policy by connection tracking: has the SDN a rule of its own there?")
			continue
		}
		w.foreign(t, side.ref)
	}
	if !looked {
		w.skip("no reply could be followed")
	}
}

// destination says how the real packet fared.
func (w *walk) destination() {
	if w.q.From == nil {
		return
	}
	p := w.probe()
	switch {
	case w.q.Outside:
		w.skip(w.apart())
	case p == nil && (!w.sourced() || w.q.To != nil && !w.q.To.Address.IsValid()):
		w.skip(w.nothing())
	case p == nil:
		w.unknown("nothing could be sent from " + w.q.From.String() + w.notSent())
	case p.Refused:
		to := fmt.Sprintf("%v port %d", p.Probe.To.Address, p.Probe.To.Port)
		w.found("refused-connection", to, "it refuses the connection: nothing listens there, or the service has no endpoint that does", "does the program in the pod listen on that port, and on all addresses?")
	case p.Answered:
		w.tell(fmt.Sprintf("%v answered %s in %.1f ms", p.Probe.To.Address, p.Probe.To.Protocol, p.Milliseconds))
	case len(w.findings) == 0 && w.local():
		w.found("same-cluster", fmt.Sprintf("the way to %v", p.Probe.To.Address), fmt.Sprintf("it does not answer %s: %s; %s", p.Probe.To.Protocol, p.Said, w.apart()),
			"look at the cluster's own network, at the NetworkPolicies of both namespaces, and whether the pod itself answers at home")
	case len(w.findings) == 0:
		w.found("lost", fmt.Sprintf("the way to %v", p.Probe.To.Address), fmt.Sprintf("all steps look right, and it does not answer %s: %s", p.Probe.To.Protocol, p.Said),
			"does the pod itself answer at home? Else sdn-tunnel gather, and tcpdump in the tunnel's namespace")
	default:
		w.at.Outcome, w.at.Detail = Fault, fmt.Sprintf("%v does not answer %s: %s", p.Probe.To.Address, p.Probe.To.Protocol, p.Said)
	}
}

// nothing says why there is nothing to be sent.
func (w *walk) nothing() string {
	if w.sourced() && w.q.To != nil && !w.q.To.Missing {
		return "the pod " + w.q.To.String() + " has no address"
	}
	return w.noTunnel()
}

func (w *walk) notSent() string {
	if n := w.e.Nodes[w.near]; n != nil && n.Error != "" {
		return suffix(n.Error)
	}
	if v := w.view(w.near); v != nil && len(v.Probes) > 0 {
		return suffix(v.Probes[0].Error)
	}
	return ""
}
