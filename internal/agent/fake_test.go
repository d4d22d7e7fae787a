package agent

import (
	"context"
	"fmt"
	"sync"

	"github.com/sdn-tunnel/sdn-tunnel/internal/mesh"
)

// fakePart is a Part whose kernel is a map: it keeps the peers' names, and tests break
// it and change what it made.
type fakePart struct {
	name string

	mu      sync.Mutex
	have    map[string]bool
	applies int
	err     error
	notify  func()
	removed *[]string
	block   bool // Apply hangs until its context ends
	ended   bool // Watch has returned
}

func newFake(name string, have ...string) *fakePart {
	f := &fakePart{name: name, have: map[string]bool{}}
	for _, h := range have {
		f.have[h] = true
	}
	return f
}

func (f *fakePart) Name() string { return f.name }

func (f *fakePart) Apply(ctx context.Context, dp mesh.DataPlane) (changes []string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.applies++
	if f.block {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if f.err != nil {
		return nil, f.err
	}
	want := map[string]bool{}
	for _, p := range dp.Peers {
		want[p.Ref.String()] = true
		if !f.have[p.Ref.String()] {
			changes = append(changes, "add "+p.Ref.String())
		}
	}
	for h := range f.have {
		if !want[h] {
			changes = append(changes, "remove "+h)
		}
	}
	f.have = want
	return changes, nil
}

func (f *fakePart) Watch(ctx context.Context, notify func()) error {
	f.mu.Lock()
	f.notify = notify
	f.mu.Unlock()
	<-ctx.Done()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ended = true
	return nil
}

func (f *fakePart) Remove(context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.removed != nil {
		*f.removed = append(*f.removed, f.name)
	}
	f.have = map[string]bool{}
	return f.err
}

// do changes the fake under its lock.
func (f *fakePart) do(fn func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	fn()
}

// event tells the watcher that something changed.
func (f *fakePart) event() {
	f.mu.Lock()
	notify := f.notify
	f.mu.Unlock()
	if notify == nil {
		panic(fmt.Sprintf("%s is not watched", f.name))
	}
	notify()
}

func (f *fakePart) counts() (applies, have int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.applies, len(f.have)
}

// fakeObserver is an API that tests speak for.
type fakeObserver struct {
	mu     sync.Mutex
	view   mesh.View
	ok     bool
	notify func()
}

func (o *fakeObserver) Run(ctx context.Context, notify func()) error {
	o.mu.Lock()
	o.notify = notify
	o.mu.Unlock()
	<-ctx.Done()
	return nil
}

func (o *fakeObserver) View() (mesh.View, []mesh.Refusal, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.view, nil, o.ok
}

func (o *fakeObserver) say(v mesh.View) {
	o.mu.Lock()
	o.view, o.ok = v, true
	notify := o.notify
	o.mu.Unlock()
	if notify != nil {
		notify()
	}
}
