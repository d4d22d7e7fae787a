package sdn

import (
	"net/netip"
	"slices"
	"testing"

	networkv1 "github.com/openshift/api/network/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sdn-tunnel/sdn-tunnel/internal/lab/sdn/tables"
)

func TestAllocateSubnets(t *testing.T) {
	c := Cluster{PodCIDR: netip.MustParsePrefix("10.128.0.0/14")}
	ip := netip.MustParseAddr
	existing := []*networkv1.HostSubnet{hostSubnet(NodeAddress{"b", ip("192.168.50.12")}, netip.MustParsePrefix("10.128.2.0/23"))}
	got, err := AllocateSubnets(c, existing, []NodeAddress{
		{"a", ip("192.168.50.11")}, {"b", ip("192.168.50.12")}, {"c", ip("192.168.50.13")},
	})
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, hs := range got {
		lines = append(lines, hs.Name+" "+hs.HostIP+" "+hs.Subnet)
	}
	want := []string{"a 192.168.50.11 10.128.0.0/23", "c 192.168.50.13 10.128.4.0/23"}
	if !slices.Equal(lines, want) {
		t.Errorf("got %q, want %q", lines, want)
	}
	c.PodCIDR = netip.MustParsePrefix("10.128.0.0/23")
	if _, err := AllocateSubnets(c, nil, []NodeAddress{{"a", ip("192.168.50.11")}, {"b", ip("192.168.50.12")}}); err == nil {
		t.Error("two subnets out of one: no error")
	}
}

func TestAllocateVNIDs(t *testing.T) {
	existing := []*networkv1.NetNamespace{{ObjectMeta: metav1.ObjectMeta{Name: "old"}, NetID: 10}}
	names := []string{"default", "kube-system", "old", "new"}
	for mode, want := range map[tables.Mode][]uint32{
		tables.Subnet: {0, 0, 0}, tables.Multitenant: {0, 0, 11}, tables.NetworkPolicy: {0, 11, 12},
	} {
		got, err := AllocateVNIDs(mode, existing, names)
		if err != nil {
			t.Fatal(err)
		}
		var ids []uint32
		for _, n := range got {
			ids = append(ids, n.NetID)
		}
		if !slices.Equal(ids, want) {
			t.Errorf("%s: ids %v, want %v", mode, ids, want)
		}
	}
}

func TestBlockWithException(t *testing.T) {
	got := block(&networkingv1.IPBlock{CIDR: "10.0.0.0/30", Except: []string{"10.0.0.1/32"}})
	var prefixes []string
	for _, a := range got {
		prefixes = append(prefixes, a.PeerCIDR.String())
	}
	if want := []string{"10.0.0.0/32", "10.0.0.2/31"}; !slices.Equal(prefixes, want) {
		t.Errorf("got %q, want %q", prefixes, want)
	}
}

// Every object that a cluster is made from can be read.
func TestObjectsAreReadable(t *testing.T) {
	c := Cluster{
		PodCIDR: netip.MustParsePrefix("10.128.0.0/14"), ServiceCIDR: netip.MustParsePrefix("172.30.0.0/16"),
	}.withDefaults()
	objects, err := readObjects(manifests, "manifests", c)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range objects {
		if o.GetName() == "" || o.GetKind() == "" {
			t.Errorf("object without name or kind: %v", o.Object)
		}
	}
}
