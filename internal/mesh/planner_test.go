package mesh

import (
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"testing"
)

// TestPlanner: whatever becomes of a mesh step by step, a planner that follows gives what
// is computed from nothing. Some steps it can follow cheaply, others it cannot.
func TestPlanner(t *testing.T) {
	followed := 0
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 3))
		v := random(r, true)
		if r.IntN(3) > 0 {
			for i := range v.Clusters {
				v.Clusters[i].Topology = Mesh
			}
		}
		var p Planner
		for step := range 30 {
			want, before := Compute(v), p.judge
			if got := p.Plan(v); !reflect.DeepEqual(got, want) {
				t.Fatalf("seed %d, step %d: got\n%s\nwant\n%s", seed, step, show(got), show(want))
			}
			if before != nil && p.judge == before {
				followed++
			}
			v = next(r, v)
		}
	}
	if followed < 1000 {
		t.Errorf("only %d steps were followed", followed)
	}
}

// next is the view after something has happened.
func next(r *rand.Rand, v View) View {
	v.Clusters, v.Nodes = slices.Clone(v.Clusters), slices.Clone(v.Nodes)
	i := r.IntN(len(v.Nodes))
	n := &v.Nodes[i]
	switch r.IntN(20) {
	case 0:
		spoil(r, &v)
	case 1:
		v.Nodes = slices.Delete(v.Nodes, i, i+1)
		if len(v.Nodes) == 0 {
			return random(r, true)
		}
	case 2:
		more := node(n.Cluster, "new", byte(200+r.IntN(50)), "10.0.200.0/24", "100.127.0.200", "203.0.113.250")
		v.Nodes = slices.Insert(v.Nodes, i, more)
	case 3:
		n.PublicKey[31] ^= 1
	case 4:
		n.TunnelAddress = netip.Addr{}
	case 5:
		n.HostSubnets = nil
	default:
		n.Endpoint.Port++
	}
	return v
}

// TestClaimsRemoved: after any adding and removing, the trie answers as a new one would.
func TestClaimsRemoved(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	c := newClaims()
	var there []netip.Prefix
	for range 5000 {
		p := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(r.IntN(4)), byte(r.IntN(8)), byte(r.IntN(4) << 6)}), 8+r.IntN(25)).Masked()
		clash := slices.ContainsFunc(there, p.Overlaps)
		if _, found := c.overlap(p); found != clash {
			t.Fatalf("%v among %v: found is %v", p, there, found)
		}
		if _, ok := c.add(p, 1); ok {
			there = append(there, p)
		}
		if len(there) > 0 && r.IntN(2) == 0 {
			i := r.IntN(len(there))
			c.remove(there[i])
			there = slices.Delete(there, i, i+1)
		}
	}
}
