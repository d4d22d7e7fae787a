package mesh

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"
)

// meshes are the sizes that are measured.
var meshes = []struct{ clusters, nodes int }{{10, 10}, {10, 100}, {10, 1000}, {10, 10000}, {100, 10000}}

// BenchmarkCompute plans a whole mesh for one of its nodes.
func BenchmarkCompute(b *testing.B) {
	for _, m := range meshes {
		b.Run(fmt.Sprintf("clusters=%d/nodes=%d", m.clusters, m.nodes), func(b *testing.B) {
			v := large(m.clusters, m.nodes)
			b.ReportAllocs()
			for b.Loop() {
				if dp := Compute(v); len(dp.Refusals) != 0 {
					b.Fatal(dp.Refusals[0])
				}
			}
		})
	}
}

// BenchmarkChange plans it again after one node has got another endpoint.
func BenchmarkChange(b *testing.B) {
	for _, m := range meshes {
		b.Run(fmt.Sprintf("clusters=%d/nodes=%d", m.clusters, m.nodes), func(b *testing.B) {
			views := [2]View{large(m.clusters, m.nodes), large(m.clusters, m.nodes)}
			views[1].Nodes[m.nodes/2].Endpoint.Port++
			var p Planner
			p.Plan(views[0])
			b.ReportAllocs()
			for turn := 1; b.Loop(); turn++ {
				if dp := p.Plan(views[turn%2]); len(dp.Refusals) != 0 {
					b.Fatal(dp.Refusals[0])
				}
			}
		})
	}
}

// large has clusters of as many nodes each.
func large(clusters, nodes int) View {
	v := View{Self: Ref{"c0", "n0"}, ListenPort: 5555}
	span := 16 // a cluster's pods have so many networks of 16 bits
	if clusters > 16 {
		span = 2
	}
	mask := map[int]int{16: 12, 2: 15}[span]
	for c := range clusters {
		v.Clusters = append(v.Clusters, Cluster{Name: fmt.Sprintf("c%d", c), Topology: Mesh,
			PodCIDRs:     pfx(fmt.Sprintf("10.%d.0.0/%d", span*c, mask)),
			ServiceCIDRs: pfx(fmt.Sprintf("172.%d.0.0/16", 16+c)),
			TunnelCIDR:   netip.MustParsePrefix(fmt.Sprintf("100.%d.0.0/20", 64+c))})
	}
	for i := range nodes {
		c, k := i%clusters, i/clusters
		var nd Node
		nd.Ref = Ref{fmt.Sprintf("c%d", c), fmt.Sprintf("n%d", k)}
		binary.BigEndian.PutUint32(nd.PublicKey[4:], uint32(i+1))
		nd.Endpoint = Endpoint{netip.AddrFrom4([4]byte{203, byte(i >> 16), byte(i >> 8), byte(i)}).String(), 5555}
		nd.HostSubnets = []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(span*c + k>>8), byte(k), 0}), 24)}
		nd.TunnelAddress = netip.AddrFrom4([4]byte{100, byte(64 + c), byte(k >> 8), byte(k)})
		v.Nodes = append(v.Nodes, nd)
	}
	return v
}
