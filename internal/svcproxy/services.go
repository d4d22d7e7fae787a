package svcproxy

import (
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/sdn-tunnel/sdn-tunnel/internal/mesh"
	"github.com/sdn-tunnel/sdn-tunnel/internal/remoteservice"
)

// Services hold what is to be balanced: the mirrored EndpointSlices, as the node's own
// cluster tells them. Telling costs what changes costs, and waits for no transaction.
type Services struct {
	mu       sync.Mutex
	table    *remoteservice.Table
	networks []netip.Prefix
	synced   bool
	dirty    map[remoteservice.Key]bool
	took     time.Duration

	changed chan struct{}
}

func newServices() *Services {
	return &Services{table: remoteservice.NewTable(), dirty: map[remoteservice.Key]bool{}, changed: make(chan struct{}, 1)}
}

// Replace takes all slices that there are.
func (s *Services) Replace(all []*discoveryv1.EndpointSlice) {
	s.change(func() []remoteservice.Key {
		s.synced = true
		return s.table.Replace(all)
	})
}

// Set takes a slice that is new, or has changed.
func (s *Services) Set(o *discoveryv1.EndpointSlice) {
	s.change(func() []remoteservice.Key { return s.table.Set(o) })
}

// Delete forgets a slice.
func (s *Services) Delete(name string) {
	s.change(func() []remoteservice.Key { return s.table.Delete(name) })
}

// declare takes the other members' networks.
func (s *Services) declare(members []mesh.RemoteCluster, networks []netip.Prefix) {
	s.change(func() []remoteservice.Key {
		s.networks = networks
		return s.table.Declare(members)
	})
}

func (s *Services) change(do func() []remoteservice.Key) {
	s.mu.Lock()
	before := s.synced
	keys := do()
	for _, k := range keys {
		s.dirty[k] = true
	}
	news := len(keys) > 0 || s.synced != before
	s.mu.Unlock()
	if news {
		s.wake()
	}
}

// wake has whoever follows the changes look what there is to do.
func (s *Services) wake() {
	select {
	case s.changed <- struct{}{}:
	default: // whoever waits will see this change too
	}
}

// due is what a transaction has to bring.
type due struct {
	networks []netip.Prefix
	services map[remoteservice.Key]remoteservice.Backends
}

// take gives what has changed since it was last asked, or everything; not ok as long as
// not everything is known.
func (s *Services) take(all bool) (d due, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.synced {
		return due{}, false
	}
	d.networks = s.networks
	if all {
		d.services = maps.Collect(s.table.All())
	} else {
		d.services = make(map[remoteservice.Key]remoteservice.Backends, len(s.dirty))
		for k := range s.dirty {
			d.services[k], _ = s.table.Get(k)
		}
	}
	clear(s.dirty)
	return d, true
}

// Stats tells how things are now.
func (s *Services) Stats() remoteservice.Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	names := map[remoteservice.Identity]bool{}
	st := remoteservice.Stats{Refused: s.table.Refusals(), Sync: s.took}
	for _, b := range s.table.All() {
		names[b.Service] = true
		st.Endpoints += len(b.Use)
	}
	st.Services = len(names)
	return st
}

func (s *Services) note(took time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.took = took
}

// lost tells whether a backend of before is not among those of after.
func lost(before, after []netip.AddrPort) bool {
	return slices.ContainsFunc(before, func(b netip.AddrPort) bool { return !slices.Contains(after, b) })
}
