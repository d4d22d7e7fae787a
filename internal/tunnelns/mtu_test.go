package tunnelns

import (
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
		got, err := MeasureMTU(node, peers, "tun0", limit)
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
	limit = 1300
	measured("capped", MTU{1400, 1300, 1450}, "203.0.113.2")
	limit = 8000
	measured("a cap above what fits", MTU{1400, 1340, 1450}, "203.0.113.2")
	limit = 0
	nettest.Sh(t, "ip -n %s route add default via 198.51.100.254 dev e0 mtu 1300", name(node))
	measured("the default route's own MTU", MTU{1300, 1280, 1450}, "peer.example")
	nettest.Sh(t, "ip -n %[1]s addr add 192.0.2.1/24 dev tun0 && ip -n %[1]s addr add 203.0.113.77/32 dev lo", name(node))
	measured("a node whose address is the one that is asked for", MTU{1300, 1280, 1450}, "peer.example")
	if _, err := MeasureMTU(At("/run/netns/sdntest-none"), nil, "tun0", 0); err == nil {
		t.Error("a namespace that is not there was measured")
	}
}
