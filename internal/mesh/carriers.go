package mesh

import (
	"hash/fnv"
	"io"
)

// carriers says which node's tunnel carries what a node owns at the moment. All members
// compute it from the same objects and so agree.
//
// The choice is made once for all subnets of an owner, not subnet by subnet: a worker has
// one peer to which all that is remote belongs, so what comes back to it, whichever of
// its subnets it is for, has to come by that peer too.
type carriers struct {
	// candidates are, per cluster, the nodes among which the choice is made, by Ref.
	candidates map[string][]*member
}

// newCarriers finds the candidates. A node that cannot be sent to is none.
func newCarriers(nodes []member) carriers {
	c := carriers{map[string][]*member{}}
	for i := range nodes {
		if n := &nodes[i]; n.candidate() {
			c.candidates[n.Cluster] = append(c.candidates[n.Cluster], n)
		}
	}
	return c
}

// candidate tells whether other clusters may send to the node at all.
func (n *member) candidate() bool {
	return n.usable && (n.Gateway || n.cluster.Topology != Gateway)
}

// of returns the carrier of what owner owns, or nil if nobody can carry it.
//
// Topology Mesh: the owner. Topology Gateway: the owner if it is a gateway, else the
// rendezvous choice among the gateways.
func (c carriers) of(owner *member) *member {
	if owner.candidate() {
		return owner
	}
	if owner.cluster.Topology != Gateway {
		return nil
	}
	return rendezvous(owner.Ref, c.candidates[owner.Cluster])
}

// rendezvous picks the candidate with the highest hash of owner and candidate (highest
// random weight): when a candidate goes, only what it carried moves.
func rendezvous(owner Ref, candidates []*member) *member {
	var best *member
	var top uint64
	for _, n := range candidates {
		if w := weight(owner, n.Ref); best == nil || w > top {
			best, top = n, w
		}
	}
	return best
}

// weight is FNV-1a over "<owner> <carrier>", finished with the mixer of
// SplitMix64, for FNV alone leaves the high bits of similar names alike. It is part of
// the protocol: all members must compute the same.
func weight(owner, carrier Ref) uint64 {
	h := fnv.New64a()
	_, _ = io.WriteString(h, owner.String()+" "+carrier.String()) // never fails
	x := h.Sum64()
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
