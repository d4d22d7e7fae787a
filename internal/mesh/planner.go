package mesh

import (
	"net/netip"
	"slices"
)

// Planner computes the data plane of a node again and again. It gives what Compute gives;
// where a few nodes differ from the view before, it takes a fraction of the time. The zero
// value is ready.
//
// It keeps the last view, which must not be changed afterwards; data planes share what
// they have in common.
type Planner struct {
	view  View
	dp    DataPlane
	judge *judge // of the view; nil: the next plan is made from nothing
	self  bool   // the node itself is in the view: without it there are no peers
}

const (
	// fewNodes is how many nodes may differ for a plan to be made from the one before.
	fewNodes = 16
	// slack is how many nodes that are gone are remembered before all is made anew.
	slack = 1000
)

// Plan computes the data plane of the view.
func (p *Planner) Plan(v View) DataPlane {
	if dp, ok := p.follow(v); ok {
		p.view, p.dp = v, dp
		return dp
	}
	p.view = v
	p.dp, p.judge = compute(v)
	p.self = slices.ContainsFunc(v.Nodes, func(n Node) bool { return n.Ref == v.Self })
	return p.dp
}

// follow makes the plan from the one before. It does so only where nothing is refused,
// before and after: then each node has all that it claims, whoever came first, and what
// one of them has says nothing about another. With gateways it would.
func (p *Planner) follow(v View) (DataPlane, bool) {
	if p.judge == nil || !p.self || len(p.dp.Refusals) > 0 || len(p.judge.order) > len(v.Nodes)+slack || !sameClusters(p.view, v) {
		return DataPlane{}, false
	}
	gone, come := changed(p.view.Nodes, v.Nodes)
	if max(len(gone), len(come)) > fewNodes {
		return DataPlane{}, false
	}
	for i := range gone {
		if gone[i].Ref == v.Self {
			return DataPlane{}, false
		}
		p.judge.forget(&gone[i])
	}
	fresh := make([]Peer, 0, len(come))
	for i := range come {
		m, ok := p.judge.admit(&come[i])
		if !ok || m.Ref == v.Self {
			p.judge = nil // it knows half of the view
			return DataPlane{}, false
		}
		if m.Cluster != v.Self.Cluster {
			fresh = append(fresh, Peer{Ref: m.Ref, PublicKey: m.PublicKey, Endpoint: m.Endpoint, AllowedIPs: sortedPrefixes(m.owned()), TunnelAddress: m.tunnel})
		}
	}
	peers := replaced(p.dp.Peers, gone, fresh)
	dp := p.dp
	if dp.Peers = peers; len(peers) == 0 {
		dp.Peers = nil
	}
	return dp, true
}

// replaced are the peers without those nodes that are gone, and with the fresh ones.
func replaced(before []Peer, gone []Node, fresh []Peer) []Peer {
	search := func(peers []Peer, r Ref) (int, bool) {
		return slices.BinarySearchFunc(peers, r, func(p Peer, r Ref) int { return compareRefs(p.Ref, r) })
	}
	peers := make([]Peer, len(before), len(before)+len(fresh))
	copy(peers, before)
	for i := range gone {
		r := gone[i].Ref
		if slices.ContainsFunc(fresh, func(p Peer) bool { return p.Ref == r }) {
			continue // it has only changed
		}
		if at, there := search(peers, r); there {
			peers = slices.Delete(peers, at, at+1)
		}
	}
	for _, p := range fresh {
		at, there := search(peers, p.Ref)
		if there {
			peers[at] = p
		} else {
			peers = slices.Insert(peers, at, p)
		}
	}
	return peers
}

// sameClusters tells whether two views are of one node of the same members, none of which
// has gateways.
func sameClusters(a, b View) bool {
	return a.Self == b.Self && a.ListenPort == b.ListenPort && slices.EqualFunc(a.Clusters, b.Clusters, func(c, d Cluster) bool {
		return c.Name == d.Name && c.TunnelCIDR == d.TunnelCIDR && c.Topology == d.Topology && c.Topology != Gateway &&
			slices.Equal(c.PodCIDRs, d.PodCIDRs) && slices.Equal(c.ServiceCIDRs, d.ServiceCIDRs) && slices.Equal(c.GlobalPodCIDRs, d.GlobalPodCIDRs)
	})
}

// changed leaves out what two lists have in common at their beginnings and at their ends.
func changed(before, after []Node) (gone, come []Node) {
	for len(before) > 0 && len(after) > 0 && before[0].equal(&after[0]) {
		before, after = before[1:], after[1:]
	}
	for len(before) > 0 && len(after) > 0 && before[len(before)-1].equal(&after[len(after)-1]) {
		before, after = before[:len(before)-1], after[:len(after)-1]
	}
	return before, after
}

func (n *Node) equal(o *Node) bool {
	return n.Ref == o.Ref && n.PublicKey == o.PublicKey && n.Endpoint == o.Endpoint && n.ListenPort == o.ListenPort &&
		n.TunnelAddress == o.TunnelAddress && n.Gateway == o.Gateway && n.Since.Equal(o.Since) &&
		slices.Equal(n.HostSubnets, o.HostSubnets) && slices.Equal(n.NodeAddresses, o.NodeAddresses)
}

// admit judges one more node; not ok means that something of it is refused.
func (j *judge) admit(n *Node) (m member, ok bool) {
	clean := true
	j.refuse = func(Refusal) { clean = false }
	j.order = append(j.order, n)
	m, ok = j.node(len(j.order) - 1)
	return m, ok && clean
}

// forget takes back all that a node claims of which nothing was refused.
func (j *judge) forget(n *Node) {
	delete(j.refs, n.Ref)
	delete(j.keys, n.PublicKey)
	delete(j.endpoints, n.Endpoint.canonical())
	if n.TunnelAddress.IsValid() {
		j.prefixes.remove(netip.PrefixFrom(n.TunnelAddress, n.TunnelAddress.BitLen()))
	}
	for _, s := range n.HostSubnets {
		if seen, ok := j.byName[n.Cluster].Translate(s); ok {
			j.prefixes.remove(seen)
		}
	}
}
