package sdn

import (
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/sdn-tunnel/sdn-tunnel/internal/lab/sdn/tables"
)

// PolicyRules is what the NetworkPolicy objects of the named namespaces say, in the
// terms of tables 27 and 80: policies that select all pods or some; peers by pod
// selector, namespace selector, both, or address block; ports by number. As in
// OpenShift, an empty namespace selector is everyone, also outside the cluster.
//
// Limits: a rule whose ports are named or a range (endPort) allows nothing, IPv6 blocks
// are passed over, and hostNetwork pods, which have no address on the bridge, are
// neither selected nor selectable.
func PolicyRules(state State, namespaces []string) []tables.Namespace {
	r := policyReader{state: state, vnids: vnidsOf(state)}
	var out []tables.Namespace
	seen := map[uint32]bool{}
	for _, name := range namespaces {
		id, ok := r.vnids[name]
		if !ok || seen[id] {
			continue
		}
		seen[id] = true
		out = append(out, r.namespace(name, id))
	}
	slices.SortFunc(out, func(a, b tables.Namespace) int { return int(a.VNID) - int(b.VNID) })
	return out
}

type policyReader struct {
	state State
	vnids map[string]uint32
}

func (r policyReader) namespace(name string, id uint32) tables.Namespace {
	ns := tables.Namespace{VNID: id}
	policies := slices.DeleteFunc(slices.Clone(r.state.Policies), func(p *networkingv1.NetworkPolicy) bool { return p.Namespace != name })
	slices.SortFunc(policies, func(a, b *networkingv1.NetworkPolicy) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	for _, p := range policies {
		ingress, egress := directions(p)
		if ingress {
			own := r.selected(&ns.Ingress, p)
			for _, rule := range p.Spec.Ingress {
				ns.Ingress.Allow = append(ns.Ingress.Allow, r.allow(name, own, rule.From, rule.Ports)...)
			}
		}
		if egress {
			own := r.selected(&ns.Egress, p)
			for _, rule := range p.Spec.Egress {
				ns.Egress.Allow = append(ns.Egress.Allow, r.allow(name, own, rule.To, rule.Ports)...)
			}
		}
	}
	return ns
}

func directions(p *networkingv1.NetworkPolicy) (ingress, egress bool) {
	if len(p.Spec.PolicyTypes) == 0 {
		return true, len(p.Spec.Egress) > 0
	}
	return slices.Contains(p.Spec.PolicyTypes, networkingv1.PolicyTypeIngress),
		slices.Contains(p.Spec.PolicyTypes, networkingv1.PolicyTypeEgress)
}

// selected notes the pods that a policy isolates and returns them as rules' own side;
// the invalid address stands for all.
func (r policyReader) selected(rules *tables.Rules, p *networkingv1.NetworkPolicy) []netip.Addr {
	if isEmpty(&p.Spec.PodSelector) {
		rules.Isolated = true
		return []netip.Addr{{}}
	}
	ips := r.pods(&p.Spec.PodSelector, func(ns string) bool { return ns == p.Namespace })
	rules.Selected = append(rules.Selected, ips...)
	slices.SortFunc(rules.Selected, netip.Addr.Compare)
	rules.Selected = slices.Compact(rules.Selected)
	return ips
}

// allow is one rule: every own pod with every peer on every port.
func (r policyReader) allow(ns string, own []netip.Addr, peers []networkingv1.NetworkPolicyPeer, ports []networkingv1.NetworkPolicyPort) []tables.Allow {
	sides := []tables.Allow{{}}
	if len(peers) > 0 {
		sides = nil
		for _, p := range peers {
			sides = append(sides, r.peer(ns, p)...)
		}
	}
	var out []tables.Allow
	for _, pod := range own {
		for _, a := range sides {
			a.Pod = pod
			out = append(out, onPorts(a, ports)...)
		}
	}
	return out
}

func onPorts(a tables.Allow, ports []networkingv1.NetworkPolicyPort) []tables.Allow {
	if len(ports) == 0 {
		return []tables.Allow{a}
	}
	var out []tables.Allow
	for _, p := range ports {
		if p.EndPort != nil || p.Port != nil && p.Port.IntValue() == 0 {
			continue
		}
		a.Proto = "tcp"
		if p.Protocol != nil {
			a.Proto = map[corev1.Protocol]string{corev1.ProtocolTCP: "tcp", corev1.ProtocolUDP: "udp", corev1.ProtocolSCTP: "sctp"}[*p.Protocol]
		}
		a.Port = 0
		if p.Port != nil {
			a.Port = uint16(p.Port.IntValue())
		}
		out = append(out, a)
	}
	return out
}

func (r policyReader) peer(ns string, p networkingv1.NetworkPolicyPeer) []tables.Allow {
	switch {
	case p.IPBlock != nil:
		return block(p.IPBlock)
	case p.PodSelector == nil && isEmpty(p.NamespaceSelector):
		return []tables.Allow{{}}
	case p.PodSelector == nil || p.NamespaceSelector == nil && isEmpty(p.PodSelector):
		return r.wholeNamespaces(ns, p.NamespaceSelector)
	}
	var out []tables.Allow
	for _, ip := range r.pods(p.PodSelector, r.namespaceMatcher(ns, p.NamespaceSelector)) {
		out = append(out, tables.Allow{PeerCIDR: netip.PrefixFrom(ip, ip.BitLen())})
	}
	return out
}

func (r policyReader) wholeNamespaces(own string, selector *metav1.LabelSelector) []tables.Allow {
	matches := r.namespaceMatcher(own, selector)
	var ids []uint32
	for name, id := range r.vnids {
		if matches(name) {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	var out []tables.Allow
	for _, id := range slices.Compact(ids) {
		out = append(out, tables.Allow{PeerVNID: &id})
	}
	return out
}

// namespaceMatcher tells which namespaces a peer means: those selected, or its own.
func (r policyReader) namespaceMatcher(own string, selector *metav1.LabelSelector) func(string) bool {
	if selector == nil {
		return func(name string) bool { return name == own }
	}
	sel, err := metav1.LabelSelectorAsSelector(selector)
	if err != nil {
		return func(string) bool { return false }
	}
	matching := map[string]bool{}
	for _, ns := range r.state.Namespaces {
		matching[ns.Name] = sel.Matches(labels.Set(ns.Labels))
	}
	return func(name string) bool { return matching[name] }
}

// pods are the addresses of selected pods on the bridges, sorted.
func (r policyReader) pods(selector *metav1.LabelSelector, inNamespace func(string) bool) []netip.Addr {
	sel, err := metav1.LabelSelectorAsSelector(selector)
	if err != nil {
		return nil
	}
	var ips []netip.Addr
	for _, p := range r.state.Pods {
		ip, err := netip.ParseAddr(p.Status.PodIP)
		if err != nil || p.Spec.HostNetwork || !inNamespace(p.Namespace) || !sel.Matches(labels.Set(p.Labels)) {
			continue
		}
		if p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed {
			continue
		}
		ips = append(ips, ip)
	}
	slices.SortFunc(ips, netip.Addr.Compare)
	return slices.Compact(ips)
}

func block(b *networkingv1.IPBlock) []tables.Allow {
	cidr, err := netip.ParsePrefix(b.CIDR)
	if err != nil || !cidr.Addr().Is4() {
		return nil
	}
	prefixes := []netip.Prefix{cidr.Masked()}
	for _, e := range b.Except {
		except, err := netip.ParsePrefix(e)
		if err != nil {
			return nil
		}
		var left []netip.Prefix
		for _, p := range prefixes {
			left = append(left, without(p, except.Masked())...)
		}
		prefixes = left
	}
	var out []tables.Allow
	for _, p := range prefixes {
		out = append(out, tables.Allow{PeerCIDR: p})
	}
	return out
}

// without is p less except, as prefixes.
func without(p, except netip.Prefix) []netip.Prefix {
	if !p.Overlaps(except) {
		return []netip.Prefix{p}
	}
	if except.Bits() <= p.Bits() {
		return nil
	}
	low := netip.PrefixFrom(p.Addr(), p.Bits()+1)
	high := netip.PrefixFrom(fromV4(v4(p.Addr())|1<<(31-p.Bits())), p.Bits()+1)
	return append(without(low, except), without(high, except)...)
}

func isEmpty(s *metav1.LabelSelector) bool {
	return s != nil && len(s.MatchLabels) == 0 && len(s.MatchExpressions) == 0
}
