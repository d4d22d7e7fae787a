package mesh

import (
	"bytes"
	"crypto/ecdh"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"testing"
	"time"
)

// random makes a mesh of clusters and nodes. A clean one has nothing to refuse; in one
// that is not, fields of some nodes and clusters are copied from others or made up.
func random(r *rand.Rand, clean bool) View {
	v := View{ListenPort: 5555}
	n := byte(1)
	for c := range 1 + r.IntN(5) {
		cl := Cluster{Name: fmt.Sprintf("c%d", c), Topology: Mesh,
			PodCIDRs:     pfx(fmt.Sprintf("10.%d.0.0/16", 2*c), fmt.Sprintf("10.%d.0.0/16", 2*c+1)),
			ServiceCIDRs: pfx(fmt.Sprintf("172.%d.0.0/16", 16+c)),
			TunnelCIDR:   netip.MustParsePrefix(fmt.Sprintf("100.127.%d.0/22", 4*c))}
		if r.IntN(3) == 0 {
			cl.Topology = Gateway
		}
		if r.IntN(3) == 0 {
			cl.GlobalPodCIDRs = pfx(fmt.Sprintf("10.%d.0.0/16", 200+2*c), fmt.Sprintf("10.%d.0.0/16", 200+2*c+1))
		}
		v.Clusters = append(v.Clusters, cl)
		for k := range 1 + r.IntN(6) {
			nd := node(cl.Name, fmt.Sprintf("n%d", k), n, fmt.Sprintf("10.%d.%d.0/24", 2*c, k),
				fmt.Sprintf("100.127.%d.%d", 4*c, k+1), fmt.Sprintf("203.0.113.%d", n))
			nd.Gateway = k == 0 || r.IntN(2) == 0
			nd.NodeAddresses = []netip.Addr{netip.MustParseAddr(fmt.Sprintf("192.168.%d.%d", c, k+1))}
			if r.IntN(2) == 0 {
				nd.HostSubnets = append(nd.HostSubnets, pfx(fmt.Sprintf("10.%d.%d.0/24", 2*c+1, k))...)
			}
			v.Nodes = append(v.Nodes, nd)
			n++
		}
	}
	for range len(v.Nodes) {
		if !clean {
			spoil(r, &v)
		}
	}
	v.Self = v.Nodes[r.IntN(len(v.Nodes))].Ref
	return v
}

func spoil(r *rand.Rand, v *View) {
	a, b := &v.Nodes[r.IntN(len(v.Nodes))], &v.Nodes[r.IntN(len(v.Nodes))]
	c, d := &v.Clusters[r.IntN(len(v.Clusters))], &v.Clusters[r.IntN(len(v.Clusters))]
	switch r.IntN(14) {
	case 0:
		a.PublicKey = b.PublicKey
	case 1:
		a.PublicKey = Key{}
	case 2:
		a.Endpoint = b.Endpoint
	case 3:
		a.Endpoint = Endpoint{}
	case 4:
		a.HostSubnets = append(slices.Clone(a.HostSubnets), b.HostSubnets...)
	case 5:
		a.HostSubnets = pfx("0.0.0.0/0", "10.0.0.0/8", "fd00::/8")
	case 6:
		a.TunnelAddress = b.TunnelAddress
	case 7:
		a.Cluster = b.Cluster
	case 8:
		c.PodCIDRs = d.PodCIDRs
	case 9:
		c.TunnelCIDR = d.TunnelCIDR
	case 10:
		c.GlobalPodCIDRs = d.PodCIDRs
	case 11:
		a.Since = b.Since.Add(time.Duration(r.IntN(3)-1) * time.Second)
	case 12:
		a.HostSubnets = []netip.Prefix{{}, netip.PrefixFrom(netip.MustParseAddr("10.0.0.1"), 14)}
	case 13:
		c.Name = d.Name
	}
}

func runs(t *testing.T, clean bool, f func(r *rand.Rand, v View)) {
	for seed := range uint64(400) {
		r := rand.New(rand.NewPCG(seed, 7))
		f(r, random(r, clean))
		if t.Failed() {
			t.Fatalf("at seed %d", seed)
		}
	}
}

// TestNothingUndeclared: whatever is claimed, no two peers share an address, none has one
// of this node's cluster (unless it is of it), and none one that no other cluster declares.
func TestNothingUndeclared(t *testing.T) {
	runs(t, false, func(_ *rand.Rand, v View) { holds(t, v) })
}

func holds(t *testing.T, v View) {
	t.Helper()
	dp := Compute(v)
	all := newClaims()
	keys := map[Key]Ref{}
	declared := slices.Concat(dp.Remote, dp.RemoteTunnel)
	for i, p := range dp.Peers {
		if p.Ref == v.Self || p.PublicKey.IsZero() || p.Endpoint.Host == "" || p.Endpoint.Port == 0 {
			t.Errorf("%s cannot be a peer: %+v", p.Ref, p)
		}
		if other, taken := keys[p.PublicKey]; taken {
			t.Errorf("%s and %s have one key", other, p.Ref)
		}
		keys[p.PublicKey] = p.Ref
		if at := p.TunnelAddress; at.IsValid() && (p.Ref.Cluster == v.Self.Cluster || !slices.Contains(p.AllowedIPs, netip.PrefixFrom(at, at.BitLen()))) {
			t.Errorf("%s does not answer at %v: %v", p.Ref, at, p.AllowedIPs)
		}
		for _, a := range p.AllowedIPs {
			if other, ok := all.add(a, i); !ok {
				t.Errorf("%s: %v is also allowed for %s", p.Ref, a, dp.Peers[other].Ref)
			}
			inside := func(d netip.Prefix) bool { return contains(d, a) }
			if p.Ref.Cluster != v.Self.Cluster && !slices.ContainsFunc(declared, inside) {
				t.Errorf("%s: %v is in nothing that is declared: %v", p.Ref, a, declared)
			}
		}
	}
}

// TestSymmetry: what a node sends to a peer, that peer accepts from it, and so does every
// node on the way: owner, carrier, carrier, owner. Both directions take the same way.
func TestSymmetry(t *testing.T) {
	runs(t, true, func(_ *rand.Rand, v View) {
		planes := map[Ref]DataPlane{}
		for _, n := range v.Nodes {
			v.Self = n.Ref
			planes[n.Ref] = Compute(v)
			if rs := planes[n.Ref].Refusals; len(rs) > 0 {
				t.Fatalf("a clean mesh has refusals: %v", rs)
			}
		}
		for _, a := range v.Nodes {
			for _, b := range v.Nodes {
				if a.Cluster != b.Cluster {
					there, back := way(t, planes, v, a, b), way(t, planes, v, b, a)
					slices.Reverse(back)
					if !slices.Equal(there, back) {
						t.Errorf("%s to %s goes %v, back %v", a.Ref, b.Ref, there, back)
					}
				}
			}
		}
	})
}

// way follows a packet from a to b by the allowed IPs and checks that each hop accepts it.
func way(t *testing.T, planes map[Ref]DataPlane, v View, a, b Node) []Ref {
	t.Helper()
	src, dst := seenAs(v, a), seenAs(v, b)
	hops := []Ref{a.Ref}
	for at := a.Ref; at != b.Ref; {
		next, ok := peerFor(planes[at], dst)
		if !ok {
			t.Errorf("%s to %s: %s has no peer for %v", a.Ref, b.Ref, at, dst)
			return hops
		}
		if from, ok := peerFor(planes[next], src); !ok || from != at {
			t.Errorf("%s to %s: %s sends by %s, which expects %v from %s", a.Ref, b.Ref, at, next, src, from)
			return hops
		}
		at = next
		if hops = append(hops, at); len(hops) > 4 {
			t.Errorf("%s to %s goes in circles: %v", a.Ref, b.Ref, hops)
			return hops
		}
	}
	return hops
}

// seenAs is an address in the node's last subnet as the others see it.
func seenAs(v View, n Node) netip.Addr {
	for i := range v.Clusters {
		if c := &v.Clusters[i]; c.Name == n.Cluster {
			seen, _ := c.Translate(n.HostSubnets[len(n.HostSubnets)-1])
			return seen.Addr().Next()
		}
	}
	return netip.Addr{}
}

// peerFor is cryptokey routing: the peer with the longest allowed prefix.
func peerFor(dp DataPlane, a netip.Addr) (best Ref, found bool) {
	longest := -1
	for _, p := range dp.Peers {
		for _, allowed := range p.AllowedIPs {
			if allowed.Contains(a) && allowed.Bits() > longest {
				best, longest, found = p.Ref, allowed.Bits(), true
			}
		}
	}
	return best, found
}

// TestOrderDoesNotMatter: the same objects in any order give the same data plane.
func TestOrderDoesNotMatter(t *testing.T) {
	runs(t, false, func(r *rand.Rand, v View) {
		want := Compute(v)
		r.Shuffle(len(v.Nodes), func(i, j int) { v.Nodes[i], v.Nodes[j] = v.Nodes[j], v.Nodes[i] })
		r.Shuffle(len(v.Clusters), func(i, j int) { v.Clusters[i], v.Clusters[j] = v.Clusters[j], v.Clusters[i] })
		if got := Compute(v); !reflect.DeepEqual(got, want) {
			t.Errorf("got\n%s\nwant\n%s", show(got), show(want))
		}
	})
}

// TestClaims compares the trie with comparing every pair.
func TestClaims(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		c := newClaims()
		var accepted []netip.Prefix
		for range 60 {
			var b [4]byte
			binary.BigEndian.PutUint32(b[:], r.Uint32()&0x0f0f0000)
			p := netip.PrefixFrom(netip.AddrFrom4(b), r.IntN(33)).Masked()
			if p.Bits() < 6 && r.IntN(8) > 0 {
				continue
			}
			clash := slices.ContainsFunc(accepted, p.Overlaps)
			other, ok := c.add(p, len(accepted))
			if ok == clash {
				t.Fatalf("%v among %v: accepted is %v", p, accepted, ok)
			}
			if ok {
				accepted = append(accepted, p)
			} else if !accepted[other].Overlaps(p) {
				t.Fatalf("%v does not overlap %v", p, accepted[other])
			}
		}
	}
}

// TestLowOrder: these points, and only such, give no secret.
func TestLowOrder(t *testing.T) {
	mine, err := ecdh.X25519().NewPrivateKey(bytes.Repeat([]byte{7}, 32))
	if err != nil {
		t.Fatal(err)
	}
	if len(lowOrder) != 6 {
		t.Errorf("%d points", len(lowOrder))
	}
	for k := range lowOrder {
		theirs, err := ecdh.X25519().NewPublicKey(k[:])
		if err != nil {
			t.Fatal(err)
		}
		if _, err := mine.ECDH(theirs); err == nil {
			t.Errorf("%s gives a secret", k)
		}
	}
}

func FuzzCompute(f *testing.F) {
	for seed := range uint64(20) {
		f.Add(seed, false, []byte{})
	}
	f.Add(uint64(3), true, []byte{1, 2, 3, 4, 5, 6, 7, 8, 9})
	f.Fuzz(func(t *testing.T, seed uint64, clean bool, raw []byte) {
		v := random(rand.New(rand.NewPCG(seed, 1)), clean)
		// Raw bytes become prefixes of nodes and clusters: five bytes each, whatever they say.
		for i := 0; i+6 <= len(raw); i += 6 {
			p := netip.PrefixFrom(netip.AddrFrom4([4]byte(raw[i:i+4])), int(raw[i+4]%34)-1)
			n, c := &v.Nodes[int(raw[i+5])%len(v.Nodes)], &v.Clusters[int(raw[i+5])%len(v.Clusters)]
			switch raw[i+5] % 4 {
			case 0:
				n.HostSubnets = append(slices.Clone(n.HostSubnets), p)
			case 1:
				n.TunnelAddress = p.Addr()
			case 2:
				c.PodCIDRs = append(slices.Clone(c.PodCIDRs), p)
			case 3:
				c.TunnelCIDR = p
			}
		}
		holds(t, v)
	})
}
