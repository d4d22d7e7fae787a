package diagnose

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/sdn-tunnel/sdn-tunnel/internal/mesh"
)

const agentRepairs = "the agent puts it back within a second: its log says what it puts back; end what takes it away"

// node checks links, sysctls and routes of a node, which has local and is to reach remote.
func (w *walk) node(ref mesh.Ref, local, remote netip.Addr) {
	v := w.seen(ref)
	if v == nil {
		return
	}
	object := nodeName(ref)
	if !v.Namespace {
		w.found("namespace-missing", object, "the tunnel's network namespace is not there"+failing(v), agentRepairs)
		return
	}
	for _, l := range v.Links {
		switch {
		case l.Missing:
			w.found("link-missing", object, "its link "+l.Name+" is not there"+failing(v), linkRemedy(l.Name))
		case !l.Up:
			w.found("link-down", object, "its link "+l.Name+" is down", linkRemedy(l.Name))
		}
	}
	for _, s := range v.Sysctls {
		w.found("sysctl", object, fmt.Sprintf("sysctl %s of %s is %s and has to be %s: packets are dropped there", s.Name, namespaceOf(s.Namespace), s.Value, s.Want),
			"find what sets it (sysctl.d, tuned); the agent sets it right when it looks again, within a minute, or when it is restarted")
	}
	w.route(v, ref, OfTunnel, remote, deviceName)
	w.route(v, ref, OfTunnel, local, insideName)
	w.route(v, ref, OfNode, remote, gatewayName)
}

// seen is what a node's agent saw, if it matters; nil: the step says why not.
func (w *walk) seen(ref mesh.Ref) *NodeView {
	if why := w.apart(); why != "" {
		w.skip(why)
		return nil
	}
	v := w.view(ref)
	if v == nil && w.tunnel() {
		w.unknown("the agent of " + ref.String() + " could not be asked")
	}
	return v
}

// Names of links on a node.
const (
	deviceName  = "sdntun-wg"
	insideName  = "sdntun0"
	gatewayName = "tun0"
)

func linkRemedy(name string) string {
	if name == gatewayName {
		return "it is the SDN's own: is OpenShift SDN running on the node?"
	}
	return agentRepairs
}

func namespaceOf(place string) string {
	if place == OfTunnel {
		return "the tunnel's namespace"
	}
	return "the node"
}

// failing is what the agent says that it cannot make.
func failing(v *NodeView) string {
	if v.Agent == nil || len(v.Agent.Failed) == 0 {
		return ""
	}
	return "; its agent says: " + strings.Join(v.Agent.Failed, "; ")
}

// route checks that packets to an address leave by a link. Those of the node's own namespace
// matter to what has the node's network.
func (w *walk) route(v *NodeView, ref mesh.Ref, place string, to netip.Addr, link string) {
	i := slices.IndexFunc(v.Routes, func(r Route) bool { return r.Namespace == place && r.To == to })
	if i < 0 || !to.IsValid() || v.Routes[i].Link == link || v.Routes[i].Local {
		return
	}
	r := v.Routes[i]
	what := fmt.Sprintf("%s has no route to %v by %s", namespaceOf(place), to, link)
	switch {
	case r.Error != "":
		what += ": " + r.Error
	case r.Link != "":
		what += ": it sends such packets to " + r.Link
	}
	note := w.found
	if place == OfNode && (w.q.From == nil || !w.q.From.HostNetwork) && (w.q.To == nil || !w.q.To.HostNetwork) {
		note = w.warn
	}
	note("route-missing-"+place, nodeName(ref), what+failing(v), agentRepairs)
}

// peer checks that a node's WireGuard has the other node as it should.
func (w *walk) peer(ref, other mesh.Ref, remote netip.Addr) {
	if !w.tunnel() {
		return
	}
	v, theirs := w.view(ref), w.tunnelNode(other, ref.Cluster)
	if v == nil || theirs == nil {
		w.unknown(fmt.Sprintf("what WireGuard of %s has could not be read", ref))
		return
	}
	object := nodeName(ref)
	if v.Device == nil {
		w.found("wireguard-missing", object, "its WireGuard cannot be read: "+v.DeviceError+failing(v), "in userspace it is part of the agent: restart the agent, whose log says what is wrong")
		return
	}
	if own := w.tunnelNode(ref, other.Cluster); own != nil && own.Spec.PublicKey != "" && own.Spec.PublicKey != v.Device.PublicKey {
		w.found("wrong-key", object, fmt.Sprintf("its WireGuard has the public key %s; its TunnelNode says %s", v.Device.PublicKey, own.Spec.PublicKey), "restart the agent of the node; its log says why it does not write its TunnelNode")
	}
	if v.Device.ListenPort == 0 {
		w.found("port-not-bound", object, "its WireGuard listens on no port"+failing(v), "`ss -lunp` on the node shows who has the port; or choose another tunnel_port")
	}
	i := slices.IndexFunc(v.Device.Peers, func(p DevicePeer) bool { return p.PublicKey == theirs.Spec.PublicKey })
	if i < 0 {
		w.missingPeer(v, ref, other, remote)
		return
	}
	p := v.Device.Peers[i]
	if remote.IsValid() && !within(p.AllowedIPs, remote) {
		w.found("allowed-ips", object, fmt.Sprintf("WireGuard does not let %v come from, or go to, %s: it allows %v", remote, other, p.AllowedIPs), agentRepairs)
	}
	if p.Endpoint == "" {
		w.found("no-endpoint", object, fmt.Sprintf("WireGuard does not know where %s is", other), agentRepairs)
	}
	if p.LastHandshake != nil {
		w.tell(fmt.Sprintf("%s at %s, handshake %.0f s ago", other, p.Endpoint, v.Time.Sub(*p.LastHandshake).Seconds()))
	}
}

func (w *walk) missingPeer(v *NodeView, ref, other mesh.Ref, remote netip.Addr) {
	for _, p := range v.Device.Peers {
		if remote.IsValid() && within(p.AllowedIPs, remote) {
			w.found("wrong-key", nodeName(ref), fmt.Sprintf("WireGuard has %v behind a peer with the public key %s; that of %s is another", remote, p.PublicKey, other), agentRepairs+". The key in this cluster's TunnelNode "+other.String()+" has to be the node's own")
			return
		}
	}
	w.found("peer-missing", nodeName(ref), fmt.Sprintf("WireGuard has no peer %s%s", other, failing(v)), w.cluster(ref.Cluster).kubectl("describe tunnelnodes "+other.String()+" "+ref.String())+": is something refused? Else: "+agentRepairs)
}
