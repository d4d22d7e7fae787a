package remoteservice

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"github.com/sdn-tunnel/sdn-tunnel/internal/mesh"
)

// check leaves of the slice what its member may say.
func (e *entry) check(name string, member mesh.RemoteCluster, known bool) {
	e.refusals, e.endpoints, e.ports = nil, nil, nil
	if e.malformed != nil {
		e.refusals = []mesh.Refusal{*e.malformed}
		return
	}
	refuse := func(reason mesh.Reason, format string, args ...any) {
		e.refusals = append(e.refusals, mesh.Refusal{
			Ref: mesh.Ref{Cluster: e.slice.Cluster}, Reason: reason, Field: "EndpointSlice " + name,
			Detail: fmt.Sprintf("service %s/%s: ", e.slice.Namespace, e.slice.Name) + fmt.Sprintf(format, args...),
		})
	}
	if !known {
		refuse(mesh.UnknownCluster, "no other member has the name %q", e.slice.Cluster)
		return
	}
	var outside []netip.Addr
	for _, p := range e.slice.Endpoints {
		if Within(member.Pods, p.Address) {
			e.endpoints = append(e.endpoints, p)
		} else {
			outside = append(outside, p.Address)
		}
	}
	if len(outside) > 0 {
		refuse(mesh.OutsideDeclared, "%d endpoints, the first of them %v, are in none of the member's pod networks %v; pods with the network of their node cannot be reached",
			len(outside), outside[0], member.Pods)
	}
	e.ports = map[Key]uint16{}
	for _, ip := range e.slice.Service.IPs {
		if !Within(member.Services, ip) {
			refuse(mesh.OutsideDeclared, "address %v is in none of the member's service networks %v", ip, member.Services)
			continue
		}
		e.claim(ip)
	}
}

// claim asks for the keys of one address of the service.
func (e *entry) claim(ip netip.Addr) {
	for _, p := range e.slice.Service.Ports {
		target, ok := e.slice.Ports[p.Name]
		if !ok || target.Protocol != p.Protocol || !e.slice.family(ip) {
			target.Port = 0 // there are no endpoints for this port
		}
		e.ports[Key{ip, p.Protocol, p.Port}] = target.Port
	}
}

// family tells whether the slice's endpoints are of the address's family.
func (s Slice) family(ip netip.Addr) bool {
	return ip.Is4() == (s.Addresses == "IPv4")
}

// Within tells whether an address lies in any of the networks.
func Within(networks []netip.Prefix, a netip.Addr) bool {
	return slices.ContainsFunc(networks, func(p netip.Prefix) bool { return p.Contains(a) })
}

// settle computes what is behind the key. If slices of several services claim it, the
// first service by name has it, whole.
func (c *claim) settle(k Key) {
	c.backends = Backends{}
	if len(c.by) == 0 {
		return
	}
	c.backends.Service = c.owner()
	var ready, draining []netip.AddrPort
	for _, e := range c.by {
		if e.slice.Identity != c.backends.Service {
			continue // see clashes: any number of services may say that they have the key
		}
		// Slices of a service differ only while a change of it is under way.
		c.backends.Affinity = max(c.backends.Affinity, e.slice.Service.Affinity)
		r, d := e.backends(e.ports[k])
		ready, draining = append(ready, r...), append(draining, d...)
	}
	c.backends.Serve = sorted(slices.Concat(ready, draining))
	c.backends.Use = sorted(ready)
	if len(ready) == 0 {
		c.backends.Use = c.backends.Serve
	}
}

// owner is the first service by name of those that claim the key; there is one.
func (c *claim) owner() (first Identity) {
	for _, e := range c.by {
		if first == (Identity{}) || compareIdentities(e.slice.Identity, first) < 0 {
			first = e.slice.Identity
		}
	}
	return first
}

// clashes are the refusals of slices whose services do not own the key.
func (c *claim) clashes(k Key) (all []mesh.Refusal) {
	owner := c.backends.Service
	for name, e := range c.by {
		if e.slice.Identity != owner {
			all = append(all, mesh.Refusal{
				Ref: mesh.Ref{Cluster: e.slice.Cluster}, Reason: mesh.Overlap, Field: "EndpointSlice " + name,
				Detail: fmt.Sprintf("service %s/%s: service %s/%s has %s port %d of %v",
					e.slice.Namespace, e.slice.Name, owner.Namespace, owner.Name, k.Protocol, k.Port, k.Addr),
			})
		}
	}
	return all
}

// backends are the slice's endpoints at a port, by what they take.
func (e *entry) backends(port uint16) (ready, draining []netip.AddrPort) {
	if port == 0 {
		return nil, nil
	}
	for _, p := range e.endpoints {
		switch at := netip.AddrPortFrom(p.Address, port); {
		case p.Ready:
			ready = append(ready, at)
		case p.Serving && p.Terminating:
			draining = append(draining, at)
		}
	}
	return ready, draining
}

func sorted(all []netip.AddrPort) []netip.AddrPort {
	slices.SortFunc(all, netip.AddrPort.Compare)
	return slices.Compact(all)
}

func compareIdentities(a, b Identity) int {
	return cmp.Or(cmp.Compare(a.Cluster, b.Cluster), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
}
