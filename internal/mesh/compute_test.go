package mesh

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"
)

func pfx(ss ...string) []netip.Prefix {
	var ps []netip.Prefix
	for _, s := range ss {
		ps = append(ps, netip.MustParsePrefix(s))
	}
	return ps
}

func key(b byte) Key { return Key{9: b, 31: b} }

func east() Cluster {
	return Cluster{Name: "east", PodCIDRs: pfx("10.128.0.0/14"), ServiceCIDRs: pfx("172.30.0.0/16"),
		TunnelCIDR: netip.MustParsePrefix("100.127.0.0/22"), Topology: Mesh}
}

func west() Cluster {
	return Cluster{Name: "west", PodCIDRs: pfx("10.132.0.0/14"), ServiceCIDRs: pfx("172.31.0.0/16"),
		TunnelCIDR: netip.MustParsePrefix("100.127.4.0/22"), Topology: Mesh}
}

func node(cluster, name string, n byte, subnet, tunnel, host string) Node {
	return Node{Ref: Ref{cluster, name}, PublicKey: key(n), Endpoint: Endpoint{host, 5555},
		HostSubnets: pfx(subnet), TunnelAddress: netip.MustParseAddr(tunnel),
		NodeAddresses: []netip.Addr{netip.MustParseAddr("192.168.50.1")}, Since: time.Unix(int64(n), 0)}
}

// twoByTwo is the mesh of two clusters with two nodes each, as east-1 sees it.
func twoByTwo() View {
	return View{
		Self: Ref{"east", "e1"}, ListenPort: 5555,
		Clusters: []Cluster{east(), west()},
		Nodes: []Node{
			node("east", "e1", 1, "10.128.0.0/23", "100.127.0.1", "203.0.113.1"),
			node("east", "e2", 2, "10.128.2.0/23", "100.127.0.2", "203.0.113.2"),
			node("west", "w1", 3, "10.132.0.0/23", "100.127.4.1", "203.0.113.3"),
			node("west", "w2", 4, "10.132.2.0/23", "100.127.4.2", "203.0.113.4"),
		},
	}
}

func TestComputeMesh(t *testing.T) {
	want := DataPlane{
		Self: Ref{"east", "e1"}, ListenPort: 5555, TunnelAddress: netip.MustParseAddr("100.127.0.1"),
		Peers: []Peer{
			{Ref{"west", "w1"}, key(3), Endpoint{"203.0.113.3", 5555}, pfx("10.132.0.0/23", "100.127.4.1/32"), netip.MustParseAddr("100.127.4.1")},
			{Ref{"west", "w2"}, key(4), Endpoint{"203.0.113.4", 5555}, pfx("10.132.2.0/23", "100.127.4.2/32"), netip.MustParseAddr("100.127.4.2")},
		},
		Local: pfx("10.128.0.0/23"), LocalPods: pfx("10.128.0.0/14"), Remote: pfx("10.132.0.0/14"),
		RemoteService: pfx("172.31.0.0/16"), RemoteTunnel: pfx("100.127.4.0/22"),
		RemoteClusters: []RemoteCluster{{"west", pfx("10.132.0.0/14"), pfx("172.31.0.0/16")}},
	}
	if got := Compute(twoByTwo()); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// show is what a case is about, short: peers with allowed IPs, then refusals.
func show(dp DataPlane) string {
	var lines []string
	for _, p := range dp.Peers {
		line := p.Ref.String()
		for _, a := range p.AllowedIPs {
			line += " " + a.String()
		}
		lines = append(lines, line)
	}
	for _, r := range dp.Refusals {
		lines = append(lines, "! "+r.Ref.String()+" "+r.Field+" "+string(r.Reason))
	}
	return strings.Join(lines, "\n")
}

const (
	w1 = "west.w1 10.132.0.0/23 100.127.4.1/32\n"
	w2 = "west.w2 10.132.2.0/23 100.127.4.2/32"
)

// In each case one thing is wrong; everything else has to be as ever.
func TestComputeRefusals(t *testing.T) {
	tests := map[string]struct {
		change func(*View)
		want   string
	}{
		"node of an unknown cluster": {func(v *View) {
			v.Nodes = append(v.Nodes, node("south", "s1", 9, "10.140.0.0/23", "100.127.8.1", "203.0.113.9"))
		}, w1 + w2 + "\n! south.s1 spec.cluster UnknownCluster"},
		"no key yet": {func(v *View) { v.Nodes[2].PublicKey = Key{} },
			w2 + "\n! west.w1 spec.publicKey Incomplete"},
		"key of low order": {func(v *View) { v.Nodes[2].PublicKey = Key{0: 1} },
			w2 + "\n! west.w1 spec.publicKey InvalidKey"},
		"no endpoint yet": {func(v *View) { v.Nodes[2].Endpoint = Endpoint{} },
			w2 + "\n! west.w1 spec.endpoint Incomplete"},
		"no subnet yet": {func(v *View) { v.Nodes[2].HostSubnets = nil },
			"west.w1 100.127.4.1/32\n" + w2 + "\n! west.w1 spec.hostSubnets Incomplete"},
		"no tunnel address yet": {func(v *View) { v.Nodes[2].TunnelAddress = netip.Addr{} },
			"west.w1 10.132.0.0/23\n" + w2},
		"key of an older node": {func(v *View) { v.Nodes[3].PublicKey = key(3) },
			strings.TrimSpace(w1) + "\n! west.w2 spec.publicKey DuplicateKey"},
		"key of a younger node": {func(v *View) { v.Nodes[2].PublicKey, v.Nodes[2].Since = key(4), time.Unix(99, 0) },
			w2 + "\n! west.w1 spec.publicKey DuplicateKey"},
		"key of the same age: by name": {func(v *View) { v.Nodes[3].PublicKey, v.Nodes[3].Since = key(3), v.Nodes[2].Since },
			strings.TrimSpace(w1) + "\n! west.w2 spec.publicKey DuplicateKey"},
		"older remote node with a key of this cluster": {func(v *View) { v.Nodes[2].PublicKey, v.Nodes[2].Since = key(2), time.Unix(0, 0) },
			w2 + "\n! west.w1 spec.publicKey DuplicateKey"},
		"endpoint of another": {func(v *View) { v.Nodes[3].Endpoint = v.Nodes[2].Endpoint },
			strings.TrimSpace(w1) + "\n! west.w2 spec.endpoint DuplicateAddress"},
		"endpoint name of another, in capitals": {func(v *View) {
			v.Nodes[2].Endpoint.Host, v.Nodes[3].Endpoint.Host = "n.example.org", "N.example.org."
		}, strings.TrimSpace(w1) + "\n! west.w2 spec.endpoint DuplicateAddress"},
		"endpoint that every node has": {func(v *View) { v.Nodes[2].Endpoint.Host = "127.0.0.1" },
			w2 + "\n! west.w1 spec.endpoint.host Malformed"},
		"endpoint of no single node": {func(v *View) { v.Nodes[2].Endpoint.Host = "::ffff:255.255.255.255" },
			w2 + "\n! west.w1 spec.endpoint.host Malformed"},
		"endpoint inside a pod network": {func(v *View) { v.Nodes[2].Endpoint.Host = "10.132.1.1" },
			w2 + "\n! west.w1 spec.endpoint.host Overlap"},
		"tunnel address of another": {func(v *View) { v.Nodes[3].TunnelAddress = v.Nodes[2].TunnelAddress },
			w1 + "west.w2 10.132.2.0/23\n! west.w2 spec.tunnelAddress DuplicateAddress"},
		"tunnel address outside": {func(v *View) { v.Nodes[2].TunnelAddress = netip.MustParseAddr("100.127.0.9") },
			"west.w1 10.132.0.0/23\n" + w2 + "\n! west.w1 spec.tunnelAddress OutsideDeclared"},
		"subnet outside": {func(v *View) { v.Nodes[2].HostSubnets = pfx("192.0.2.0/24", "10.132.0.0/23") },
			w1 + w2 + "\n! west.w1 spec.hostSubnets[0] OutsideDeclared"},
		"subnet of this cluster": {func(v *View) { v.Nodes[2].HostSubnets = pfx("10.128.0.0/23") },
			"west.w1 100.127.4.1/32\n" + w2 + "\n! west.w1 spec.hostSubnets[0] OutsideDeclared"},
		"subnet wider than declared": {func(v *View) { v.Nodes[2].HostSubnets = pfx("10.128.0.0/9") },
			"west.w1 100.127.4.1/32\n" + w2 + "\n! west.w1 spec.hostSubnets[0] OutsideDeclared"},
		"subnet of another": {func(v *View) { v.Nodes[3].HostSubnets = pfx("10.132.0.0/23") },
			w1 + "west.w2 100.127.4.2/32\n! west.w2 spec.hostSubnets[0] Overlap"},
		"subnet over another": {func(v *View) { v.Nodes[3].HostSubnets = pfx("10.132.0.0/14", "10.132.4.0/23") },
			w1 + "west.w2 10.132.4.0/23 100.127.4.2/32\n! west.w2 spec.hostSubnets[0] Overlap"},
		"part of another's subnet": {func(v *View) { v.Nodes[3].HostSubnets = pfx("10.132.1.0/24") },
			w1 + "west.w2 100.127.4.2/32\n! west.w2 spec.hostSubnets[0] Overlap"},
		"host bits": {func(v *View) { v.Nodes[2].HostSubnets = []netip.Prefix{netip.MustParsePrefix("10.132.0.1/23")} },
			"west.w1 100.127.4.1/32\n" + w2 + "\n! west.w1 spec.hostSubnets[0] Malformed"},
		"the same node twice": {func(v *View) {
			v.Nodes = append(v.Nodes, node("west", "w1", 7, "10.132.8.0/23", "100.127.4.7", "203.0.113.7"))
		}, w1 + w2 + "\n! west.w1 metadata.name Overlap"},
		"cluster over this one's pods": {func(v *View) { v.Clusters[1].PodCIDRs = pfx("10.0.0.0/8") },
			"! west. spec.podCIDRs[0] Overlap"},
		"cluster with this one's services": {func(v *View) { v.Clusters[1].ServiceCIDRs = pfx("172.30.0.0/16") },
			"! west. spec.serviceCIDRs[0] Overlap"},
		"cluster with this one's tunnel addresses": {func(v *View) { v.Clusters[1].TunnelCIDR = pfx("100.127.0.0/22")[0] },
			"! west. spec.tunnelCIDR Overlap"},
		"cluster without pods": {func(v *View) { v.Clusters[1].PodCIDRs = nil },
			"! west. spec.podCIDRs Malformed"},
		"cluster over itself": {func(v *View) { v.Clusters[1].ServiceCIDRs = pfx("10.132.4.0/24") },
			"! west. spec.serviceCIDRs[0] Overlap"},
		"third cluster over west": {func(v *View) {
			c := west()
			c.Name, c.PodCIDRs, c.TunnelCIDR = "xxx", pfx("10.133.0.0/16"), pfx("100.127.8.0/22")[0]
			v.Clusters = append(v.Clusters, c)
			v.Nodes = append(v.Nodes, node("xxx", "x1", 9, "10.133.0.0/23", "100.127.8.1", "203.0.113.9"))
		}, w1 + w2 + "\n! xxx. spec.podCIDRs[0] Overlap"},
		"global CIDRs of another length": {func(v *View) { v.Clusters[1].GlobalPodCIDRs = pfx("10.200.0.0/16") },
			"! west. spec.globalPodCIDRs[0] Malformed"},
		"this cluster is not linked": {func(v *View) { v.Clusters = v.Clusters[1:] },
			"! east. metadata.name UnknownCluster"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			v := twoByTwo()
			tt.change(&v)
			if got := show(Compute(v)); got != tt.want {
				t.Errorf("got\n%s\nwant\n%s", got, tt.want)
			}
		})
	}
}

// TestGlobalPodCIDRs: two clusters with the same pod network, each seen by the other at a
// global prefix.
func TestGlobalPodCIDRs(t *testing.T) {
	v := twoByTwo()
	v.Clusters[0].GlobalPodCIDRs = pfx("10.200.0.0/14")
	v.Clusters[1].PodCIDRs = pfx("10.128.0.0/14")
	v.Clusters[1].GlobalPodCIDRs = pfx("10.204.0.0/14")
	v.Nodes[2].HostSubnets, v.Nodes[3].HostSubnets = pfx("10.128.0.0/23"), pfx("10.131.254.0/23")
	dp := Compute(v)
	want := "west.w1 10.204.0.0/23 100.127.4.1/32\nwest.w2 10.207.254.0/23 100.127.4.2/32"
	if got := show(dp); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if !reflect.DeepEqual(dp.Remote, pfx("10.204.0.0/14")) || !reflect.DeepEqual(dp.Local, pfx("10.128.0.0/23")) {
		t.Errorf("remote %v, local %v", dp.Remote, dp.Local)
	}
}

func TestSelf(t *testing.T) {
	v := twoByTwo()
	v.Nodes[0].ListenPort = 31000
	if dp := Compute(v); dp.ListenPort != 31000 {
		t.Errorf("listens on %d, not on the node's own port", dp.ListenPort)
	}
	v.Self.Node = "not-there-yet"
	dp := Compute(v)
	if len(dp.Peers) != 0 || len(dp.Local) != 0 || dp.TunnelAddress.IsValid() || len(dp.Remote) != 1 {
		t.Errorf("a node without an object has %+v", dp)
	}
}

// gatewayEast makes e1 and e2 gateways of east and adds two workers.
func gatewayEast() View {
	v := twoByTwo()
	v.Clusters[0].Topology = Gateway
	v.Nodes[0].Gateway, v.Nodes[1].Gateway = true, true
	v.Nodes = append(v.Nodes,
		node("east", "e3", 5, "10.128.4.0/23", "100.127.0.3", "203.0.113.5"),
		node("east", "e4", 6, "10.128.6.0/23", "100.127.0.4", "203.0.113.6"))
	return v
}

func TestComputeGateway(t *testing.T) {
	v := gatewayEast()
	from := func(self string) DataPlane {
		v.Self = Ref{self[:strings.IndexByte(self, '.')], self[strings.IndexByte(self, '.')+1:]}
		return Compute(v)
	}
	outside := from("west.w1")
	carried := 0
	for _, p := range outside.Peers {
		if p.Ref.Node != "e1" && p.Ref.Node != "e2" {
			t.Errorf("%s is a peer from outside, but no gateway", p.Ref)
		}
		carried += len(p.AllowedIPs)
	}
	if carried != 8 {
		t.Errorf("%d prefixes are carried, want a subnet and an address of 4 nodes:\n%s", carried, show(outside))
	}
	for _, w := range []string{"east.e3", "east.e4"} {
		dp := from(w)
		if len(dp.Peers) != 2 || len(dp.Peers[0].AllowedIPs)+len(dp.Peers[1].AllowedIPs) != 2 {
			t.Errorf("%s: want both gateways, all that is remote at one of them:\n%s", w, show(dp))
		}
	}
}

// TestCarrierMovesLittle: when a gateway goes, only what it carried moves.
func TestCarrierMovesLittle(t *testing.T) {
	c := &Cluster{Name: "c", Topology: Gateway}
	var gateways []*member
	for i := range 5 {
		n := node("c", string(rune('a'+i)), byte(i+1), "10.0.0.0/24", "10.1.0.1", "h")
		gateways = append(gateways, &member{Node: &n, cluster: c, usable: true})
	}
	load := map[string]int{}
	for i := range 1000 {
		owner := Ref{"c", "worker-" + string(rune('0'+i%10)) + string(rune('0'+i/10%10)) + string(rune('0'+i/100))}
		before := rendezvous(owner, gateways)
		load[before.Node.Node]++
		after := rendezvous(owner, gateways[1:])
		if before != gateways[0] && before != after {
			t.Fatalf("%s moved from %s to %s though its carrier stayed", owner, before.Ref, after.Ref)
		}
	}
	for name, n := range load {
		if n < 120 || n > 280 {
			t.Errorf("%s carries %d of 1000 nodes, want about 200", name, n)
		}
	}
}
