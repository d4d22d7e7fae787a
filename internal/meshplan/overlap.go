package meshplan

import (
	"fmt"
	"net/netip"
)

// claim is a prefix and where it is declared.
type claim struct {
	field  string
	prefix netip.Prefix
}

// declared are all prefixes that c declares.
func (c *Facts) declared() []claim {
	return append(claims("globalPodCIDRs", c.GlobalPodCIDRs), c.inside()...)
}

// inside are the networks as c itself uses them.
func (c *Facts) inside() []claim {
	return append(claims("podCIDRs", c.PodCIDRs), claims("serviceCIDRs", c.ServiceCIDRs)...)
}

// outside are the networks as the others see them.
func (c *Facts) outside() []claim {
	pods := claims("podCIDRs", c.PodCIDRs)
	if len(c.GlobalPodCIDRs) > 0 {
		pods = claims("globalPodCIDRs", c.GlobalPodCIDRs)
	}
	return append(pods, claims("serviceCIDRs", c.ServiceCIDRs)...)
}

func claims(field string, ps []netip.Prefix) []claim {
	var cs []claim
	for i, p := range ps {
		cs = append(cs, claim{fmt.Sprintf("%s[%d]", field, i), p})
	}
	return cs
}

const (
	remedyOverlap = "give one of the clusters other CIDRs, or take it out of the inventory"
	remedyNodes   = "pods could not reach these nodes: give the cluster other CIDRs, or take one out of the inventory"
)

// checkOverlaps compares every network with every other that must differ from it: what a
// cluster uses inside with what it and each other one shows outside, and all with the
// nodes' addresses and the tunnel pool. Nodes of different clusters may have the same
// private addresses; nobody routes to those.
func (p *planner) checkOverlaps() {
	for i := range p.clusters {
		c := &p.clusters[i]
		own := c.inside()
		for j, x := range own {
			for _, y := range own[:j] {
				if x.prefix.Overlaps(y.prefix) {
					p.conflict(c.Name, x.field, "correct the networks in the inventory", "%v overlaps %s %v of the same cluster", x.prefix, y.field, y.prefix)
				}
			}
		}
		for _, x := range c.declared() {
			if x.prefix.Overlaps(p.options.TunnelPool) {
				p.conflict(c.Name, x.field, "choose another tunnel_pool", "%v overlaps the tunnel pool %v", x.prefix, p.options.TunnelPool)
			}
		}
		p.overlapsPool(c)
		for j := range p.clusters {
			if d := &p.clusters[j]; i != j {
				p.overlapsCluster(c, d, j < i)
			}
			p.overlapsNodes(c, &p.clusters[j], i == j)
		}
	}
}

// overlapsCluster compares c with d. What overlaps both ways is said once, for the later.
func (p *planner) overlapsCluster(c, d *Facts, later bool) {
	for _, x := range c.inside() {
		for _, y := range d.outside() {
			mutual := len(c.GlobalPodCIDRs) == 0 && len(d.GlobalPodCIDRs) == 0
			if x.prefix.Overlaps(y.prefix) && (later || !mutual) {
				p.conflict(c.Name, x.field, remedyOverlap, "%v overlaps %s %v of %s", x.prefix, y.field, y.prefix, d.Name)
			}
		}
	}
	if len(c.GlobalPodCIDRs) == 0 || !later {
		return
	}
	for _, x := range claims("globalPodCIDRs", c.GlobalPodCIDRs) {
		for _, y := range d.outside() {
			if x.prefix.Overlaps(y.prefix) {
				p.conflict(c.Name, x.field, remedyOverlap, "%v overlaps %s %v of %s", x.prefix, y.field, y.prefix, d.Name)
			}
		}
	}
}

// overlapsNodes compares the networks of c with the addresses of d's nodes; one conflict
// for each network says how many nodes there are and names the first.
func (p *planner) overlapsNodes(c, d *Facts, same bool) {
	networks := c.outside()
	if same {
		networks = c.declared()
	}
	for _, x := range networks {
		n, first, addr := nodesIn(x.prefix, d.Nodes)
		if n > 0 {
			p.conflict(c.Name, x.field, remedyNodes, "%v holds the address %v of node %s of %s%s", x.prefix, addr, first, d.Name, others(n))
		}
	}
}

func (p *planner) overlapsPool(c *Facts) {
	if n, first, addr := nodesIn(p.options.TunnelPool, c.Nodes); n > 0 {
		p.conflict(c.Name, "nodes", "choose another tunnel_pool", "the tunnel pool %v holds the address %v of node %s%s",
			p.options.TunnelPool, addr, first, others(n))
	}
}

func nodesIn(network netip.Prefix, nodes []Node) (count int, first string, addr netip.Addr) {
	for i := range nodes {
		for _, list := range [][]netip.Addr{nodes[i].InternalIPs, nodes[i].ExternalIPs} {
			for _, a := range list {
				if network.Contains(a) {
					if count == 0 || nodes[i].Name != first {
						count++
					}
					if count == 1 {
						first, addr = nodes[i].Name, a
					}
				}
			}
		}
	}
	return count, first, addr
}

func others(n int) string {
	if n <= 1 {
		return ""
	}
	return fmt.Sprintf(" and those of %d more", n-1)
}
