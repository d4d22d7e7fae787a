package mesh

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
)

// members are the clusters that are accepted, by name.
type members struct {
	self    *Cluster
	byName  map[string]*Cluster
	refused map[string]bool
	// declared holds every prefix that traffic of the mesh may have as this node sees
	// it; a tunnel endpoint must not lie in one.
	declared *claims
}

// acceptClusters checks what the members declare. The own cluster comes first, then the
// others by name; one whose prefixes clash with those of an earlier one is refused whole.
func acceptClusters(self string, clusters []Cluster, refuse func(Refusal)) members {
	order := slices.Clone(clusters)
	slices.SortStableFunc(order, func(a, b Cluster) int {
		return cmp.Or(boolFirst(a.Name == self, b.Name == self), cmp.Compare(a.Name, b.Name),
			comparePrefixes(a.PodCIDRs, b.PodCIDRs), a.TunnelCIDR.Compare(b.TunnelCIDR),
			comparePrefixes(a.ServiceCIDRs, b.ServiceCIDRs), comparePrefixes(a.GlobalPodCIDRs, b.GlobalPodCIDRs),
			cmp.Compare(a.Topology, b.Topology))
	})
	m := members{byName: map[string]*Cluster{}, refused: map[string]bool{}, declared: newClaims()}
	for i := range order {
		c := &order[i]
		if m.byName[c.Name] != nil || m.refused[c.Name] {
			refuse(Refusal{Ref{Cluster: c.Name}, Overlap, "metadata.name",
				"another LinkedCluster has this name; remove one"})
			continue
		}
		own := c.Name == self
		if r := m.clash(order, i, own); r != nil {
			refuse(*r)
			if !own {
				m.refused[c.Name] = true
				continue
			}
		}
		for _, f := range c.fields(own) {
			if !malformed(f.prefix) {
				m.declared.add(f.prefix, i)
			}
		}
		m.byName[c.Name] = c
		if own {
			m.self = c
		}
	}
	return m
}

// clash says why order[i] cannot be a member beside those accepted before, or nil.
func (m *members) clash(order []Cluster, i int, own bool) *Refusal {
	c := &order[i]
	no := func(reason Reason, field, format string, args ...any) *Refusal {
		return &Refusal{Ref{Cluster: c.Name}, reason, field, fmt.Sprintf(format, args...)}
	}
	if len(c.PodCIDRs) == 0 {
		return no(Malformed, "spec.podCIDRs", "there is none; declare the pod networks")
	}
	if r := c.checkGlobal(no); r != nil {
		return r
	}
	inner := newClaims()
	for _, f := range c.fields(own) {
		if malformed(f.prefix) {
			return no(Malformed, f.name, "%v is not an address prefix without host bits", f.prefix)
		}
		if other, found := m.declared.overlap(f.prefix); found {
			return no(Overlap, f.name, "%v overlaps a prefix of cluster %s; give one of them other CIDRs or a global CIDR",
				f.prefix, order[other].Name)
		}
		if _, ok := inner.add(f.prefix, i); !ok && !f.mayRepeat {
			return no(Overlap, f.name, "%v overlaps another prefix of the same cluster", f.prefix)
		}
	}
	return nil
}

// checkGlobal checks that each global prefix has the form of the pod CIDR it stands for.
func (c *Cluster) checkGlobal(no func(Reason, string, string, ...any) *Refusal) *Refusal {
	if len(c.GlobalPodCIDRs) == 0 {
		return nil
	}
	if len(c.GlobalPodCIDRs) != len(c.PodCIDRs) {
		return no(Malformed, "spec.globalPodCIDRs", "%d prefixes for %d pod CIDRs; give one for each",
			len(c.GlobalPodCIDRs), len(c.PodCIDRs))
	}
	for j, g := range c.GlobalPodCIDRs {
		p := c.PodCIDRs[j]
		if !g.IsValid() || g.Bits() != p.Bits() || g.Addr().Is4() != p.Addr().Is4() {
			return no(Malformed, fmt.Sprintf("spec.globalPodCIDRs[%d]", j),
				"%v is not as long as %v, for which it stands", g, p)
		}
	}
	return nil
}

// field is one prefix that a cluster declares.
type field struct {
	name   string
	prefix netip.Prefix
	// mayRepeat: a global prefix of the own cluster may equal the pod CIDR it stands for.
	mayRepeat bool
}

// fields are the prefixes by which c is known here: as the others see it, and for the
// own cluster also as it sees itself.
func (c *Cluster) fields(own bool) []field {
	var fs []field
	add := func(name string, ps []netip.Prefix, mayRepeat bool) {
		for i, p := range ps {
			fs = append(fs, field{fmt.Sprintf("spec.%s[%d]", name, i), p, mayRepeat})
		}
	}
	if own || len(c.GlobalPodCIDRs) == 0 {
		add("podCIDRs", c.PodCIDRs, false)
	}
	add("globalPodCIDRs", c.GlobalPodCIDRs, own)
	add("serviceCIDRs", c.ServiceCIDRs, false)
	return append(fs, field{"spec.tunnelCIDR", c.TunnelCIDR, false})
}

// Outside are c's pod networks as the other members see them.
func (c *Cluster) Outside() []netip.Prefix {
	if len(c.GlobalPodCIDRs) > 0 {
		return c.GlobalPodCIDRs
	}
	return c.PodCIDRs
}

// Translate gives the prefix by which the others see p, a part of one of c's pod CIDRs.
// It is p itself unless c has global CIDRs; ok is false if p is in none of them.
func (c *Cluster) Translate(p netip.Prefix) (seen netip.Prefix, ok bool) {
	for i, pod := range c.PodCIDRs {
		if !contains(pod, p) {
			continue
		}
		if i >= len(c.GlobalPodCIDRs) {
			return p, true
		}
		return rebase(p, c.GlobalPodCIDRs[i]), true
	}
	return netip.Prefix{}, false
}

// rebase replaces the first bits of p by those of base, which is not longer than p.
func rebase(p, base netip.Prefix) netip.Prefix {
	a, b := p.Addr().AsSlice(), base.Masked().Addr().AsSlice()
	for i := range a {
		n := min(max(base.Bits()-8*i, 0), 8)
		keep := byte(0xff >> n)
		a[i] = a[i]&keep | b[i]&^keep
	}
	addr, _ := netip.AddrFromSlice(a)
	return netip.PrefixFrom(addr, p.Bits())
}

// contains tells whether inner is outer or a part of it.
func contains(outer, inner netip.Prefix) bool {
	return outer.IsValid() && inner.IsValid() && outer.Bits() <= inner.Bits() && outer.Contains(inner.Addr())
}

// malformed tells whether p is no prefix, has host bits, or is IPv4 dressed as IPv6.
func malformed(p netip.Prefix) bool {
	return !p.IsValid() || p != p.Masked() || p.Addr().Is4In6()
}

func boolFirst(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	}
	return 1
}

func comparePrefixes(a, b []netip.Prefix) int { return slices.CompareFunc(a, b, netip.Prefix.Compare) }
