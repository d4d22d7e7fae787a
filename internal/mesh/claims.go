package mesh

import "net/netip"

// claims is a set of prefixes none of which overlaps another, each with the number of
// whoever claimed it first. It is a binary trie for each address family, so that a claim
// costs as many steps as the prefix has bits, however many there are.
type claims struct {
	nodes []claimNode
}

// claimNode is a bit of the trie; nodes 0 and 1 are the roots of IPv4 and IPv6.
type claimNode struct {
	child [2]int32
	owner int32 // 1 + the claimant's number; 0: not the end of a prefix
}

func newClaims() *claims { return &claims{nodes: make([]claimNode, 2, 64)} }

// add claims p for owner. If p overlaps a prefix that is claimed already, nothing is
// added and that one's owner is returned with ok false.
func (c *claims) add(p netip.Prefix, owner int) (other int, ok bool) {
	if other, found := c.overlap(p); found {
		return other, false
	}
	at := c.root(p.Addr())
	for bit := range bits(p) {
		next := c.nodes[at].child[bit]
		if next == 0 {
			c.nodes = append(c.nodes, claimNode{})
			next = int32(len(c.nodes) - 1)
			c.nodes[at].child[bit] = next
		}
		at = next
	}
	c.nodes[at].owner = int32(owner) + 1
	return owner, true
}

// overlap returns the owner of a claimed prefix that contains p or lies in it.
func (c *claims) overlap(p netip.Prefix) (owner int, found bool) {
	at := c.root(p.Addr())
	for bit := range bits(p) {
		if o := c.nodes[at].owner; o != 0 {
			return int(o) - 1, true
		}
		if at = c.nodes[at].child[bit]; at == 0 {
			return 0, false
		}
	}
	// Every path from here down ends in a claimed prefix: take the first.
	for c.nodes[at].owner == 0 {
		n := c.nodes[at]
		switch {
		case n.child[0] != 0:
			at = n.child[0]
		case n.child[1] != 0:
			at = n.child[1]
		default:
			return 0, false // an empty trie
		}
	}
	return int(c.nodes[at].owner) - 1, true
}

// remove takes back a prefix that was claimed.
func (c *claims) remove(p netip.Prefix) {
	at, path := c.root(p.Addr()), []int32{c.root(p.Addr())}
	for bit := range bits(p) {
		if at = c.nodes[at].child[bit]; at == 0 {
			return
		}
		path = append(path, at)
	}
	c.nodes[at].owner = 0
	// Nodes that lead to no claim any more are unhooked; the roots stay.
	for i := len(path) - 1; i > 0; i-- {
		if n := c.nodes[path[i]]; n.owner != 0 || n.child != [2]int32{} {
			return
		}
		parent := &c.nodes[path[i-1]]
		for bit, child := range parent.child {
			if child == path[i] {
				parent.child[bit] = 0
			}
		}
	}
}

func (c *claims) root(a netip.Addr) int32 {
	if a.Is4() {
		return 0
	}
	return 1
}

// bits yields the bits of p's network part, the highest first.
func bits(p netip.Prefix) func(func(int) bool) {
	a, off := p.Addr().As16(), 0
	if p.Addr().Is4() {
		off = 96
	}
	return func(yield func(int) bool) {
		for i := off; i < off+p.Bits(); i++ {
			if !yield(int(a[i/8] >> (7 - i%8) & 1)) {
				return
			}
		}
	}
}
