package diagnose

import (
	"net/netip"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sdn-tunnel/sdn-tunnel/api/v1alpha1"
	"github.com/sdn-tunnel/sdn-tunnel/internal/mesh"
)

var (
	east1 = mesh.Ref{Cluster: "east", Node: "east-1"}
	west1 = mesh.Ref{Cluster: "west", Node: "west-1"}
	now   = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
)

const (
	eastKey = "39/ek5tf6/BhWH5vSZmgK90NqD1vOO0fFc3pfFeTflc="
	westKey = "Qe3oe2JPQF8eAspUBWOpep3AmJJ8POnn9Cd/fN5yMw8="
)

// world is a mesh of two clusters in which nothing is wrong, and a question about it.
type world struct {
	e *Evidence
	q Question
}

func (w *world) east() *Cluster  { return w.e.Clusters["east"] }
func (w *world) west() *Cluster  { return w.e.Clusters["west"] }
func (w *world) near() *NodeView { return &w.e.Nodes[east1].View }
func (w *world) far() *NodeView  { return &w.e.Nodes[west1].View }

// silence: nothing passes between the two any more.
func (w *world) silence() {
	for _, v := range []*NodeView{w.near(), w.far()} {
		v.Peers[0] = PeerView{Name: v.Peers[0].Name, Error: "no answer"}
		v.Device.Peers[0].Received = 0
	}
	w.lost()
}

// lost: the pod does not answer.
func (w *world) lost() {
	for i := range w.near().Probes {
		p := &w.near().Probes[i]
		p.Answered, p.Said = false, "no answer"
	}
}

func link(name, pods, services, tunnels string) *v1alpha1.LinkedCluster {
	return &v1alpha1.LinkedCluster{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1alpha1.LinkedClusterSpec{
		PodCIDRs: []v1alpha1.CIDR{v1alpha1.CIDR(pods)}, ServiceCIDRs: []v1alpha1.CIDR{v1alpha1.CIDR(services)}, TunnelCIDR: v1alpha1.CIDR(tunnels), ExportPolicy: v1alpha1.ExportAll}}
}

func tunnelNode(ref mesh.Ref, key, subnet, tunnel, endpoint, address string) *v1alpha1.TunnelNode {
	return &v1alpha1.TunnelNode{ObjectMeta: metav1.ObjectMeta{Name: ref.String()}, Spec: v1alpha1.TunnelNodeSpec{
		Cluster: ref.Cluster, Node: ref.Node, PublicKey: key, HostSubnets: []v1alpha1.CIDR{v1alpha1.CIDR(subnet)}, TunnelAddress: tunnel,
		Endpoint: &v1alpha1.Endpoint{Host: endpoint, Port: 5555}, NodeAddresses: []string{address}}}
}

func cluster(name string, own mesh.Ref, pods, subnet, balanced string) *Cluster {
	ready := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "agent-" + own.Node}, Status: corev1.PodStatus{Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}}}
	return &Cluster{
		Name: name, Kubectl: "kubectl --context admin@" + name, Namespace: "tunnels", AgentSet: "mesh-agent",
		Links: map[string]*v1alpha1.LinkedCluster{
			"east": link("east", "10.128.0.0/14", "172.30.0.0/16", "100.127.0.0/22"),
			"west": link("west", "10.132.0.0/14", "172.31.0.0/16", "100.127.4.0/22"),
		},
		Nodes: map[mesh.Ref]*v1alpha1.TunnelNode{
			east1: tunnelNode(east1, eastKey, "10.128.0.0/23", "100.127.0.2", "192.168.50.201", "192.168.50.11"),
			west1: tunnelNode(west1, westKey, "10.132.0.0/23", "100.127.4.2", "192.168.60.201", "192.168.60.11"),
		},
		Agents: map[string]*corev1.Pod{own.Node: ready}, AgentsWanted: 1,
		Controller: Workload{Wanted: 1, Ready: 1}, DNS: Workload{Wanted: 2, Ready: 2},
		PodCIDRs: []netip.Prefix{netip.MustParsePrefix(pods)}, HostSubnets: map[string]netip.Prefix{own.Node: netip.MustParsePrefix(subnet)},
		NodeServices: map[string]NodeService{own.Node: {Name: "sdn-tunnel-" + own.Node, Type: corev1.ServiceTypeLoadBalancer, Addresses: []string{balanced}, Port: 5555}},
		Forward:      Forward{Way: "operator", Zones: []string{"cluster.east", "cluster.west"}, To: "172.30.0.9:53", Server: "172.30.0.9", Resolver: netip.MustParseAddr("172.30.0.10")},
	}
}

// view is that of a node with a pod at here, another node's pod being at there.
func view(key, otherKey, other, tunnel, subnet, endpoint string, here, there netip.Addr) NodeView {
	at := now.Add(-time.Minute)
	return NodeView{
		Time: now, Namespace: true, Agent: &AgentView{Cable: "wireguard", MTU: 1420, PlanSource: "api", APIConnected: true},
		Device: &Device{PublicKey: key, ListenPort: 5555, Peers: []DevicePeer{{PublicKey: otherKey, Endpoint: endpoint, LastHandshake: &at,
			AllowedIPs: []netip.Prefix{netip.MustParsePrefix(subnet), netip.MustParsePrefix(tunnel + "/32")}, Received: 500, Sent: 500}}},
		Links:  []Link{{Name: "tun0", Up: true, MTU: 1450}, {Name: "sdntun1", Up: true}, {Name: "sdntun0", Up: true}, {Name: "sdntun-wg", Up: true, MTU: 1420}},
		Routes: []Route{{Namespace: OfTunnel, To: there, Link: "sdntun-wg"}, {Namespace: OfTunnel, To: here, Link: "sdntun0"}, {Namespace: OfNode, To: there, Link: "tun0"}},
		Switch: SwitchView{OFPort: 6}, Conntrack: Conntrack{Count: 400, Max: 262144},
		Peers: []PeerView{{Name: other, Answers: true, Milliseconds: 1, Full: true, Size: 1420, Largest: 1420}},
	}
}

// sound is a world in which a pod of east reaches one of west, by address, service and name.
func sound() *world {
	from, to := netip.MustParseAddr("10.128.0.8"), netip.MustParseAddr("10.132.0.6")
	near := view(eastKey, westKey, "west.west-1", "100.127.4.2", "10.132.0.0/23", "192.168.60.201:5555", from, to)
	far := view(westKey, eastKey, "east.east-1", "100.127.0.2", "10.128.0.0/23", "192.168.50.201:5555", to, from)
	tcp := func(name, in string, src, dst netip.Addr) TraceView {
		return TraceView{Packet: Packet{Name: name, From: in, Src: src, Dst: dst, Protocol: "tcp"}, Arrives: true, Table: 30}
	}
	near.Traces = []TraceView{tcp(PacketOut, FromPod, from, to), tcp(PacketReplyIn, FromTunnel, to, from)}
	far.Traces = []TraceView{tcp(PacketIn, FromTunnel, from, to), tcp(PacketReplyOut, FromPod, to, from)}
	vip := netip.MustParseAddr("172.31.0.7")
	near.Services = []ServiceView{{Target: Target{Address: vip, Protocol: "tcp", Port: 8080}, Known: true, Backends: []netip.AddrPort{netip.AddrPortFrom(to, 8080)}}}
	near.Probes = []ProbeView{{Probe: Probe{From: from, To: Target{Address: vip, Protocol: "tcp", Port: 8080}}, Answered: true}}
	near.Names = []NameView{{Ask: NameAsk{Name: "web.shop.svc.cluster.west", Server: netip.MustParseAddrPort("172.30.0.10:53")}, Code: "NOERROR", Addresses: []netip.Addr{vip}}}
	slices := []discoveryv1.EndpointSlice{{Endpoints: []discoveryv1.Endpoint{{Addresses: []string{to.String()}}}}}
	service := &corev1.Service{Spec: corev1.ServiceSpec{ClusterIP: vip.String(), Ports: []corev1.ServicePort{{Port: 8080, Protocol: corev1.ProtocolTCP}}}}
	asked := func(v NodeView) *NodeEvidence { return &NodeEvidence{View: v, Asked: now, Answered: now} }
	return &world{
		e: &Evidence{Now: now, Clusters: map[string]*Cluster{
			"east": cluster("east", east1, "10.128.0.0/14", "10.128.0.0/23", "192.168.50.201"),
			"west": cluster("west", west1, "10.132.0.0/14", "10.132.0.0/23", "192.168.60.201"),
		}, Nodes: map[mesh.Ref]*NodeEvidence{east1: asked(near), west1: asked(far)}},
		q: Question{
			From:    &Pod{Cluster: "east", Namespace: "shop", Name: "front", Node: "east-1", Address: from, Phase: corev1.PodRunning, Ready: true},
			To:      &Pod{Cluster: "west", Namespace: "shop", Name: "web-0", Node: "west-1", Address: to, Phase: corev1.PodRunning, Ready: true, NetID: new(uint32(77))},
			Service: &Service{Cluster: "west", Namespace: "shop", Name: "web", Object: service, Slices: slices, Mirrors: slices},
			Name:    "web.shop.svc.cluster.west", Zone: "cluster.west", Protocol: "tcp", Port: 8080,
		},
	}
}
