package collect

import (
	"cmp"
	"context"
	"maps"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/sdn-tunnel/sdn-tunnel/api/v1alpha1"
	"github.com/sdn-tunnel/sdn-tunnel/internal/diagnose"
	"github.com/sdn-tunnel/sdn-tunnel/internal/mesh"
)

// dnsPort is that of name servers.
const dnsPort = 53

// clientPort stands for the port that a client would have, in packets that are followed.
const clientPort = 40000

// asks are what the agents of both ends are to look at.
func (r *reading) asks(q *diagnose.Question, podPort uint16) map[mesh.Ref]diagnose.Ask {
	asks := map[mesh.Ref]diagnose.Ask{}
	if q.From.Missing || q.From.Node == "" {
		return asks
	}
	near := diagnose.Ask{Watch: watch}
	near.Names = r.resolve(q)
	if to, ok := destination(q, podPort); ok {
		near.Probes = []diagnose.Probe{{From: source(q), To: to}}
	}
	if s := q.Service; s != nil && s.Object != nil && s.Cluster != q.From.Cluster && q.Host == "" {
		if vip, err := netip.ParseAddr(s.Object.Spec.ClusterIP); err == nil {
			near.Services = []diagnose.Target{{Address: vip, Protocol: q.Protocol, Port: q.Port}}
		}
	}
	if q.To == nil || q.To.Missing || q.To.Node == "" || q.To.Cluster == q.From.Cluster {
		asks[q.From.Ref()] = near
		return asks
	}
	far := diagnose.Ask{Watch: watch}
	near.Peers, far.Peers = r.peer(q.To.Ref(), q.From.Cluster), r.peer(q.From.Ref(), q.To.Cluster)
	packets(q, podPort, &near, &far)
	near.Routes = routes(r.end(q.From), r.end(q.To))
	far.Routes = near.Routes
	asks[q.From.Ref()], asks[q.To.Ref()] = near, far
	return asks
}

// resolve is what the source is to ask its name server for: the name that was asked for, and
// the one outside the mesh that it stands for.
func (r *reading) resolve(q *diagnose.Question) (asks []diagnose.NameAsk) {
	resolver := r.members[q.From.Cluster].found.Forward.Resolver
	if !resolver.IsValid() {
		return nil
	}
	ask := func(name string) {
		asks = append(asks, diagnose.NameAsk{From: source(q), Server: netip.AddrPortFrom(resolver, dnsPort), Name: name})
	}
	if q.Name != "" {
		ask(q.Name)
	}
	if q.Outside {
		ask(q.Aliases[len(q.Aliases)-1])
	}
	return asks
}

// source is where probes come from: the pod, or the node of one that has its network.
func source(q *diagnose.Question) netip.Addr {
	if q.From.HostNetwork {
		return netip.Addr{}
	}
	return q.From.Address
}

// destination is what the probe goes to.
func destination(q *diagnose.Question, podPort uint16) (diagnose.Target, bool) {
	t := diagnose.Target{Protocol: q.Protocol, Port: q.Port}
	switch s := q.Service; {
	case q.Outside:
		return t, false
	case q.Host == "" && s != nil && s.Object != nil && s.Object.Spec.ClusterIP != "" && s.Object.Spec.ClusterIP != corev1.ClusterIPNone:
		t.Address, _ = netip.ParseAddr(s.Object.Spec.ClusterIP)
	case q.To != nil:
		t.Address = q.To.Address
		if s != nil {
			t.Port = podPort
		}
	}
	if t.Protocol == "udp" { // no answer means nothing: the pod itself is pinged
		t.Protocol, t.Port = "icmp", 0
		if q.To != nil {
			t.Address = q.To.Address
		}
	}
	return t, t.Address.IsValid()
}

// peer is what an agent is told of another node.
func (r *reading) peer(ref mesh.Ref, other string) []diagnose.PeerAsk {
	for _, name := range []string{ref.Cluster, other} {
		m := r.members[name]
		if m == nil || m.found.Nodes[ref] == nil {
			continue
		}
		return []diagnose.PeerAsk{peerOf(m.found.Nodes[ref])}
	}
	return nil
}

func peerOf(tn *v1alpha1.TunnelNode) diagnose.PeerAsk {
	p := diagnose.PeerAsk{Name: tn.Name, PublicKey: tn.Spec.PublicKey}
	p.TunnelAddress, _ = netip.ParseAddr(tn.Spec.TunnelAddress)
	return p
}

// packets are the four that make a conversation.
func packets(q *diagnose.Question, podPort uint16, near, far *diagnose.Ask) {
	if !q.From.Address.IsValid() || !q.To.Address.IsValid() || q.To.HostNetwork || q.From.HostNetwork {
		return
	}
	port := q.Port
	if q.Service != nil {
		port = cmp.Or(podPort, q.Port)
	}
	there := diagnose.Packet{Name: diagnose.PacketOut, From: diagnose.FromPod, Src: q.From.Address, Dst: q.To.Address, Protocol: q.Protocol, SrcPort: clientPort, DstPort: port}
	back := diagnose.Packet{Name: diagnose.PacketReplyOut, From: diagnose.FromPod, Src: q.To.Address, Dst: q.From.Address, Protocol: q.Protocol, SrcPort: port, DstPort: clientPort, Reply: true}
	in, home := there, back
	in.Name, in.From = diagnose.PacketIn, diagnose.FromTunnel
	home.Name, home.From = diagnose.PacketReplyIn, diagnose.FromTunnel
	near.Packets, far.Packets = []diagnose.Packet{there, home}, []diagnose.Packet{in, back}
}

// end is the address that stands for one end.
func (r *reading) end(p *diagnose.Pod) netip.Addr {
	if !p.HostNetwork {
		return p.Address
	}
	if tn := r.members[p.Cluster].found.Nodes[p.Ref()]; tn != nil {
		return diagnose.Gateway(tn)
	}
	return netip.Addr{}
}

func routes(all ...netip.Addr) []netip.Addr {
	return slices.DeleteFunc(all, func(a netip.Addr) bool { return !a.IsValid() })
}

// whole asks the agents of all nodes for all nodes of the others, or of the most doubtful.
func (r *reading) whole(ctx context.Context) *diagnose.Evidence {
	e := r.evidence()
	nodes := doubtful(r.nodes(), maxNodes)
	asks := map[mesh.Ref]diagnose.Ask{}
	for _, tn := range nodes {
		ask := diagnose.Ask{Watch: meshWatch}
		for _, other := range nodes {
			if other.Spec.Cluster != tn.Spec.Cluster {
				ask.Peers = append(ask.Peers, peerOf(other))
				ask.Routes = append(ask.Routes, routes(diagnose.Gateway(other))...)
			}
		}
		ask.Routes = append(ask.Routes, routes(diagnose.Gateway(tn))...)
		asks[mesh.Ref{Cluster: tn.Spec.Cluster, Node: tn.Spec.Node}] = ask
	}
	r.ask(ctx, e, asks)
	return e
}

// doubtful are so many nodes at most: of each cluster in turn one, those first that have most
// peers which are not up.
func doubtful(nodes []*v1alpha1.TunnelNode, most int) (picked []*v1alpha1.TunnelNode) {
	nodes = slices.SortedFunc(slices.Values(nodes), func(a, b *v1alpha1.TunnelNode) int {
		return cmp.Or(cmp.Compare(notUp(b), notUp(a)), cmp.Compare(a.Name, b.Name))
	})
	of := map[string][]*v1alpha1.TunnelNode{}
	for _, tn := range nodes {
		of[tn.Spec.Cluster] = append(of[tn.Spec.Cluster], tn)
	}
	clusters := slices.Sorted(maps.Keys(of))
	for i := 0; len(picked) < min(most, len(nodes)); i++ {
		for _, name := range clusters {
			if i < len(of[name]) && len(picked) < most {
				picked = append(picked, of[name][i])
			}
		}
	}
	return picked
}

// nodes are those of every member, of one that is away as the others know them.
func (r *reading) nodes() []*v1alpha1.TunnelNode {
	all := map[mesh.Ref]*v1alpha1.TunnelNode{}
	for _, name := range r.names {
		for ref, tn := range r.members[name].found.Nodes {
			if owner := r.members[ref.Cluster]; ref.Cluster == name || owner != nil && owner.found.Error != "" {
				all[ref] = tn
			}
		}
	}
	return slices.Collect(maps.Values(all))
}

// notUp is how doubtful a node is.
func notUp(tn *v1alpha1.TunnelNode) int32 {
	if p := tn.Status.Peers; p != nil {
		return p.Stale + p.Never
	}
	return maxNodes
}
