package agent

import (
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/sdn-tunnel/sdn-tunnel/api/v1alpha1"
)

// own is what a node says of itself in its TunnelNode.
type own struct {
	hostSubnets   []v1alpha1.CIDR
	nodeAddresses []string
	// missing says, for people, why hostSubnets is empty.
	missing string
}

// own reads what the cluster says of this node; not ok until it was asked. Host
// subnets are OpenShift SDN's where it serves them, else the Node's podCIDRs.
func (c *Cluster) own() (o own, ok bool) {
	sdn := c.sdn.Load()
	_, synced := c.node.list()
	if sdn == nil || !synced {
		return own{}, false
	}
	node, found := c.node.get(c.self.Node)
	if !found {
		return own{missing: "there is no Node " + c.self.Node + " in the cluster: check --node"}, true
	}
	o.nodeAddresses = internalAddresses(node)
	cidrs := node.Spec.PodCIDRs
	o.missing = "Node " + c.self.Node + " has no spec.podCIDRs yet"
	if *sdn {
		if _, synced := c.subnet.list(); !synced {
			return own{}, false
		}
		cidrs = nil
		o.missing = "there is no HostSubnet " + c.self.Node + " yet: OpenShift SDN makes it when the node joins"
		if hostSubnet, found := c.subnet.get(c.self.Node); found {
			cidrs = []string{hostSubnet.Subnet}
		}
	}
	for _, text := range cidrs {
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			o.missing = "the host subnet " + text + " of " + c.self.Node + " is not an address prefix"
			continue
		}
		o.hostSubnets = append(o.hostSubnets, v1alpha1.CIDR(prefix.Masked().String()))
	}
	slices.Sort(o.hostSubnets)
	if len(o.hostSubnets) > 0 {
		o.missing = ""
	}
	return o, true
}

func internalAddresses(node *corev1.Node) []string {
	var out []string
	for _, a := range node.Status.Addresses {
		if a.Type != corev1.NodeInternalIP {
			continue
		}
		if ip, err := netip.ParseAddr(a.Address); err == nil {
			out = append(out, ip.String())
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
