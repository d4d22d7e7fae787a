package mesh

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// member is a node that is accepted, with what is left of its claims.
type member struct {
	*Node
	cluster *Cluster
	// local and seen are the accepted host subnets, as the own cluster sees them and as
	// the others do, in the same order.
	local, seen []netip.Prefix
	// tunnel is the accepted tunnel address; invalid: none.
	tunnel netip.Addr
	// usable: key and endpoint are there and accepted, so other clusters can send to it.
	usable bool
}

// acceptNodes goes through the nodes in the order of their rights (own cluster first,
// then the older claim, then the name) and leaves each what no earlier one has.
func acceptNodes(v View, m members, refuse func(Refusal)) ([]member, *judge) {
	order := make([]*Node, len(v.Nodes))
	for i := range v.Nodes {
		order[i] = &v.Nodes[i]
	}
	slices.SortStableFunc(order, func(a, b *Node) int {
		return cmp.Or(boolFirst(a.Cluster == v.Self.Cluster, b.Cluster == v.Self.Cluster),
			a.Since.Compare(b.Since), compareRefs(a.Ref, b.Ref), compareClaims(a, b))
	})
	j := &judge{
		members: m, refuse: refuse, order: order,
		refs: make(map[Ref]bool, len(order)), keys: make(map[Key]int, len(order)),
		endpoints: make(map[Endpoint]int, len(order)), prefixes: newClaims(),
	}
	accepted := make([]member, 0, len(order))
	for i := range order {
		if n, ok := j.node(i); ok {
			accepted = append(accepted, n)
		}
	}
	slices.SortFunc(accepted, func(a, b member) int { return compareRefs(a.Ref, b.Ref) })
	return accepted, j
}

// judge holds what the nodes accepted so far have claimed; values are indexes of order.
type judge struct {
	members
	refuse    func(Refusal)
	order     []*Node
	refs      map[Ref]bool
	keys      map[Key]int
	endpoints map[Endpoint]int
	prefixes  *claims // host subnets and tunnel addresses, as the others see them
}

func (j *judge) no(n *Node, reason Reason, field, format string, args ...any) {
	j.refuse(Refusal{n.Ref, reason, field, fmt.Sprintf(format, args...)})
}

// node judges order[i]; not ok means that nothing of it is used.
func (j *judge) node(i int) (member, bool) {
	n := j.order[i]
	c := j.byName[n.Cluster]
	if c == nil {
		if !j.refused[n.Cluster] { // else the cluster's own refusal says it
			j.no(n, UnknownCluster, "spec.cluster", "there is no LinkedCluster %q; link it or delete this object", n.Cluster)
		}
		return member{}, false
	}
	if j.refs[n.Ref] {
		j.no(n, Overlap, "metadata.name", "another object describes this node; delete one")
		return member{}, false
	}
	key, ok := j.key(i)
	if !ok {
		return member{}, false
	}
	j.refs[n.Ref] = true
	endpoint := j.endpoint(i)
	a := member{Node: n, cluster: c, usable: key && endpoint}
	j.tunnelAddress(i, &a)
	j.subnets(i, &a)
	return a, true
}

// key judges the public key: present tells whether there is one; not ok refuses the node,
// for whoever shows a key that is not his may not have anything else either.
func (j *judge) key(i int) (present, ok bool) {
	n := j.order[i]
	if n.PublicKey.IsZero() {
		j.no(n, Incomplete, "spec.publicKey", "no key yet; its agent writes it")
		return false, true
	}
	if lowOrder[n.PublicKey] {
		j.no(n, InvalidKey, "spec.publicKey", "the key is a point of low order, with which no secret is possible; make a new one on the node")
		return false, false
	}
	if other, taken := j.keys[n.PublicKey]; taken {
		j.no(n, DuplicateKey, "spec.publicKey", "%s has this key; delete the key file of the node that was copied", j.order[other].Ref)
		return false, false
	}
	j.keys[n.PublicKey] = i
	return true, true
}

// endpoint tells whether the node has an endpoint that can be used.
func (j *judge) endpoint(i int) bool {
	n := j.order[i]
	if n.Endpoint.Host == "" || n.Endpoint.Port == 0 {
		j.no(n, Incomplete, "spec.endpoint", "no endpoint yet; the controller of %s writes it", n.Cluster)
		return false
	}
	e := n.Endpoint.canonical()
	if a, err := netip.ParseAddr(e.Host); err == nil {
		if !a.IsGlobalUnicast() {
			j.no(n, Malformed, "spec.endpoint.host", "%s is no address that a node can have for others; give it one of the underlay", a)
			return false
		}
		if _, found := j.declared.overlap(netip.PrefixFrom(a, a.BitLen())); found {
			j.no(n, Overlap, "spec.endpoint.host", "%s lies in a network that the mesh itself carries; give the node an underlay address", a)
			return false
		}
	}
	if other, taken := j.endpoints[e]; taken {
		j.no(n, DuplicateAddress, "spec.endpoint", "%s:%d is the endpoint of %s; give each node its own", e.Host, e.Port, j.order[other].Ref)
		return false
	}
	j.endpoints[e] = i
	return true
}

func (j *judge) tunnelAddress(i int, a *member) {
	t := a.TunnelAddress
	if !t.IsValid() {
		return // not handed out yet
	}
	if !a.cluster.TunnelCIDR.Contains(t) {
		j.no(a.Node, OutsideDeclared, "spec.tunnelAddress", "%s is not in %s, the tunnelCIDR of %s", t, a.cluster.TunnelCIDR, a.Cluster)
		return
	}
	if other, ok := j.prefixes.add(netip.PrefixFrom(t, t.BitLen()), i); !ok {
		j.no(a.Node, DuplicateAddress, "spec.tunnelAddress", "%s is the address of %s; the controller of %s hands out another when this one is removed",
			t, j.order[other].Ref, a.Cluster)
		return
	}
	a.tunnel = t
}

func (j *judge) subnets(i int, a *member) {
	if len(a.HostSubnets) == 0 {
		j.no(a.Node, Incomplete, "spec.hostSubnets", "no host subnet yet; its agent writes it")
	}
	for k, s := range a.HostSubnets {
		field := fmt.Sprintf("spec.hostSubnets[%d]", k)
		if malformed(s) {
			j.no(a.Node, Malformed, field, "%v is not an address prefix without host bits", s)
			continue
		}
		seen, ok := a.cluster.Translate(s)
		if !ok {
			j.no(a.Node, OutsideDeclared, field, "%v is in none of the podCIDRs of %s", s, a.Cluster)
			continue
		}
		if other, ok := j.prefixes.add(seen, i); !ok {
			j.no(a.Node, Overlap, field, "%v overlaps what %s has", s, j.order[other].Ref)
			continue
		}
		a.local, a.seen = append(a.local, s), append(a.seen, seen)
	}
}

// canonical is the endpoint in the one form in which equal ones are equal.
func (e Endpoint) canonical() Endpoint {
	if a, err := netip.ParseAddr(e.Host); err == nil {
		e.Host = a.Unmap().String()
	} else {
		e.Host = strings.TrimSuffix(strings.ToLower(e.Host), ".")
	}
	return e
}

// lowOrder are the points of Curve25519 whose order divides 8, with which every exchange
// gives the all-zero secret (RFC 7748, section 6.1); WireGuard never gets a handshake.
var lowOrder = func() map[Key]bool {
	points := map[Key]bool{}
	for _, h := range []string{
		"0100000000000000000000000000000000000000000000000000000000000000",
		"e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
		"5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
		"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	} {
		var k Key
		if n, err := hex.Decode(k[:], []byte(h)); err == nil && n == len(k) {
			points[k] = true
		}
	}
	return points
}()

func compareRefs(a, b Ref) int {
	return cmp.Or(cmp.Compare(a.Cluster, b.Cluster), cmp.Compare(a.Node, b.Node))
}

// compareClaims orders objects that describe the same node, so that the order of the
// input does not matter.
func compareClaims(a, b *Node) int {
	return cmp.Or(bytes.Compare(a.PublicKey[:], b.PublicKey[:]),
		cmp.Compare(a.Endpoint.Host, b.Endpoint.Host), cmp.Compare(a.Endpoint.Port, b.Endpoint.Port),
		comparePrefixes(a.HostSubnets, b.HostSubnets), a.TunnelAddress.Compare(b.TunnelAddress),
		cmp.Compare(a.ListenPort, b.ListenPort), boolFirst(a.Gateway, b.Gateway),
		slices.CompareFunc(a.NodeAddresses, b.NodeAddresses, netip.Addr.Compare))
}
