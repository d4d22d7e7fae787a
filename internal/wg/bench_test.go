package wg

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/sdn-tunnel/sdn-tunnel/internal/kerneltest"
	"github.com/sdn-tunnel/sdn-tunnel/internal/mesh"
	"github.com/sdn-tunnel/sdn-tunnel/internal/nettest"
)

// sizes are how many peers a node has.
var sizes = []int{100, 1000, 10000}

// manyPeers are peers with a pod network and a tunnel address each.
func manyPeers(n int) []mesh.Peer {
	peers := make([]mesh.Peer, n)
	for i := range peers {
		p := &peers[i]
		p.Ref = mesh.Ref{Cluster: "c", Node: fmt.Sprintf("n%05d", i)}
		binary.BigEndian.PutUint32(p.PublicKey[4:], uint32(i+1))
		p.Endpoint = mesh.Endpoint{Host: netip.AddrFrom4([4]byte{198, 18, byte(i >> 8), byte(i)}).String(), Port: 5555}
		p.AllowedIPs = []netip.Prefix{
			netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 140 + byte(i>>8), byte(i), 0}), 24),
			netip.PrefixFrom(netip.AddrFrom4([4]byte{100, 127, byte(i >> 8), byte(i)}), 32),
		}
	}
	return peers
}

// BenchmarkDiff compares the peers that a device has with as many that are wanted.
func BenchmarkDiff(b *testing.B) {
	for _, n := range sizes {
		b.Run(fmt.Sprintf("peers=%d", n), func(b *testing.B) {
			wanted, have := make([]want, n), make([]wgtypes.Peer, n)
			for i, p := range manyPeers(n) {
				wanted[i] = want{Peer: p, endpoint: netip.AddrPortFrom(netip.MustParseAddr(p.Endpoint.Host), p.Endpoint.Port)}
				have[i] = there(wanted[i], 0)
			}
			b.ReportAllocs()
			for b.Loop() {
				if send, _ := diff(wanted, have); len(send) > 0 {
					b.Fatal(send)
				}
			}
		})
	}
}

// BenchmarkKernelApply gives the kernel's WireGuard all peers at once. They do not answer,
// and so many handshakes that are tried again keep a slow processor busy: one change among
// the peers is measured where that does not outweigh it.
func BenchmarkKernelApply(b *testing.B) {
	kerneltest.Need(b, "wireguard")
	x := newNode(b, b.TempDir(), 1)
	nettest.Sh(b, "ip -n sdntest-%[1]s link add u type bridge; ip -n sdntest-%[1]s addr add %[2]s/24 dev u; ip -n sdntest-%[1]s link set u up; ip -n sdntest-%[1]s route add default via 192.0.2.254",
		x.id, x.underlay)
	cfg := x.wg.cfg
	cfg.Mode = Kernel
	var err error
	if x.wg, err = New(cfg); err != nil {
		b.Fatal(err)
	}
	dp := x.plan(x)
	dp.Remote, dp.Peers = nil, manyPeers(100)
	if _, err := x.ns.Apply(b.Context(), dp); err != nil {
		b.Fatal(err)
	}
	b.Run("change/peers=100", func(b *testing.B) {
		x.bench(b, dp)
		for turn := 0; b.Loop(); turn++ {
			dp.Peers[7].AllowedIPs[0] = netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 200, byte(turn % 2), 0}), 24)
			x.bench(b, dp)
		}
	})
	for _, n := range sizes {
		b.Run(fmt.Sprintf("full/peers=%d", n), func(b *testing.B) {
			dp.Peers = manyPeers(n)
			for b.Loop() {
				b.StopTimer()
				if err := x.wg.Remove(b.Context()); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
				x.bench(b, dp)
			}
		})
	}
}

func (x *testNode) bench(b *testing.B, dp mesh.DataPlane) {
	b.Helper()
	done, err := x.wg.Apply(b.Context(), dp)
	if err != nil || len(done) == 0 {
		b.Fatal(done, err)
	}
}
