package sdn

import (
	"fmt"
	"net/netip"

	networkv1 "github.com/openshift/api/network/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// AllocateSubnets gives each node that has none a HostSubnet, the lowest free slice of
// the cluster's pod network, and returns those that are new or whose address is no
// longer the node's. Slices of nodes that are gone may be handed out again only when
// their HostSubnets are.
func AllocateSubnets(c Cluster, existing []*networkv1.HostSubnet, nodes []NodeAddress) ([]*networkv1.HostSubnet, error) {
	c = c.withDefaults()
	used := map[netip.Prefix]bool{}
	have := map[string]*networkv1.HostSubnet{}
	for _, hs := range existing {
		p, err := netip.ParsePrefix(hs.Subnet)
		if err != nil {
			return nil, fmt.Errorf("HostSubnet %s: subnet: %w", hs.Name, err)
		}
		used[p.Masked()], have[hs.Name] = true, hs
	}
	var out []*networkv1.HostSubnet
	for _, n := range nodes {
		if hs := have[n.Name]; hs != nil {
			if hs.HostIP != n.IP.String() {
				hs = hs.DeepCopy()
				hs.HostIP = n.IP.String()
				out = append(out, hs)
			}
			continue
		}
		p, err := freeSubnet(c.PodCIDR, c.HostBits, used)
		if err != nil {
			return nil, fmt.Errorf("host subnet for node %s: %w", n.Name, err)
		}
		used[p] = true
		out = append(out, hostSubnet(n, p))
	}
	return out, nil
}

func hostSubnet(n NodeAddress, p netip.Prefix) *networkv1.HostSubnet {
	return &networkv1.HostSubnet{
		TypeMeta:   metav1.TypeMeta{APIVersion: networkv1.GroupVersion.String(), Kind: "HostSubnet"},
		ObjectMeta: metav1.ObjectMeta{Name: n.Name},
		Host:       n.Name, HostIP: n.IP.String(), Subnet: p.String(),
	}
}

func freeSubnet(cidr netip.Prefix, hostBits int, used map[netip.Prefix]bool) (netip.Prefix, error) {
	bits := cidr.Addr().BitLen() - hostBits
	if !cidr.Addr().Is4() || bits < cidr.Bits() {
		return netip.Prefix{}, fmt.Errorf("pod network %s has no room for %d host bits", cidr, hostBits)
	}
	base := v4(cidr.Masked().Addr())
	for i := range uint32(1) << (bits - cidr.Bits()) {
		p := netip.PrefixFrom(fromV4(base+i<<hostBits), bits)
		if !used[p] {
			return p, nil
		}
	}
	return netip.Prefix{}, fmt.Errorf("pod network %s is used up: give the cluster a larger one", cidr)
}

func v4(a netip.Addr) uint32 {
	b := a.As4()
	return uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
}

func fromV4(v uint32) netip.Addr {
	return netip.AddrFrom4([4]byte{byte(v >> 24), byte(v >> 16), byte(v >> 8), byte(v)})
}
