package diagnose

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/sdn-tunnel/sdn-tunnel/api/v1alpha1"
)

// pods checks that both ends are there and can be reached at all.
func (w *walk) pods() {
	if w.q.From == nil {
		w.skip("nodes only")
		return
	}
	if why := w.apart(); why != "" {
		w.tell(why)
	}
	for _, p := range []*Pod{w.q.From, w.q.To} {
		if p == nil {
			continue
		}
		object := "Pod " + p.String()
		switch {
		case p.Missing:
			w.found("pod-missing", object, "there is none", "mind cluster, namespace and spelling: "+w.cluster(p.Cluster).kubectl("get pods -A"))
		case p.Phase != corev1.PodRunning:
			w.found("pod-not-running", object, fmt.Sprintf("it is %s%s", cmp.Or(string(p.Phase), "not scheduled"), suffix(p.Trouble)), w.cluster(p.Cluster).kubectl("-n "+p.Namespace+" describe pod "+p.Name))
		case !p.Address.IsValid():
			w.found("pod-without-address", object, "it has no address", "the SDN did not plug it in: its events say why")
		}
	}
	to := w.q.To
	switch {
	case to == nil || w.local():
	case to.HostNetwork:
		w.found("host-network", "Pod "+to.String(), fmt.Sprintf("it is on the network of its node (hostNetwork): %v is no address of the pod network, and the mesh links pod networks", to.Address),
			"run it without hostNetwork, or reach the node by the network that the nodes share")
	}
}

// networks checks that the addresses are where their clusters declare to have them, and that
// the declarations are right and do not overlap.
func (w *walk) networks() {
	if why := w.apart(); why != "" {
		w.skip(why)
		return
	}
	pods := []*Pod{w.q.From, w.q.To}
	for i, name := range []string{w.near.Cluster, w.far.Cluster} {
		c := w.cluster(name)
		if name == "" || c.Error != "" {
			continue
		}
		object := "LinkedCluster " + name
		own := c.Links[name]
		if own == nil {
			w.found("not-linked", "cluster "+name, "it has no LinkedCluster of itself: it is not in the mesh", deployAgain)
			continue
		}
		declared := prefixes(own.Spec.PodCIDRs)
		if p := pods[i]; p != nil && p.Address.IsValid() && !p.HostNetwork && !within(declared, p.Address) {
			w.found("outside-declared", object, fmt.Sprintf("it declares the pod networks %v; the pod %s has %v", declared, p, p.Address), "set pod_cidrs of the cluster right in the inventory, and "+deployAgain)
		}
		for _, real := range c.PodCIDRs {
			if !slices.Contains(declared, real) {
				w.found("wrong-cidr", object, fmt.Sprintf("it declares the pod networks %v; the cluster itself says %v", declared, real), "set pod_cidrs of the cluster right in the inventory, or leave it out, and "+deployAgain)
			}
		}
		w.seenAlike(name, own)
	}
}

// seenAlike checks that the others were told the same of a member, and have nothing of
// their own there.
func (w *walk) seenAlike(name string, own *v1alpha1.LinkedCluster) {
	for _, ref := range []string{w.near.Cluster, w.far.Cluster} {
		c := w.cluster(ref)
		if ref == name || ref == "" || c.Error != "" {
			continue
		}
		lc := c.Links[name]
		if lc == nil {
			w.found("not-linked", "cluster "+ref, "it has no LinkedCluster "+name+": the two are not linked", deployAgain)
			continue
		}
		object := fmt.Sprintf("LinkedCluster %s in cluster %s", name, ref)
		if !equal(lc.Spec.PodCIDRs, own.Spec.PodCIDRs) || !equal(lc.Spec.ServiceCIDRs, own.Spec.ServiceCIDRs) || lc.Spec.TunnelCIDR != own.Spec.TunnelCIDR {
			w.found("wrong-cidr", object, fmt.Sprintf("it has pods %v, services %v, tunnels %v; the cluster itself has %v, %v, %v",
				lc.Spec.PodCIDRs, lc.Spec.ServiceCIDRs, lc.Spec.TunnelCIDR, own.Spec.PodCIDRs, own.Spec.ServiceCIDRs, own.Spec.TunnelCIDR), deployAgain)
		}
		for _, theirs := range prefixes(lc.Spec.PodCIDRs) {
			for _, mine := range append(slices.Clone(c.PodCIDRs), prefixes(podCIDRs(c.Links[ref]))...) {
				if theirs.Overlaps(mine) {
					w.found("overlap", object, fmt.Sprintf("its pod network %v overlaps %v of cluster %s", theirs, mine, ref), "clusters of one mesh need pod networks of their own: make one of them anew, or set pod_cidrs right")
				}
			}
		}
	}
}

func podCIDRs(lc *v1alpha1.LinkedCluster) []v1alpha1.CIDR {
	if lc == nil {
		return nil
	}
	return lc.Spec.PodCIDRs
}

func equal(a, b []v1alpha1.CIDR) bool {
	a, b = slices.Clone(a), slices.Clone(b)
	slices.Sort(a)
	slices.Sort(b)
	return slices.Equal(a, b)
}

// prefixes leaves out what is none.
func prefixes(all []v1alpha1.CIDR) (out []netip.Prefix) {
	for _, s := range all {
		if p, err := netip.ParsePrefix(string(s)); err == nil {
			out = append(out, p.Masked())
		}
	}
	return out
}

func within(all []netip.Prefix, a netip.Addr) bool {
	return slices.ContainsFunc(all, func(p netip.Prefix) bool { return p.Contains(a) })
}
