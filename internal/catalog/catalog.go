package catalog

import (
	"cmp"
	"reflect"
	"slices"
	"sync"

	discoveryv1 "k8s.io/api/discovery/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sdn-tunnel/sdn-tunnel/api/v1alpha1"
	"github.com/sdn-tunnel/sdn-tunnel/internal/remoteservice"
)

// What is kept of one member, at most.
const (
	// MaxServices is how many services a member may have.
	MaxServices = 20_000
	// MaxBytes is about what all its services come to as mirrors and on a node: half a
	// million pairs of endpoint and port. A usual one, of one slice and a few endpoints, is
	// about a kilobyte.
	MaxBytes = 32 << 20
	// maxExports bounds the ServiceExports, of services or not.
	maxExports = MaxServices
)

// object is a thing in a member's API.
type object struct {
	kind string
	Key
}

// Key names a service in its member.
type Key struct{ Namespace, Name string }

func (k Key) String() string { return k.Namespace + "/" + k.Name }

// Service is what a member says of a service that it shares.
type Service struct {
	remoteservice.Service
	// Refused says why it cannot be mirrored, empty if it can; then it has nothing else.
	Refused string
	// Slices are in the order of their names. They are not to be changed.
	Slices []Slice
}

// Slice is one of the service's EndpointSlices.
type Slice struct {
	Name      string
	Addresses discoveryv1.AddressType
	// Ports are the endpoints', by the names of the service's ports; no two have one name.
	Ports []remoteservice.Port
	// Endpoints are in the order of their addresses, each of which is there once.
	Endpoints []remoteservice.Endpoint
}

// Options of a catalog.
type Options struct {
	Cluster   string // the member
	Namespace string // the one of sdn-tunnel
	// ExportedOnly: of what the member shares, only services with a ServiceExport are wanted.
	ExportedOnly bool
	// Reader has the member's identity for this cluster; it needs to list and watch
	// services, endpointslices, serviceexports and the member's own LinkedCluster.
	Reader client.WithWatch
	// Changed is told of a service that is another than before, All that any may be, and
	// Moved that State says something else.
	Changed    func(Key)
	All, Moved func()
	// Services and Bytes are limits; 0: MaxServices and MaxBytes.
	Services, Bytes int
}

// State is what is known of the catalog itself.
type State struct {
	// Complete: all has been read once. Synced: and the member says what it shares.
	Complete, Synced bool
	// Declared: the member has a LinkedCluster of its own, with this policy.
	Declared bool
	Policy   v1alpha1.ExportPolicy
	// ExportedOnly: the rest of what it shares is not wanted here.
	ExportedOnly bool
	// Err is why something is not watched at the moment: what is known may be old.
	Err error
	// Shared is how many services the member shares, TooMany how many things (services,
	// slices, exports) are not kept as the limits are reached.
	Shared, TooMany int
}

// Catalog knows the services of one member.
type Catalog struct {
	options Options
	feeds   []*feed

	mu      sync.Mutex
	entries map[Key]*entry
	// owner is the service that a slice is of, by the slice's name.
	owner             map[Key]string
	services, exports int
	shared, bytes     int
	tooMany           map[object]struct{}
	declared          bool
	policy            v1alpha1.ExportPolicy
	synced            bool
}

// entry is what is known under the name of a service; any part may be missing.
type entry struct {
	service *Service
	slices  map[string]Slice
	// exported is when its ServiceExport was made, in seconds since 1970; 0: there is none.
	exported int64
}

// New makes a catalog that knows nothing until it runs.
func New(o Options) *Catalog {
	o.Services, o.Bytes = cmp.Or(o.Services, MaxServices), cmp.Or(o.Bytes, MaxBytes)
	c := &Catalog{options: o, entries: map[Key]*entry{}, owner: map[Key]string{}, tooMany: map[object]struct{}{}}
	c.feeds = c.allFeeds()
	return c
}

// State tells how complete and how young the catalog is.
func (c *Catalog) State() State {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := State{Complete: c.synced, Synced: c.synced && c.declared, Declared: c.declared, Policy: c.policy, ExportedOnly: c.options.ExportedOnly,
		Shared: c.shared, TooMany: len(c.tooMany)}
	for _, f := range c.feeds {
		if f.err != nil {
			s.Err = f.err
			break
		}
	}
	return s
}

// Get is a service that the member shares, or nil.
func (c *Catalog) Get(k Key) *Service {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.entries[k]
	if !c.shares(e) {
		return nil
	}
	s := *e.service
	s.Exported = e.exported
	s.Slices = make([]Slice, 0, len(e.slices))
	for _, one := range e.slices {
		s.Slices = append(s.Slices, one)
	}
	slices.SortFunc(s.Slices, func(a, b Slice) int { return cmp.Compare(a.Name, b.Name) })
	return &s
}

// Keys are the services that the member shares, in no order.
func (c *Catalog) Keys() []Key {
	c.mu.Lock()
	defer c.mu.Unlock()
	keys := make([]Key, 0, c.shared)
	for k, e := range c.entries {
		if c.shares(e) {
			keys = append(keys, k)
		}
	}
	return keys
}

// shares: of a headless service there is nothing to share but what is exported, for
// nobody asks for its address.
func (c *Catalog) shares(e *entry) bool {
	all := c.policy == v1alpha1.ExportAll && !c.options.ExportedOnly
	return e != nil && e.service != nil && c.declared && (e.exported != 0 || all && !e.service.headless())
}

func (s *Service) headless() bool { return s.Refused == "" && len(s.IPs) == 0 }

// change applies f to what is known under the name, keeps count, and tells of it if it
// matters. f tells whether it changed anything.
func (c *Catalog) change(k Key, f func(*entry) bool) {
	c.mu.Lock()
	e := c.entries[k]
	if e == nil {
		e = &entry{}
	}
	was, enough := c.shares(e), len(c.tooMany) == 0
	c.count(e, -1)
	changed := f(e)
	c.count(e, 1)
	if e.empty() {
		delete(c.entries, k)
	} else {
		c.entries[k] = e
	}
	tell := changed && c.synced && (was || c.shares(e))
	moved := enough != (len(c.tooMany) == 0)
	c.mu.Unlock()
	if tell {
		c.options.Changed(k)
	}
	if moved {
		c.options.Moved()
	}
}

func (e *entry) empty() bool { return e.service == nil && len(e.slices) == 0 && e.exported == 0 }

// count adds the entry to the totals, or takes it away.
func (c *Catalog) count(e *entry, sign int) {
	if e.service != nil {
		c.services += sign
	}
	if e.exported != 0 {
		c.exports += sign
	}
	if c.shares(e) {
		c.shared += sign
	}
	c.bytes += sign * e.weight()
}

// weight is about what the entry comes to as mirrors, of which each has the service's
// addresses and ports, and on every node, whose proxy has each endpoint once for each port:
// little to say, of many ports and endpoints, must not be much to hold.
func (e *entry) weight() int {
	const mirror, port, endpoint, pair = 512, 64, 48, 64
	if e.empty() {
		return 0
	}
	head := mirror
	if e.service != nil {
		for _, p := range e.service.Ports {
			head += port + len(p.Name)
		}
	}
	sum := head * max(1, len(e.slices))
	for _, s := range e.slices {
		sum += port*len(s.Ports) + endpoint*len(s.Endpoints) + pair*len(s.Ports)*len(s.Endpoints)
	}
	return sum
}

// fits tells whether the entry has room as it is now, and notes the object if not.
func (c *Catalog) fits(o object, e *entry, services, exports int) bool {
	if c.bytes+e.weight() <= c.options.Bytes && c.services+services <= c.options.Services && c.exports+exports <= maxExports {
		delete(c.tooMany, o)
		return true
	}
	if len(c.tooMany) < maxTooMany {
		c.tooMany[o] = struct{}{}
	}
	return false
}

// maxTooMany bounds what is remembered of what is not kept.
const maxTooMany = 1000

// setService makes the service that is known under the name another one, nil for none.
func (c *Catalog) setService(k Key, s *Service) {
	c.change(k, func(e *entry) bool {
		was := e.service
		o := object{kindService, k}
		if e.service = s; s == nil {
			delete(c.tooMany, o)
		} else if !c.fits(o, e, 1, 0) {
			e.service = nil
		}
		return !reflect.DeepEqual(was, e.service)
	})
}

// setSlice makes the slice one of that service, and of no other.
func (c *Catalog) setSlice(k Key, service string, s Slice) {
	c.mu.Lock()
	old, known := c.owner[k]
	if !known || old != service {
		c.owner[k] = service
	}
	c.mu.Unlock()
	if known && old != service {
		c.unset(Key{k.Namespace, old}, k.Name)
	}
	c.change(Key{k.Namespace, service}, func(e *entry) bool {
		was, had := e.slices[s.Name]
		if e.slices == nil {
			e.slices = map[string]Slice{}
		}
		e.slices[s.Name] = s
		if c.fits(object{kindSlice, k}, e, 0, 0) {
			return !had || !reflect.DeepEqual(was, s)
		}
		delete(e.slices, s.Name)
		delete(c.owner, k)
		return had
	})
}

func (c *Catalog) dropSlice(k Key) {
	c.mu.Lock()
	service, known := c.owner[k]
	delete(c.owner, k)
	delete(c.tooMany, object{kindSlice, k})
	c.mu.Unlock()
	if known {
		c.unset(Key{k.Namespace, service}, k.Name)
	}
}

func (c *Catalog) unset(service Key, slice string) {
	c.change(service, func(e *entry) bool {
		_, had := e.slices[slice]
		delete(e.slices, slice)
		return had
	})
}

// setExport takes a ServiceExport that was made then, 0 for none.
func (c *Catalog) setExport(k Key, exported int64) {
	c.change(k, func(e *entry) bool {
		was := e.exported
		o := object{kindExport, k}
		if e.exported = exported; exported == 0 {
			delete(c.tooMany, o)
		} else if !c.fits(o, e, 0, 1) {
			e.exported = 0
		}
		return was != e.exported
	})
}

// setPolicy takes the member's own declaration; declared false if there is none.
func (c *Catalog) setPolicy(declared bool, policy v1alpha1.ExportPolicy) {
	c.mu.Lock()
	same := c.declared == declared && c.policy == policy
	c.declared, c.policy = declared, policy
	if !same {
		c.shared = 0
		for _, e := range c.entries {
			if c.shares(e) {
				c.shared++
			}
		}
	}
	synced := c.synced
	c.mu.Unlock()
	if !same && synced {
		c.options.All()
		c.options.Moved()
	}
}
