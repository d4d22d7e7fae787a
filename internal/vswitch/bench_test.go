package vswitch

import (
	"fmt"
	"log/slog"
	"net/netip"
	"testing"

	"github.com/sdn-tunnel/sdn-tunnel/internal/mesh"
)

// sizes are how many remote networks there are; each has three flows.
var sizes = []int{10, 100, 334, 1000}

// remotes is the plan with a number of remote networks.
func remotes(n int) mesh.DataPlane {
	dp := testPlan
	dp.Remote, dp.RemoteService = nil, nil
	for i := range n {
		dp.Remote = append(dp.Remote, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 140 + byte(i>>8), byte(i), 0}), 24))
	}
	return dp
}

// benchPart is a part on a real switch, with its port.
func benchPart(b *testing.B) *Part {
	b.Helper()
	o := startOVS(b)
	o.addBridge()
	o.addLink()
	p, err := New(Config{Node: o.node, Switch: NewOVS(o.dir, slog.New(slog.DiscardHandler))})
	if err != nil {
		b.Fatal(err)
	}
	return p
}

func (p *Part) bench(b *testing.B, dp mesh.DataPlane, changes bool) {
	b.Helper()
	done, err := p.Apply(b.Context(), dp)
	if err != nil || (len(done) > 0) != changes {
		b.Fatal(done, err)
	}
}

// BenchmarkApply takes the flows of all networks from nothing to the switch.
func BenchmarkApply(b *testing.B) {
	p := benchPart(b)
	for _, n := range sizes {
		b.Run(fmt.Sprintf("CIDRs=%d", n), func(b *testing.B) {
			all := remotes(n)
			for b.Loop() {
				b.StopTimer()
				if err := p.dropFlows(b.Context()); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
				p.bench(b, all, true)
			}
		})
	}
}

// BenchmarkCheck looks whether the flows are as they should be, and they are.
func BenchmarkCheck(b *testing.B) {
	p := benchPart(b)
	for _, n := range sizes {
		b.Run(fmt.Sprintf("CIDRs=%d", n), func(b *testing.B) {
			all := remotes(n)
			if _, err := p.Apply(b.Context(), all); err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				p.bench(b, all, false)
			}
		})
	}
}
