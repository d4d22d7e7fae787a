package meshplan

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// The oldest API server that is supported, 1.24.
const (
	oldestMajor = 1
	oldestMinor = 24
	// admissionMinor has ValidatingAdmissionPolicy, and tokens that name the pod's node.
	admissionMinor = 30
)

// openShiftSDN is the name of the supported network type, in any case.
const openShiftSDN = "OpenShiftSDN"

// attachment is how the tunnel is wired, where the facts leave it open.
func (c *Facts) attachment() Attachment {
	switch {
	case c.Attachment != "":
		return c.Attachment
	case strings.EqualFold(c.NetworkType, openShiftSDN):
		return AttachOVS
	}
	return AttachHost
}

// checkMembers checks what concerns the set of clusters.
func (p *planner) checkMembers() {
	switch len(p.clusters) {
	case 0:
		p.conflict("", "clusters", "name at least two clusters in the inventory", "there is no cluster")
	case 1:
		p.warn("", "there is one cluster only: it will be ready for others, but linked to none")
	}
	servers := map[string]string{}
	for i := range p.clusters {
		c := &p.clusters[i]
		if !dnsLabel.MatchString(c.Name) {
			p.conflict(c.Name, "name", "use a DNS label: a-z, 0-9 and -, at most 63, a letter or digit at both ends",
				"%q cannot be a cluster's name", c.Name)
		}
		if i > 0 && c.Name == p.clusters[i-1].Name {
			p.conflict(c.Name, "name", "give each cluster a name of its own", "two clusters are called %q", c.Name)
		}
		if other, taken := servers[c.Server]; taken && c.Server != "" {
			p.conflict(c.Name, "server", "remove one of the two from the inventory, or correct its URL",
				"%s is the API server of %s already", c.Server, other)
		} else {
			servers[c.Server] = c.Name
		}
		for name := range c.TunnelCIDRs {
			if !slices.ContainsFunc(p.clusters, func(m Facts) bool { return m.Name == name }) {
				p.warn(c.Name, "is linked to %s, which is not in the inventory; that link stays as it is", name)
			}
		}
	}
}

// checkCluster checks one cluster by itself.
func (p *planner) checkCluster(c *Facts) {
	if c.Major < oldestMajor || c.Major == oldestMajor && c.Minor < oldestMinor {
		p.conflict(c.Name, "version", "upgrade the cluster to Kubernetes 1.24 (OpenShift 4.11) or newer",
			"Kubernetes %d.%d is too old", c.Major, c.Minor)
	}
	if c.Major == 1 && c.Minor >= oldestMinor && c.Minor < admissionMinor {
		p.warn(c.Name, "Kubernetes 1.%d has no ValidatingAdmissionPolicy (1.%d has): a webhook of the controller holds the agents to their own nodes, unless tunnel_admission says otherwise; the API server has to reach it as a Service",
			c.Minor, admissionMinor)
	}
	if !strings.HasPrefix(c.Server, "https://") {
		p.conflict(c.Name, "server", "give the https:// URL of the API server", "%q is no such URL", c.Server)
	}
	p.checkNetworkType(c)
	p.checkPrefixes(c)
	p.checkNodes(c)
}

func (p *planner) checkNetworkType(c *Facts) {
	sdn := strings.EqualFold(c.NetworkType, openShiftSDN)
	switch {
	case c.Attachment != "" && c.Attachment != AttachOVS && c.Attachment != AttachHost:
		p.conflict(c.Name, "attachment", "use ovs", "%q is not known", c.Attachment)
	case !sdn:
		p.conflict(c.Name, "networkType", "take the cluster out of the inventory, or move it to "+openShiftSDN,
			"%q (%s) is not supported", c.NetworkType, c.Platform)
	case c.attachment() == AttachHost:
		p.conflict(c.Name, "attachment", "use ovs", "host does not fit %s, whose bridge does the routing", c.NetworkType)
	}
}

func (p *planner) checkPrefixes(c *Facts) {
	if len(c.PodCIDRs) == 0 {
		p.conflict(c.Name, "podCIDRs", "set pod_cidrs for the cluster in the inventory", "no pod network was found")
	}
	if len(c.ServiceCIDRs) == 0 {
		p.warn(c.Name, "no service network was found: its services will not be reachable from the others")
	}
	for _, d := range c.declared() {
		if !d.prefix.IsValid() || d.prefix != d.prefix.Masked() {
			p.conflict(c.Name, d.field, "give an address prefix without host bits", "%v is none", d.prefix)
		} else if !d.prefix.Addr().Is4() {
			p.warn(c.Name, "%s: %v is left as it is: only IPv4 is carried", d.field, d.prefix)
		}
	}
	if len(c.GlobalPodCIDRs) > 0 && !sameShape(c.PodCIDRs, c.GlobalPodCIDRs) {
		p.conflict(c.Name, "globalPodCIDRs", "give one for each pod CIDR, as long and in the same order",
			"%v cannot stand for %v", c.GlobalPodCIDRs, c.PodCIDRs)
	}
}

func sameShape(a, b []netip.Prefix) bool {
	return slices.EqualFunc(a, b, func(x, y netip.Prefix) bool {
		return x.Bits() == y.Bits() && x.Addr().Is4() == y.Addr().Is4()
	})
}

// checkNodes checks the nodes of one cluster, which are sorted by name.
func (p *planner) checkNodes(c *Facts) {
	if len(c.Nodes) == 0 {
		p.conflict(c.Name, "nodes", "add nodes to the cluster, or take it out of the inventory", "the cluster has no nodes")
	}
	if len(c.Nodes) > 0 && len(c.PodCIDRs) > 0 && !slices.ContainsFunc(c.Nodes, func(n Node) bool { return len(n.HostSubnets) > 0 }) {
		p.conflict(c.Name, "nodes", "see that the cluster's pod network runs (oc get hostsubnets), or take the cluster out of the inventory",
			"none of the %d nodes has a host subnet", len(c.Nodes))
	}
	var subnets []claim
	for i := range c.Nodes {
		n := &c.Nodes[i]
		field := fmt.Sprintf("nodes[%s]", n.Name)
		if i > 0 && n.Name == c.Nodes[i-1].Name {
			p.conflict(c.Name, field, "remove one from the facts", "the node is there twice")
		}
		if !n.Ready {
			p.warn(c.Name, "node %s is not ready; its tunnel comes up when it is", n.Name)
		}
		if len(n.InternalIPs) == 0 {
			p.conflict(c.Name, field+".internalIPs", "have the node's kubelet report one (--node-ip)", "the node has no InternalIP")
		}
		if slices.Contains(n.UDPPorts, p.options.TunnelPort) {
			p.conflict(c.Name, field+".udpPorts", "choose another tunnel_port, or free it on the node",
				"UDP port %d is taken on the node", p.options.TunnelPort)
		}
		if len(n.HostSubnets) == 0 {
			p.warn(c.Name, "node %s has no host subnet yet; its pods are linked when it has one", n.Name)
		}
		for j, s := range n.HostSubnets {
			subnets = append(subnets, claim{fmt.Sprintf("%s.hostSubnets[%d]", field, j), s})
		}
	}
	p.checkSubnets(c, subnets)
}

// checkSubnets: each within a pod CIDR, none overlapping another.
func (p *planner) checkSubnets(c *Facts, subnets []claim) {
	for _, s := range subnets {
		if !slices.ContainsFunc(c.PodCIDRs, func(pod netip.Prefix) bool {
			return s.prefix.IsValid() && pod.Bits() <= s.prefix.Bits() && pod.Contains(s.prefix.Addr())
		}) {
			p.conflict(c.Name, s.field, "correct pod_cidrs of the cluster in the inventory: they must hold every node's subnet",
				"%v is in none of the pod CIDRs %v", s.prefix, c.PodCIDRs)
		}
	}
	// Prefixes overlap only if one contains the other, and then it sorts before it with
	// nothing but its own parts between: one look back is enough.
	slices.SortStableFunc(subnets, func(a, b claim) int { return a.prefix.Compare(b.prefix) })
	var widest claim
	for _, s := range subnets {
		if widest.prefix.IsValid() && widest.prefix.Overlaps(s.prefix) {
			p.conflict(c.Name, s.field, "delete the stale HostSubnet or correct the node's subnet",
				"%v overlaps %v of %s", s.prefix, widest.prefix, widest.field)
			continue
		}
		widest = s
	}
}
