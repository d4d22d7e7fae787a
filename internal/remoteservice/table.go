package remoteservice

import (
	"cmp"
	"iter"
	"maps"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/sdn-tunnel/sdn-tunnel/api/v1alpha1"
	"github.com/sdn-tunnel/sdn-tunnel/internal/mesh"
)

// Key is an address and port at which a service answers.
type Key struct {
	Addr     netip.Addr
	Protocol corev1.Protocol
	Port     uint16
}

// Compare orders keys by address, protocol and port.
func (k Key) Compare(o Key) int {
	return cmp.Or(k.Addr.Compare(o.Addr), cmp.Compare(k.Protocol, o.Protocol), cmp.Compare(k.Port, o.Port))
}

// Backends are what is behind a Key. Lists are sorted and without duplicates.
type Backends struct {
	Service Identity
	// Use are those that take new connections: the ready ones; if there are none, those
	// that terminate and still serve.
	Use []netip.AddrPort
	// Serve are those whose connections go on: Use, and what terminates and still serves.
	Serve []netip.AddrPort
	// Affinity is how long, in seconds, a client keeps its backend; 0: not at all.
	Affinity int32
}

func (b Backends) equal(o Backends) bool {
	return b.Service == o.Service && b.Affinity == o.Affinity && slices.Equal(b.Use, o.Use) && slices.Equal(b.Serve, o.Serve)
}

// Table is what follows from all mirrored slices: what is behind each address and port.
// Each change tells which keys are behind it, and costs what these keys cost, however
// many others there are. It is not for concurrent use.
type Table struct {
	members map[string]mesh.RemoteCluster
	slices  map[string]*entry
	keys    map[Key]*claim
}

// entry is one slice, and what is left of it after the checks.
type entry struct {
	slice     Slice
	malformed *mesh.Refusal

	refusals  []mesh.Refusal
	endpoints []Endpoint     // that the member may declare
	ports     map[Key]uint16 // of the endpoints; 0: the slice has none for this key
}

// claim is what slices say of one key.
type claim struct {
	by       map[string]*entry
	backends Backends
}

// NewTable makes a table without slices and members: whatever comes is refused until
// Declare says what members may say.
func NewTable() *Table {
	return &Table{slices: map[string]*entry{}, keys: map[Key]*claim{}}
}

// Declare tells the other members' networks. Services are used only if their addresses
// are in the service networks of their member, endpoints if they are in its pod networks.
func (t *Table) Declare(members []mesh.RemoteCluster) (changed []Key) {
	byName := make(map[string]mesh.RemoteCluster, len(members))
	for _, m := range members {
		byName[m.Name] = m
	}
	before := t.members
	t.members = byName
	var dirty []Key
	for name, e := range t.slices {
		was, had := before[e.slice.Cluster]
		is, has := byName[e.slice.Cluster]
		if had != has || !slices.Equal(was.Pods, is.Pods) || !slices.Equal(was.Services, is.Services) {
			dirty = append(dirty, t.place(name, e)...)
		}
	}
	return t.settle(dirty)
}

// Set takes a slice in the place of an earlier one of its name.
func (t *Table) Set(o *discoveryv1.EndpointSlice) (changed []Key) {
	return t.settle(t.set(o))
}

func (t *Table) set(o *discoveryv1.EndpointSlice) (dirty []Key) {
	e := &entry{}
	var err error
	if e.slice, err = Read(o); err != nil {
		e.malformed = &mesh.Refusal{
			Ref: mesh.Ref{Cluster: o.Labels[v1alpha1.LabelCluster]}, Reason: mesh.Malformed,
			Field: "EndpointSlice " + o.Name, Detail: err.Error(),
		}
	}
	dirty = t.remove(o.Name)
	t.slices[o.Name] = e
	return append(dirty, t.place(o.Name, e)...)
}

// Delete forgets a slice.
func (t *Table) Delete(name string) (changed []Key) { return t.settle(t.remove(name)) }

// Replace takes all slices in the place of all there were.
func (t *Table) Replace(all []*discoveryv1.EndpointSlice) (changed []Key) {
	there := make(map[string]bool, len(all))
	var dirty []Key
	for _, o := range all {
		there[o.Name] = true
		dirty = append(dirty, t.set(o)...)
	}
	for name := range maps.Clone(t.slices) {
		if !there[name] {
			dirty = append(dirty, t.remove(name)...)
		}
	}
	return t.settle(dirty)
}

// remove takes a slice away; it returns the keys to settle.
func (t *Table) remove(name string) (dirty []Key) {
	e := t.slices[name]
	if e == nil {
		return nil
	}
	delete(t.slices, name)
	for k := range e.ports {
		delete(t.keys[k].by, name)
		dirty = append(dirty, k)
	}
	return dirty
}

// place checks a slice against what its member declares and puts what is left of it
// behind its keys; it returns the keys to settle.
func (t *Table) place(name string, e *entry) (dirty []Key) {
	for k := range e.ports {
		delete(t.keys[k].by, name)
		dirty = append(dirty, k)
	}
	member, known := t.members[e.slice.Cluster]
	e.check(name, member, known)
	for k := range e.ports {
		c := t.keys[k]
		if c == nil {
			c = &claim{by: map[string]*entry{}}
			t.keys[k] = c
		}
		c.by[name] = e
		dirty = append(dirty, k)
	}
	return dirty
}

// settle computes what is behind the keys anew; it returns those where that differs.
func (t *Table) settle(dirty []Key) (changed []Key) {
	slices.SortFunc(dirty, Key.Compare)
	for _, k := range slices.Compact(dirty) {
		c := t.keys[k]
		before := c.backends
		c.settle(k)
		if len(c.by) == 0 {
			delete(t.keys, k)
		}
		if !c.backends.equal(before) {
			changed = append(changed, k)
		}
	}
	return changed
}

// Get is what is behind a key; not ok if no service has it.
func (t *Table) Get(k Key) (b Backends, ok bool) {
	c, ok := t.keys[k]
	if !ok {
		return Backends{}, false
	}
	return c.backends, true
}

// All are all keys, in no order.
func (t *Table) All() iter.Seq2[Key, Backends] {
	return func(yield func(Key, Backends) bool) {
		for k, c := range t.keys {
			if !yield(k, c.backends) {
				return
			}
		}
	}
}

// Refusals are what is not used of the slices, and why.
func (t *Table) Refusals() (all []mesh.Refusal) {
	for _, e := range t.slices {
		all = append(all, e.refusals...)
	}
	for k, c := range t.keys {
		all = append(all, c.clashes(k)...)
	}
	slices.SortFunc(all, func(a, b mesh.Refusal) int { return cmp.Compare(a.String(), b.String()) })
	return all
}
