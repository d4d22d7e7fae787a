package meshobj

import (
	"net/netip"
	"reflect"
	"slices"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sdn-tunnel/sdn-tunnel/api/v1alpha1"
	"github.com/sdn-tunnel/sdn-tunnel/internal/mesh"
)

var since = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func east() v1alpha1.LinkedCluster {
	return v1alpha1.LinkedCluster{ObjectMeta: metav1.ObjectMeta{Name: "east"}, Spec: v1alpha1.LinkedClusterSpec{
		PodCIDRs: []v1alpha1.CIDR{"10.128.0.0/14"}, ServiceCIDRs: []v1alpha1.CIDR{"172.30.0.0/16"},
		GlobalPodCIDRs: []v1alpha1.CIDR{"10.200.0.0/14"}, TunnelCIDR: "100.127.0.0/22"}}
}

func eastOne() v1alpha1.TunnelNode {
	return v1alpha1.TunnelNode{
		ObjectMeta: metav1.ObjectMeta{Name: "east.east-1", CreationTimestamp: metav1.NewTime(since)},
		Spec: v1alpha1.TunnelNodeSpec{Cluster: "east", Node: "east-1", PublicKey: mesh.Key{1, 2, 3}.String(),
			HostSubnets: []v1alpha1.CIDR{"10.128.0.0/23"}, NodeAddresses: []string{"192.168.50.11"},
			ListenPort: 30555, Endpoint: &v1alpha1.Endpoint{Host: "203.0.113.7", Port: 5555},
			TunnelAddress: "100.127.0.1", Gateway: true},
	}
}

func TestFromObjects(t *testing.T) {
	self := mesh.Ref{Cluster: "east", Node: "east-1"}
	got, refusals := FromObjects([]v1alpha1.LinkedCluster{east()}, []v1alpha1.TunnelNode{eastOne()}, self, 5555)
	if len(refusals) > 0 {
		t.Fatal(refusals)
	}
	one := func(s string) []netip.Prefix { return []netip.Prefix{netip.MustParsePrefix(s)} }
	want := mesh.View{Self: self, ListenPort: 5555,
		Clusters: []mesh.Cluster{{Name: "east", PodCIDRs: one("10.128.0.0/14"), ServiceCIDRs: one("172.30.0.0/16"),
			GlobalPodCIDRs: one("10.200.0.0/14"), TunnelCIDR: one("100.127.0.0/22")[0], Topology: mesh.Mesh}},
		Nodes: []mesh.Node{{Ref: self, PublicKey: mesh.Key{1, 2, 3}, Endpoint: mesh.Endpoint{Host: "203.0.113.7", Port: 5555},
			ListenPort: 30555, HostSubnets: one("10.128.0.0/23"), TunnelAddress: netip.MustParseAddr("100.127.0.1"),
			NodeAddresses: []netip.Addr{netip.MustParseAddr("192.168.50.11")}, Gateway: true, Since: since}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestUnreadableClusterIsLeftOut(t *testing.T) {
	for field, change := range map[string]func(*v1alpha1.LinkedClusterSpec){
		"spec.podCIDRs[1]":       func(s *v1alpha1.LinkedClusterSpec) { s.PodCIDRs = append(s.PodCIDRs, "10.1.0.0") },
		"spec.serviceCIDRs[0]":   func(s *v1alpha1.LinkedClusterSpec) { s.ServiceCIDRs[0] = "172.30.0.1/16" },
		"spec.globalPodCIDRs[0]": func(s *v1alpha1.LinkedClusterSpec) { s.GlobalPodCIDRs[0] = "::ffff:10.0.0.0/104" },
		"spec.tunnelCIDR[0]":     func(s *v1alpha1.LinkedClusterSpec) { s.TunnelCIDR = "" },
		"spec.topology":          func(s *v1alpha1.LinkedClusterSpec) { s.Topology = "Star" },
	} {
		t.Run(field, func(t *testing.T) {
			bad, good := east(), east()
			good.Name = "good"
			change(&bad.Spec)
			v, refusals := FromObjects([]v1alpha1.LinkedCluster{bad, good}, nil, mesh.Ref{}, 5555)
			if len(v.Clusters) != 1 || v.Clusters[0].Name != "good" {
				t.Errorf("clusters %v", v.Clusters)
			}
			if len(refusals) != 1 || refusals[0].Field != field || refusals[0].Ref != (mesh.Ref{Cluster: "east"}) {
				t.Errorf("refusals %v", refusals)
			}
		})
	}
}

func TestUnreadableNode(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*v1alpha1.TunnelNode)
		reason mesh.Reason
		field  string
		nodes  int
	}{
		"name of another": {func(n *v1alpha1.TunnelNode) { n.Name = "west.w1" }, mesh.Malformed, "metadata.name", 0},
		"key":             {func(n *v1alpha1.TunnelNode) { n.Spec.PublicKey = "abc" }, mesh.InvalidKey, "spec.publicKey", 1},
		"zero key":        {func(n *v1alpha1.TunnelNode) { n.Spec.PublicKey = mesh.Key{}.String() }, mesh.InvalidKey, "spec.publicKey", 1},
		"subnet":          {func(n *v1alpha1.TunnelNode) { n.Spec.HostSubnets[0] = "x" }, mesh.Malformed, "spec.hostSubnets[0]", 1},
		"port":            {func(n *v1alpha1.TunnelNode) { n.Spec.ListenPort = 70000 }, mesh.Malformed, "spec.listenPort", 1},
		"endpoint's port": {func(n *v1alpha1.TunnelNode) { n.Spec.Endpoint.Port = -1 }, mesh.Malformed, "spec.endpoint.port", 1},
		"tunnel address":  {func(n *v1alpha1.TunnelNode) { n.Spec.TunnelAddress = "1.2.3" }, mesh.Malformed, "spec.tunnelAddress", 1},
		"node address":    {func(n *v1alpha1.TunnelNode) { n.Spec.NodeAddresses[0] = "fe80::1%eth0" }, mesh.Malformed, "spec.nodeAddresses[0]", 1},
	} {
		t.Run(name, func(t *testing.T) {
			n := eastOne()
			tt.change(&n)
			v, refusals := FromObjects(nil, []v1alpha1.TunnelNode{n}, mesh.Ref{}, 5555)
			if len(v.Nodes) != tt.nodes {
				t.Errorf("%d nodes, want %d", len(v.Nodes), tt.nodes)
			}
			if len(refusals) != 1 || refusals[0].Reason != tt.reason || refusals[0].Field != tt.field {
				t.Errorf("refusals %v", refusals)
			}
		})
	}
}

// TestNewNode: what a node has not been given yet is no error here.
func TestNewNode(t *testing.T) {
	n := v1alpha1.TunnelNode{ObjectMeta: metav1.ObjectMeta{Name: "east.e9"}, Spec: v1alpha1.TunnelNodeSpec{Cluster: "east", Node: "e9"}}
	v, refusals := FromObjects([]v1alpha1.LinkedCluster{east()}, []v1alpha1.TunnelNode{n}, mesh.Ref{Cluster: "east", Node: "e9"}, 5555)
	if len(refusals) != 0 || len(v.Nodes) != 1 {
		t.Fatalf("%v %v", v, refusals)
	}
	if rs := mesh.Compute(v).Refusals; !slices.ContainsFunc(rs, func(r mesh.Refusal) bool { return r.Reason == mesh.Incomplete }) {
		t.Errorf("not incomplete: %v", rs)
	}
}

func FuzzFromObjects(f *testing.F) {
	f.Add("east", "e1", "10.128.0.0/23", "100.127.0.1", "203.0.113.7", mesh.Key{1}.String(), int32(5555))
	f.Add("", "", "", "", "", "", int32(-1))
	f.Fuzz(func(t *testing.T, cluster, node, cidr, addr, host, key string, port int32) {
		lc := east()
		lc.Name, lc.Spec.PodCIDRs = cluster, []v1alpha1.CIDR{v1alpha1.CIDR(cidr)}
		n := eastOne()
		n.Name = cluster + "." + node
		n.Spec = v1alpha1.TunnelNodeSpec{Cluster: cluster, Node: node, PublicKey: key, HostSubnets: []v1alpha1.CIDR{v1alpha1.CIDR(cidr)},
			NodeAddresses: []string{addr}, ListenPort: port, Endpoint: &v1alpha1.Endpoint{Host: host, Port: port}, TunnelAddress: addr}
		v, _ := FromObjects([]v1alpha1.LinkedCluster{lc, east()}, []v1alpha1.TunnelNode{n}, mesh.Ref{Cluster: "east", Node: "e1"}, 5555)
		mesh.Compute(v)
	})
}
