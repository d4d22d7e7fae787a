package ovsflow

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/digitalocean/go-openvswitch/ovs"
)

// BenchmarkDiff plans the flows to a number of remote networks, reads as many from the
// text of a dump, and compares: all that is done for a bridge that is as it should be.
func BenchmarkDiff(b *testing.B) {
	for _, n := range []int{10, 100, 1000} {
		b.Run(fmt.Sprintf("CIDRs=%d", n), func(b *testing.B) {
			p := onePlan()
			for i := range n {
				p.Remote = append(p.Remote, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 140 + byte(i>>8), byte(i), 0}), 24))
			}
			flows, err := Flows(p)
			if err != nil {
				b.Fatal(err)
			}
			dump, err := dumpOf(flows)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				want, err := Flows(p)
				if err != nil {
					b.Fatal(err)
				}
				have, err := Parse(dump)
				if err != nil {
					b.Fatal(err)
				}
				if d, err := Diff(have, want); err != nil || !d.Empty() {
					b.Fatal(d, err)
				}
			}
		})
	}
}

// dumpOf is the flows as a switch would give them back.
func dumpOf(flows []*ovs.Flow) (string, error) {
	var s strings.Builder
	for _, f := range flows {
		t, err := Text(f)
		if err != nil {
			return "", err
		}
		s.WriteString(t + "\n")
	}
	return s.String(), nil
}
