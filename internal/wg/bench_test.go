package wg

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"
	"time"

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
				wanted[i] = want{Peer: p, keepalive: keepalive, endpoint: netip.AddrPortFrom(netip.MustParseAddr(p.Endpoint.Host), p.Endpoint.Port)}
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

// BenchmarkOtherWay looks for peers that are reached in another way than before, of which
// there are none.
func BenchmarkOtherWay(b *testing.B) {
	for _, n := range sizes {
		b.Run(fmt.Sprintf("peers=%d", n), func(b *testing.B) {
			wanted, have := make([]want, n), make([]wgtypes.Peer, n)
			for i, p := range manyPeers(n) {
				wanted[i] = want{Peer: p, keepalive: keepalive}
				have[i] = there(wanted[i], 0)
			}
			b.ReportAllocs()
			for b.Loop() {
				if other := otherWay(wanted, have, false); len(other) > 0 {
					b.Fatal(other)
				}
			}
		})
	}
}

// BenchmarkKernelApply gives the kernel's WireGuard all peers at once, then one of them
// another network, and looks whether all are as they should be. They get no keepalives:
// nobody answers here, and WireGuard would try so many handshakes, again and again, that
// nothing else were measured.
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
	x.wg.keepalive = 0
	dp := x.plan(x)
	dp.Remote = nil
	if _, err := x.ns.Apply(b.Context(), dp); err != nil {
		b.Fatal(err)
	}
	for _, n := range sizes {
		dp.Peers = manyPeers(n)
		b.Run(fmt.Sprintf("full/peers=%d", n), func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				if err := x.wg.Remove(b.Context()); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
				x.bench(b, dp)
			}
		})
		b.Run(fmt.Sprintf("change/peers=%d", n), func(b *testing.B) {
			for turn := 0; b.Loop(); turn++ {
				dp.Peers[7].AllowedIPs[0] = netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 200, byte(turn % 2), 0}), 24)
				x.bench(b, dp)
			}
		})
		b.Run(fmt.Sprintf("look/peers=%d", n), func(b *testing.B) {
			for b.Loop() {
				if x.wg.drifted() {
					b.Fatal("they are not")
				}
			}
		})
	}
}

func (x *testNode) bench(b *testing.B, dp mesh.DataPlane) {
	b.Helper()
	for _, w := range x.wg.ways { // as if all had been heard from: those that were not are looked after
		w.heard, w.settled = time.Now(), time.Time{}
	}
	done, err := x.wg.Apply(b.Context(), dp)
	if err != nil || len(done) == 0 {
		b.Fatal(done, err)
	}
}
