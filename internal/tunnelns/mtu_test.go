package tunnelns

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/sdn-tunnel/sdn-tunnel/internal/mesh"
	"github.com/sdn-tunnel/sdn-tunnel/internal/nettest"
)

func TestTunnelMTU(t *testing.T) {
	tests := []struct{ underlay, v4, v6 int }{
		{1280, 1280, 1280}, // too small: outer packets are fragmented
		{1340, 1280, 1280},
		{1360, 1300, 1280},
		{1400, 1340, 1320},
		{1500, 1440, 1420},
		{9000, 8940, 8920},
	}
	for _, tt := range tests {
		if v4, v6 := tunnelMTU(tt.underlay, false), tunnelMTU(tt.underlay, true); v4 != tt.v4 || v6 != tt.v6 {
			t.Errorf("underlay %d: %d over IPv4, %d over IPv6; want %d, %d", tt.underlay, v4, v6, tt.v4, tt.v6)
		}
	}
}

// TestMeasureMTU reads the smallest of the ways to the peers from real routes.
func TestMeasureMTU(t *testing.T) {
	node := newNamespace(t, "m")
	nettest.Sh(t, "ip -n %[1]s link add e0 mtu 9000 type veth peer name e1 mtu 1400 && ip -n %[1]s link add tun0 mtu 1450 type bridge && "+
		"ip -n %[1]s link set e0 up && ip -n %[1]s link set e1 up && "+
		"ip -n %[1]s addr add 198.51.100.1/24 dev e0 && ip -n %[1]s addr add 203.0.113.1/24 dev e1 && "+
		"ip -n %[1]s addr add 2001:db8::1/64 dev e0 nodad", name(node))
	limit := 0
	measured := func(what string, want MTU, hosts ...string) {
		t.Helper()
		var peers []mesh.Peer
		for _, h := range hosts {
			peers = append(peers, mesh.Peer{Endpoint: mesh.Endpoint{Host: h, Port: 1}})
		}
		got, _, err := measureMTU(node, peers, "tun0", limit)
		if err != nil || got != want {
			t.Errorf("%s: %+v, %v; want %+v", what, got, err, want)
		}
	}
	measured("no route to anything", MTU{1500, 1440, 1450})
	measured("one peer", MTU{9000, 8940, 1450}, "198.51.100.2")
	measured("the narrow one counts", MTU{1400, 1340, 1450}, "198.51.100.2", "203.0.113.2")
	measured("mapped", MTU{9000, 8940, 1450}, "::ffff:198.51.100.2")
	measured("IPv6", MTU{9000, 8920, 1450}, "2001:db8::2")
	measured("a wide way over IPv6 takes nothing from a narrow one over IPv4", MTU{1400, 1340, 1450}, "2001:db8::2", "203.0.113.2")
	measured("the node's own address", MTU{9000, 8940, 1450}, "198.51.100.1", "198.51.100.2")
	testLedElsewhere(t, node, measured)
	limit = 1300
	measured("capped", MTU{1400, 1300, 1450}, "203.0.113.2")
	limit = 8000
	measured("a cap above what fits", MTU{1400, 1340, 1450}, "203.0.113.2")
	limit = 0
	nettest.Sh(t, "ip -n %s route add default via 198.51.100.254 dev e0 mtu 1300", name(node))
	measured("the default route's own MTU", MTU{1300, 1280, 1450}, "peer.example")
	nettest.Sh(t, "ip -n %[1]s addr add 192.0.2.1/24 dev tun0 && ip -n %[1]s addr add 203.0.113.77/32 dev lo", name(node))
	measured("a node whose address is the one that is asked for", MTU{1300, 1280, 1450}, "peer.example")
	if _, _, err := measureMTU(At("/run/netns/sdntest-none"), nil, "tun0", 0); err == nil {
		t.Error("a namespace that is not there was measured")
	}
}

// testLedElsewhere has single addresses of a network led another way than the rest: what
// is asked of the kernel for one is not taken for the other.
func testLedElsewhere(t *testing.T, node Namespace, measured func(what string, want MTU, hosts ...string)) {
	wide, narrow := MTU{9000, 8940, 1450}, MTU{1400, 1340, 1450}
	ip := func(line string) { nettest.Sh(t, "ip -n %s %s", name(node), line) }
	ip("route add 192.88.99.0/24 dev e0")
	measured("a network", wide, "192.88.99.1", "192.88.99.77")
	ip("route add 192.88.99.77 dev e1")
	measured("all but one of a network", wide, "192.88.99.1", "192.88.99.2")
	measured("the one that has a route of its own", narrow, "192.88.99.1", "192.88.99.77")
	ip("rule add to 192.88.99.16/28 table 77 && ip -n " + name(node) + " route add default dev e1 table 77")
	measured("not what a rule leads elsewhere", wide, "192.88.99.1", "192.88.99.15", "192.88.99.32")
	measured("what a rule leads elsewhere", narrow, "192.88.99.1", "192.88.99.31")
	ip("route add 192.88.98.0/24 nexthop dev e0 nexthop dev e1")
	several := make([]string, 32) // so that both next hops are taken by some
	for i := range several {
		several[i] = fmt.Sprintf("192.88.98.%d", i+1)
	}
	measured("two next hops", narrow, several...)
	ip("rule del table 77 && ip -n " + name(node) + " route del 192.88.99.0/24 && ip -n " + name(node) + " route del 192.88.98.0/24")
}

// BenchmarkMeasure reads the MTU of the ways to many peers that the node reaches by its
// default route, as it does in each pass.
func BenchmarkMeasure(b *testing.B) {
	node := newNamespace(b, "b")
	nettest.Sh(b, "ip -n %[1]s link add e0 mtu 9000 type bridge && ip -n %[1]s addr add 192.0.2.1/24 dev e0 && ip -n %[1]s link set e0 up && "+
		"ip -n %[1]s route add default via 192.0.2.254", name(node))
	for _, n := range []int{100, 1000, 10000} {
		peers := make([]mesh.Peer, n)
		for i := range peers {
			peers[i].Endpoint.Host = netip.AddrFrom4([4]byte{198, 18, byte(i >> 8), byte(i)}).String()
		}
		b.Run(fmt.Sprintf("peers=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if m, _, err := measureMTU(node, peers, "tun0", 0); err != nil || m.Underlay != 9000 {
					b.Fatal(m, err)
				}
			}
		})
	}
}
