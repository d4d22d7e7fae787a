package meshobj

import (
	"fmt"
	"net/netip"

	"github.com/sdn-tunnel/sdn-tunnel/api/v1alpha1"
	"github.com/sdn-tunnel/sdn-tunnel/internal/mesh"
)

// FromObjects makes the view of node self from what its cluster's API holds. port is the
// mesh's default UDP port. A LinkedCluster with anything unreadable is left out whole, for
// half a declaration must not be believed; of a TunnelNode only what is unreadable is.
func FromObjects(clusters []v1alpha1.LinkedCluster, nodes []v1alpha1.TunnelNode, self mesh.Ref, port uint16) (mesh.View, []mesh.Refusal) {
	v := mesh.View{Self: self, ListenPort: port,
		Clusters: make([]mesh.Cluster, 0, len(clusters)), Nodes: make([]mesh.Node, 0, len(nodes))}
	var refusals []mesh.Refusal
	for i := range clusters {
		r := reader{ref: mesh.Ref{Cluster: clusters[i].Name}}
		c := r.cluster(&clusters[i])
		if len(r.refusals) == 0 {
			v.Clusters = append(v.Clusters, c)
		}
		refusals = append(refusals, r.refusals...)
	}
	for i := range nodes {
		n := &nodes[i]
		r := reader{ref: mesh.Ref{Cluster: n.Spec.Cluster, Node: n.Spec.Node}}
		if r.ref.String() != n.Name {
			r.refuse(mesh.Malformed, "metadata.name", "%q is not <spec.cluster>.<spec.node>", n.Name)
		} else {
			v.Nodes = append(v.Nodes, r.node(n))
		}
		refusals = append(refusals, r.refusals...)
	}
	return v, refusals
}

// reader reads one object and gathers what it cannot read.
type reader struct {
	ref      mesh.Ref
	refusals []mesh.Refusal
}

func (r *reader) refuse(reason mesh.Reason, field, format string, args ...any) {
	r.refusals = append(r.refusals, mesh.Refusal{
		Ref: r.ref, Reason: reason, Field: field, Detail: fmt.Sprintf(format, args...)})
}

func (r *reader) cluster(o *v1alpha1.LinkedCluster) mesh.Cluster {
	c := mesh.Cluster{
		Name:           o.Name,
		PodCIDRs:       r.prefixes("spec.podCIDRs", o.Spec.PodCIDRs),
		ServiceCIDRs:   r.prefixes("spec.serviceCIDRs", o.Spec.ServiceCIDRs),
		GlobalPodCIDRs: r.prefixes("spec.globalPodCIDRs", o.Spec.GlobalPodCIDRs),
		Topology:       mesh.Mesh,
	}
	if ps := r.prefixes("spec.tunnelCIDR", []v1alpha1.CIDR{o.Spec.TunnelCIDR}); len(ps) == 1 {
		c.TunnelCIDR = ps[0]
	}
	switch o.Spec.Topology {
	case "", v1alpha1.TopologyMesh:
	case v1alpha1.TopologyGateway:
		c.Topology = mesh.Gateway
	default:
		r.refuse(mesh.Malformed, "spec.topology", "%q is neither Mesh nor Gateway", o.Spec.Topology)
	}
	return c
}

func (r *reader) node(o *v1alpha1.TunnelNode) mesh.Node {
	n := mesh.Node{
		Ref:         r.ref,
		PublicKey:   r.key(o.Spec.PublicKey),
		Endpoint:    r.endpoint(o.Spec.Endpoint),
		ListenPort:  r.port("spec.listenPort", o.Spec.ListenPort),
		HostSubnets: r.prefixes("spec.hostSubnets", o.Spec.HostSubnets),
		Gateway:     o.Spec.Gateway,
		Since:       o.CreationTimestamp.Time,
	}
	if o.Spec.TunnelAddress != "" {
		n.TunnelAddress, _ = r.address("spec.tunnelAddress", o.Spec.TunnelAddress)
	}
	for i, s := range o.Spec.NodeAddresses {
		if a, ok := r.address(fmt.Sprintf("spec.nodeAddresses[%d]", i), s); ok {
			n.NodeAddresses = append(n.NodeAddresses, a)
		}
	}
	return n
}

func (r *reader) key(s string) mesh.Key {
	if s == "" {
		return mesh.Key{} // not written yet
	}
	k, err := mesh.ParseKey(s)
	switch {
	case err != nil:
		r.refuse(mesh.InvalidKey, "spec.publicKey", "%v", err)
		return mesh.Key{}
	case k.IsZero():
		r.refuse(mesh.InvalidKey, "spec.publicKey", "the key is all zero")
	}
	return k
}

func (r *reader) endpoint(e *v1alpha1.Endpoint) mesh.Endpoint {
	if e == nil {
		return mesh.Endpoint{} // not known yet
	}
	port := r.port("spec.endpoint.port", e.Port)
	if port == 0 || e.Host == "" {
		return mesh.Endpoint{}
	}
	return mesh.Endpoint{Host: e.Host, Port: port}
}

func (r *reader) port(field string, p int32) uint16 {
	if p < 0 || p > 65535 {
		r.refuse(mesh.Malformed, field, "%d is not a UDP port", p)
		return 0
	}
	return uint16(p)
}

// prefixes leaves out what it refuses, so indexes may shift; the refusal has the right one.
func (r *reader) prefixes(field string, in []v1alpha1.CIDR) []netip.Prefix {
	var out []netip.Prefix
	for i, s := range in {
		p, err := netip.ParsePrefix(string(s))
		if err != nil || p != p.Masked() || p.Addr().Is4In6() {
			r.refuse(mesh.Malformed, fmt.Sprintf("%s[%d]", field, i), "%q is not an address prefix without host bits", s)
			continue
		}
		out = append(out, p)
	}
	return out
}

func (r *reader) address(field, s string) (netip.Addr, bool) {
	a, err := netip.ParseAddr(s)
	if err != nil || a.Zone() != "" {
		r.refuse(mesh.Malformed, field, "%q is not an IP address", s)
		return netip.Addr{}, false
	}
	return a.Unmap(), true
}
