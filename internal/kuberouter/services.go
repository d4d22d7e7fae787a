package kuberouter

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/sdn-tunnel/sdn-tunnel/internal/mesh"
	"github.com/sdn-tunnel/sdn-tunnel/internal/remoteservice"
)

// Services hold what is to be balanced, and keep a view of it for each member.
type Services struct {
	mu     sync.Mutex
	table  *remoteservice.Table
	synced bool // the API has told all slices
	views  map[string]*view
	owners map[remoteservice.Key]remoteservice.Identity // as the views have them

	changed chan struct{}
}

func newServices() *Services {
	return &Services{
		table: remoteservice.NewTable(), views: map[string]*view{},
		owners: map[remoteservice.Key]remoteservice.Identity{}, changed: make(chan struct{}, 1),
	}
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

// declare takes the other members; there is a view for each.
func (s *Services) declare(members []mesh.RemoteCluster) {
	s.change(func() []remoteservice.Key {
		for name := range s.views {
			if !slices.ContainsFunc(members, func(m mesh.RemoteCluster) bool { return m.Name == name }) {
				delete(s.views, name)
			}
		}
		for _, m := range members {
			if s.views[m.Name] == nil {
				s.views[m.Name] = newView()
			}
		}
		return s.table.Declare(members)
	})
}

// change brings the views up to date with the keys that do returns.
func (s *Services) change(do func() []remoteservice.Key) {
	s.mu.Lock()
	before := s.synced
	keys := do()
	units := map[unit]bool{}
	for _, k := range keys {
		if was, ok := s.owners[k]; ok {
			units[unitOf(was, k)] = true
			delete(s.owners, k)
			if v := s.views[was.Cluster]; v != nil {
				v.forget(was, k)
			}
		}
		if b, ok := s.table.Get(k); ok && balanced(k) {
			units[unitOf(b.Service, k)] = true
			s.owners[k] = b.Service
			if v := s.views[b.Service.Cluster]; v != nil {
				v.take(k, b)
			}
		}
	}
	for u := range units {
		if v := s.views[u.Cluster]; v != nil {
			v.publish(u)
		}
	}
	news := len(keys) > 0 || s.synced != before
	s.mu.Unlock()
	if news {
		wake(s.changed)
	}
}

// balanced tells whether kube-router can balance what is behind the key. IPv6 it could:
// there is no pod network of IPv6 on the supported clusters.
func balanced(k remoteservice.Key) bool {
	return k.Addr.Is4() && k.Protocol != corev1.ProtocolSCTP
}

// view is a member's, once the API has told all slices: an empty one would have
// kube-router take down what an earlier process set up.
func (s *Services) view(member string) (*view, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, ok := s.views[member]
	return v, ok && s.synced
}

// stats are how many services the views have, with how many endpoints, counted once for
// each port, and what is not used of what the mirrors say.
func (s *Services) stats() (st remoteservice.Stats) {
	s.mu.Lock()
	defer s.mu.Unlock()
	names := map[remoteservice.Identity]bool{}
	st.Refused = s.table.Refusals()
	for k, b := range s.table.All() {
		if balanced(k) {
			names[b.Service] = true
			st.Endpoints += len(b.Use)
			continue
		}
		st.Refused = append(st.Refused, mesh.Refusal{
			Ref: mesh.Ref{Cluster: b.Service.Cluster}, Reason: mesh.Unsupported,
			Field:  fmt.Sprintf("service %s/%s", b.Service.Namespace, b.Service.Name),
			Detail: fmt.Sprintf("%s port %d of %v: kube-router here balances TCP and UDP of IPv4 only", k.Protocol, k.Port, k.Addr),
		})
	}
	slices.SortFunc(st.Refused, func(a, b mesh.Refusal) int { return strings.Compare(a.String(), b.String()) })
	st.Services = len(names)
	return st
}

// wake lets whoever waits for the channel go on, now or when it next waits.
func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
