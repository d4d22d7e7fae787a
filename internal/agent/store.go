package agent

import (
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// object is what a store holds.
type object[T any] interface {
	*T
	metav1.Object
	runtime.Object
}

// store keeps one kind of object as a reflector delivers it, and calls changed after
// each change. An outage of the API leaves it as it is.
type store[T any, P object[T]] struct {
	changed func()

	mu     sync.Mutex
	byName map[string]P // namespaced kinds are not kept here
	synced bool
}

func newStore[T any, P object[T]]() *store[T, P] {
	return &store[T, P]{changed: func() {}, byName: map[string]P{}}
}

// list returns what is known; not ok until everything was read once. The objects are
// shared: they must not be changed.
func (s *store[T, P]) list() (all []P, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all = make([]P, 0, len(s.byName))
	for _, o := range s.byName {
		all = append(all, o)
	}
	return all, s.synced
}

func (s *store[T, P]) get(name string) (o P, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o, ok = s.byName[name]
	return o, ok
}

// Add is called by the reflector.
func (s *store[T, P]) Add(obj any) error {
	o, ok := obj.(P)
	if !ok {
		return nil // a bookmark
	}
	o.SetManagedFields(nil)
	s.mu.Lock()
	s.byName[o.GetName()] = o
	s.mu.Unlock()
	s.changed()
	return nil
}

// Update is called by the reflector.
func (s *store[T, P]) Update(obj any) error { return s.Add(obj) }

// Delete is called by the reflector.
func (s *store[T, P]) Delete(obj any) error {
	o, ok := obj.(P)
	if !ok {
		return nil
	}
	s.mu.Lock()
	delete(s.byName, o.GetName())
	s.mu.Unlock()
	s.changed()
	return nil
}

// Replace is called by the reflector with everything there is.
func (s *store[T, P]) Replace(objects []any, _ string) error {
	byName := make(map[string]P, len(objects))
	for _, obj := range objects {
		if o, ok := obj.(P); ok {
			o.SetManagedFields(nil)
			byName[o.GetName()] = o
		}
	}
	s.mu.Lock()
	s.byName, s.synced = byName, true
	s.mu.Unlock()
	s.changed()
	return nil
}

// Resync is called by the reflector; there is nothing to do.
func (s *store[T, P]) Resync() error { return nil }
