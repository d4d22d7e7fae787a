package meshplan

import (
	"encoding/binary"
	"net/netip"
	"slices"
)

// usualBits is the size of a member's part of the tunnel pool: 1,022 nodes.
const usualBits = 22

// carve gives each member its part of the tunnel pool. What is handed out already, as any
// cluster's LinkedClusters say, stays; a member that was taken out of the inventory keeps
// its part, for the links to it stay too.
func (p *planner) carve() map[string]netip.Prefix {
	kept := p.keptTunnelCIDRs()
	out := map[string]netip.Prefix{}
	var taken []netip.Prefix
	for _, k := range kept {
		taken = append(taken, k)
	}
	var open []*Facts
	for i := range p.clusters {
		c := &p.clusters[i]
		k, ok := kept[c.Name]
		switch {
		case !ok:
			open = append(open, c)
		case capacity(k.Bits()) < len(c.Nodes):
			out[c.Name] = k
			p.conflict(c.Name, "tunnelCIDR", "tear the cluster's link down and deploy again: it gets a larger part",
				"%v has room for %d nodes, there are %d", k, capacity(k.Bits()), len(c.Nodes))
		default:
			out[c.Name] = k
		}
	}
	if pool := p.options.TunnelPool; !pool.Addr().Is4() || pool.Bits() < 8 || pool.Bits() > 30 {
		return out // said already
	}
	for bits := usualBits; bits <= 30; bits++ {
		if got, ok := p.fit(open, taken, bits); ok {
			for name, part := range got {
				out[name] = part
			}
			return out
		}
	}
	p.conflict("", "tunnel_pool", "give a larger pool", "%v has no room for the nodes of %d clusters", p.options.TunnelPool, len(open)+len(kept))
	return out
}

// fit tries to give each of open a part of the given size, or a larger one where its
// nodes need it (twice their number, so that it may grow).
func (p *planner) fit(open []*Facts, taken []netip.Prefix, bits int) (map[string]netip.Prefix, bool) {
	taken = slices.Clone(taken)
	got := map[string]netip.Prefix{}
	for _, c := range open {
		size := bits
		for size > p.options.TunnelPool.Bits() && capacity(size) < len(c.Nodes)*growth(bits) {
			size--
		}
		part, ok := firstFree(p.options.TunnelPool, size, taken)
		if !ok || capacity(size) < len(c.Nodes) {
			return nil, false
		}
		got[c.Name] = part
		taken = append(taken, part)
	}
	return got, true
}

// growth is the room to grow; a pool that forces parts below the usual size has none.
func growth(bits int) int {
	if bits > usualBits {
		return 1
	}
	return 2
}

// firstFree finds the first part of pool of the given size that overlaps none of taken.
func firstFree(pool netip.Prefix, bits int, taken []netip.Prefix) (netip.Prefix, bool) {
	if bits < pool.Bits() {
		return netip.Prefix{}, false
	}
	base := pool.Masked().Addr().As4()
	start, step := uint64(binary.BigEndian.Uint32(base[:])), uint64(1)<<(32-bits)
	end := start + uint64(1)<<(32-pool.Bits())
	for at := start; at < end; {
		var b [4]byte
		binary.BigEndian.PutUint32(b[:], uint32(at))
		part := netip.PrefixFrom(netip.AddrFrom4(b), bits)
		i := slices.IndexFunc(taken, part.Overlaps)
		if i < 0 {
			return part, true
		}
		at += max(step, uint64(1)<<(32-min(taken[i].Bits(), bits)))
		at -= at % step // behind a larger part
	}
	return netip.Prefix{}, false
}

// keptTunnelCIDRs are the parts that exist. The member's own word counts first, then that
// of the others in order of their names.
func (p *planner) keptTunnelCIDRs() map[string]netip.Prefix {
	kept, from := map[string]netip.Prefix{}, map[string]string{}
	note := func(c *Facts, member string, cidr netip.Prefix) {
		if cidr == (netip.Prefix{}) {
			return
		}
		if k, ok := kept[member]; ok {
			if k != cidr {
				p.conflict(c.Name, "tunnelCIDRs["+member+"]", "correct spec.tunnelCIDR of LinkedCluster "+member+" in one of them",
					"%v here, %v in %s", cidr, k, from[member])
			}
			return
		}
		if !cidr.IsValid() || !cidr.Addr().Is4() || cidr != cidr.Masked() {
			p.conflict(c.Name, "tunnelCIDRs["+member+"]", "correct spec.tunnelCIDR of LinkedCluster "+member, "%v is not an IPv4 prefix without host bits", cidr)
			return
		}
		for _, other := range sortedKeys(kept) {
			if kept[other].Overlaps(cidr) {
				p.conflict(c.Name, "tunnelCIDRs["+member+"]", "correct spec.tunnelCIDR of one of the two LinkedClusters",
					"%v overlaps %v of %s", cidr, kept[other], other)
			}
		}
		kept[member], from[member] = cidr, c.Name
		if !p.options.TunnelPool.Overlaps(cidr) {
			p.warn(member, "keeps its tunnel addresses %v, which are not in the tunnel pool %v", cidr, p.options.TunnelPool)
		}
	}
	for i := range p.clusters {
		c := &p.clusters[i]
		note(c, c.Name, c.TunnelCIDRs[c.Name])
	}
	for i := range p.clusters {
		c := &p.clusters[i]
		for _, member := range sortedKeys(c.TunnelCIDRs) {
			note(c, member, c.TunnelCIDRs[member])
		}
	}
	return kept
}

// capacity is how many nodes a part has addresses for: all but the first and the last.
func capacity(bits int) int { return 1<<(32-bits) - 2 }

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
