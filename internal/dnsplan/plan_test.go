package dnsplan

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sdn-tunnel/sdn-tunnel/api/v1alpha1"
	"github.com/sdn-tunnel/sdn-tunnel/internal/golden"
)

func prefixes(texts ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, s := range texts {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

func pair() []Cluster {
	return []Cluster{
		{Name: "west", Zone: "cluster.west", Networks: prefixes("172.31.0.0/16", "10.132.0.0/14")},
		{Name: "east", Zone: "cluster.east", Networks: prefixes("172.30.0.0/16", "10.128.0.0/14")},
	}
}

func TestCorefile(t *testing.T) {
	three := append(pair(), Cluster{Name: "north", Zone: "north.example.com", Networks: prefixes("172.29.0.0/24", "fd00:10::/62", "10.200.0.192/27")})
	for _, tt := range []struct {
		name     string
		clusters []Cluster
		options  Options
	}{
		{"pair", pair(), Options{Self: "east"}},
		{"alone", pair()[1:], Options{Self: "east"}},
		{"three", three, Options{Self: "west", Port: 53, ClusterDomain: "k8s.local", Peers: "/peers"}},
		{"clusterset", pair(), Options{Self: "east", ClusterSet: true}},
		{"extra", pair(), Options{Self: "west", Extra: "\nexample.org:5353 {\n    whoami\n}\n\n"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, err := Make(tt.clusters, tt.options)
			if err != nil {
				t.Fatal(err)
			}
			got := p.Corefile + "\n# forwarded: " + strings.Join(p.Zones, " ") + "\n# peers: " + strings.Join(p.Peers, " ") + "\n"
			golden.Check(t, tt.name+".corefile", got)
		})
	}
}

// TestStable: the order in which members are listed is no difference, any other change is.
func TestStable(t *testing.T) {
	clusters := append(pair(), Cluster{Name: "north", Zone: "cluster.north", Networks: prefixes("172.29.0.0/16")})
	want, err := Make(clusters, Options{Self: "east"})
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		rand.Shuffle(len(clusters), func(i, j int) { clusters[i], clusters[j] = clusters[j], clusters[i] })
		got, err := Make(clusters, Options{Self: "east"})
		if err != nil || !cmp.Equal(got, want) {
			t.Fatalf("another order: %v\n%s", err, cmp.Diff(want, got))
		}
	}
	for name, o := range map[string]Options{"self": {Self: "west"}, "port": {Self: "east", Port: 53}, "clusterset": {Self: "east", ClusterSet: true}, "extra": {Self: "east", Extra: "x {\n}"}} {
		if got, err := Make(clusters, o); err != nil || got.Hash == want.Hash {
			t.Errorf("%s: hash %s, %v", name, got.Hash, err)
		}
	}
}

func TestRefused(t *testing.T) {
	with := func(name, zone string) []Cluster { return append(pair(), Cluster{Name: name, Zone: zone}) }
	for _, tt := range []struct {
		name     string
		clusters []Cluster
		options  Options
		want     string
	}{
		{"same zone", with("north", "cluster.west"), Options{Self: "east"}, "is that of cluster west, too"},
		{"own domain", with("north", "cluster.local"), Options{Self: "east"}, "one in the other"},
		{"above the own domain", with("north", "local"), Options{Self: "east"}, "one in the other"},
		{"in the own domain", with("north", "north.cluster.local"), Options{Self: "east"}, "one in the other"},
		{"in the clusterset", with("north", "north.clusterset.local"), Options{Self: "east"}, "one in the other"},
		{"reverse", with("north", "10.in-addr.arpa"), Options{Self: "east"}, "names of addresses"},
		{"syntax", with("north", "north {"), Options{Self: "east"}, "no DNS name"},
		{"capitals", with("north", "North"), Options{Self: "east"}, "no DNS name"},
		{"long", with("north", strings.Repeat("a.", 130)+"a"), Options{Self: "east"}, "no DNS name"},
		{"cluster's name", with("a/../b", "cluster.b"), Options{Self: "east"}, "no DNS label"},
		{"domain", pair(), Options{Self: "east", ClusterDomain: "a b"}, "dns_cluster_domain"},
		{"not a member", pair(), Options{Self: "north"}, "none of the members"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if p, err := Make(tt.clusters, tt.options); err == nil || !strings.Contains(err.Error(), tt.want) || p.Corefile != "" {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

func TestReverse(t *testing.T) {
	for in, want := range map[string]string{
		"10.0.0.0/8":      "10.in-addr.arpa",
		"172.31.0.0/16":   "31.172.in-addr.arpa",
		"10.132.0.0/14":   "132.10.in-addr.arpa 133.10.in-addr.arpa 134.10.in-addr.arpa 135.10.in-addr.arpa",
		"10.255.255.0/24": "255.255.10.in-addr.arpa",
		"10.0.254.0/23":   "254.0.10.in-addr.arpa 255.0.10.in-addr.arpa",
		"192.0.2.6/31":    "6.2.0.192.in-addr.arpa 7.2.0.192.in-addr.arpa",
		"fd00:1::/48":     "0.0.0.0.1.0.0.0.0.0.d.f.ip6.arpa",
		"fd00::e/127":     "e." + strings.Repeat("0.", 29) + "d.f.ip6.arpa f." + strings.Repeat("0.", 29) + "d.f.ip6.arpa",
	} {
		if got := strings.Join(Reverse(netip.MustParsePrefix(in)), " "); got != want {
			t.Errorf("%s: got %s, want %s", in, got, want)
		}
	}
}

// TestReverseCovers: each address of a network is in exactly one of its zones, and its
// neighbours outside are in none.
func TestReverseCovers(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // a test's numbers
	in := func(a netip.Addr, zones []string) (n int) {
		digits := 4
		if a.Is6() {
			digits = 32
		}
		name := arpa(a, digits)
		for _, z := range zones {
			if within(name, z) {
				n++
			}
		}
		return n
	}
	for range 3000 {
		raw := make([]byte, []int{4, 16}[r.IntN(2)])
		for i := range raw {
			raw[i] = byte(r.Uint32())
		}
		addr, _ := netip.AddrFromSlice(raw)
		p := netip.PrefixFrom(addr, 1+r.IntN(addr.BitLen())).Masked()
		zones := Reverse(p)
		if len(zones) > 128 || !slices.Equal(slices.Compact(slices.Clone(zones)), zones) {
			t.Fatalf("%s: %d zones", p, len(zones))
		}
		if n := in(addr, zones); n != 1 {
			t.Fatalf("%s: %s is in %d zones of %v", p, addr, n, zones)
		}
		if before := p.Addr().Prev(); before.IsValid() && in(before, zones) != 0 {
			t.Fatalf("%s: %s before it is in a zone of %v", p, before, zones)
		}
		if next := after(p.Addr(), p.Bits()); in(next, zones) != 0 {
			t.Fatalf("%s: %s after it is in a zone of %v", p, next, zones)
		}
	}
}

func TestFromObjects(t *testing.T) {
	object := func(name string, spec v1alpha1.LinkedClusterSpec) v1alpha1.LinkedCluster {
		return v1alpha1.LinkedCluster{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: spec}
	}
	got, err := FromObjects([]v1alpha1.LinkedCluster{
		object("west", v1alpha1.LinkedClusterSpec{DNSZone: "w.example.com", PodCIDRs: []v1alpha1.CIDR{"10.132.0.0/14"}, ServiceCIDRs: []v1alpha1.CIDR{"172.31.0.0/16"}}),
		object("east", v1alpha1.LinkedClusterSpec{PodCIDRs: []v1alpha1.CIDR{"10.128.0.0/14"}}),
	})
	want := []Cluster{
		{Name: "east", Zone: "cluster.east", Networks: prefixes("10.128.0.0/14")},
		{Name: "west", Zone: "w.example.com", Networks: prefixes("172.31.0.0/16", "10.132.0.0/14")},
	}
	if err != nil || !cmp.Equal(got, want, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })) {
		t.Errorf("got %v, %v", got, err)
	}
	for want, spec := range map[string]v1alpha1.LinkedClusterSpec{
		`"x" is not an address prefix`: {PodCIDRs: []v1alpha1.CIDR{"x"}},
		"spec.globalPodCIDRs":          {GlobalPodCIDRs: []v1alpha1.CIDR{"10.0.0.0/14"}},
	} {
		if _, err := FromObjects([]v1alpha1.LinkedCluster{object("north", spec)}); err == nil || !strings.Contains(err.Error(), "LinkedCluster north: "+want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}
