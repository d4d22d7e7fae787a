package mesh

import (
	"cmp"
	"net/netip"
	"slices"
)

// Compute gives what the node v.Self has to have. The result depends on what is in the
// view alone, not on its order. Whatever cannot be used is refused by name, and all the
// rest is used. Its cost grows with the number of nodes times its logarithm.
func Compute(v View) DataPlane {
	dp, _ := compute(v)
	return dp
}

// compute also gives the judge of the nodes, which knows all that they claim; nil: there
// is no cluster of their own.
func compute(v View) (DataPlane, *judge) {
	dp := DataPlane{Self: v.Self, ListenPort: v.ListenPort}
	refuse := func(r Refusal) { dp.Refusals = append(dp.Refusals, r) }
	m := acceptClusters(v.Self.Cluster, v.Clusters, refuse)
	if m.self == nil {
		refuse(Refusal{Ref{Cluster: v.Self.Cluster}, UnknownCluster, "metadata.name",
			"this cluster has no LinkedCluster of its own; the deploy applies it"})
		sortRefusals(dp.Refusals)
		return dp, nil
	}
	nodes, j := acceptNodes(v, m, refuse)
	dp.LocalPods = sortedPrefixes(slices.DeleteFunc(slices.Clone(m.self.PodCIDRs), malformed))
	for name, c := range m.byName {
		if name == v.Self.Cluster {
			continue
		}
		dp.Remote = append(dp.Remote, c.Outside()...)
		dp.RemoteService = append(dp.RemoteService, c.ServiceCIDRs...)
		dp.RemoteTunnel = append(dp.RemoteTunnel, c.TunnelCIDR)
		dp.RemoteClusters = append(dp.RemoteClusters,
			RemoteCluster{Name: name, Pods: sortedPrefixes(c.Outside()), Services: sortedPrefixes(c.ServiceCIDRs)})
	}
	slices.SortFunc(dp.RemoteClusters, func(a, b RemoteCluster) int { return cmp.Compare(a.Name, b.Name) })
	dp.Remote, dp.RemoteService, dp.RemoteTunnel =
		sortedPrefixes(dp.Remote), sortedPrefixes(dp.RemoteService), sortedPrefixes(dp.RemoteTunnel)
	if i, found := slices.BinarySearchFunc(nodes, v.Self, func(n member, r Ref) int { return compareRefs(n.Ref, r) }); found {
		self := &nodes[i]
		dp.TunnelAddress = self.tunnel
		dp.Local = sortedPrefixes(self.local)
		dp.ListenPort = cmp.Or(self.ListenPort, v.ListenPort)
		dp.Peers = peersOf(self, nodes, &dp)
	}
	sortRefusals(dp.Refusals)
	return dp, j
}

// peersOf gives the peers of self.
func peersOf(self *member, nodes []member, dp *DataPlane) []Peer {
	c := newCarriers(nodes)
	s := peerSet{self: self, index: map[Ref]int{}}
	if self.cluster.Topology == Gateway && !self.Gateway {
		s.throughGateway(c, dp)
		return s.sorted()
	}
	for i := range nodes {
		n := &nodes[i]
		if n.Cluster == self.Cluster {
			if self.cluster.Topology == Gateway && !n.Gateway {
				s.worker(c, n, dp.ListenPort)
			}
			continue
		}
		s.remote(c, n)
	}
	return s.sorted()
}

// peerSet gathers the peers of one node.
type peerSet struct {
	self  *member
	peers []Peer
	index map[Ref]int
}

// allow makes n a peer at endpoint e that may send from, and is sent what is for, ps.
func (s *peerSet) allow(n *member, e Endpoint, ps ...netip.Prefix) {
	i, ok := s.index[n.Ref]
	if !ok {
		i = len(s.peers)
		s.index[n.Ref] = i
		s.peers = append(s.peers, Peer{Ref: n.Ref, PublicKey: n.PublicKey, Endpoint: e})
	}
	s.peers[i].AllowedIPs = append(s.peers[i].AllowedIPs, ps...)
}

// remote adds what the remote node n owns to the peer that carries it. A node that could
// be a carrier is a peer even if it carries nothing at the moment.
func (s *peerSet) remote(c carriers, n *member) {
	if n.candidate() {
		s.allow(n, n.Endpoint)
		s.peers[s.index[n.Ref]].TunnelAddress = n.tunnel // a candidate carries what it owns
	}
	if by := c.of(n); by != nil {
		s.allow(by, by.Endpoint, n.owned()...)
	}
}

// worker adds a worker of the gateway's own cluster, with what the gateway carries for it.
func (s *peerSet) worker(c carriers, n *member, port uint16) {
	e, ok := inside(n, port)
	if !ok {
		return
	}
	s.allow(n, e)
	if c.of(n) == s.self {
		s.allow(n, e, n.owned()...)
	}
}

// owned is all that is n's own, as the others see it.
func (n *member) owned() []netip.Prefix {
	ps := slices.Clone(n.seen)
	if n.tunnel.IsValid() {
		ps = append(ps, netip.PrefixFrom(n.tunnel, n.tunnel.BitLen()))
	}
	return ps
}

// throughGateway makes the gateways of a worker its peers: its carrier with all that is
// remote, the others ready to take over.
func (s *peerSet) throughGateway(c carriers, dp *DataPlane) {
	for _, g := range c.candidates[s.self.Cluster] {
		if e, ok := inside(g, dp.ListenPort); ok {
			s.allow(g, e)
		}
	}
	g := c.of(s.self)
	if g == nil {
		return
	}
	if e, ok := inside(g, dp.ListenPort); ok {
		s.allow(g, e, dp.Remote...)
		s.allow(g, e, dp.RemoteTunnel...)
	}
}

// inside is the endpoint of n for nodes of its own cluster: its underlay address.
func inside(n *member, port uint16) (Endpoint, bool) {
	if n.PublicKey.IsZero() || len(n.NodeAddresses) == 0 {
		return Endpoint{}, false
	}
	return Endpoint{Host: n.NodeAddresses[0].String(), Port: cmp.Or(n.ListenPort, port)}, true
}

func (s *peerSet) sorted() []Peer {
	for i := range s.peers {
		s.peers[i].AllowedIPs = sortedPrefixes(s.peers[i].AllowedIPs)
	}
	slices.SortFunc(s.peers, func(a, b Peer) int { return compareRefs(a.Ref, b.Ref) })
	return s.peers
}

// sortedPrefixes is a sorted copy without duplicates.
func sortedPrefixes(ps []netip.Prefix) []netip.Prefix {
	if len(ps) == 0 {
		return nil
	}
	ps = slices.Clone(ps)
	slices.SortFunc(ps, netip.Prefix.Compare)
	return slices.Compact(ps)
}

func sortRefusals(rs []Refusal) {
	slices.SortFunc(rs, func(a, b Refusal) int {
		return cmp.Or(compareRefs(a.Ref, b.Ref), cmp.Compare(a.Field, b.Field),
			cmp.Compare(a.Reason, b.Reason), cmp.Compare(a.Detail, b.Detail))
	})
}
