package agent

import (
	"context"
	"fmt"
	"sync"
	"time"

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

// event tells the watcher that something changed. The first pass may be over before the
// watch has begun.
func (f *fakePart) event() {
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
		f.mu.Lock()
		notify := f.notify
		f.mu.Unlock()
		if notify != nil {
			notify()
			return
		}
		if time.Now().After(end) {
			panic(fmt.Sprintf("%s is not watched", f.name))
		}
	}
}

func (f *fakePart) counts() (applies, have int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.applies, len(f.have)
}

// fakeKeys are keys without secrets: numbers.
type fakeKeys struct {
	mu                    sync.Mutex
	current, next, former byte // 0: none
	since                 time.Time
	switched              func()
	broken                error // what Switch says
	stuck                 error // what Back says
}

func (k *fakeKeys) do(fn func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	fn()
}

func (k *fakeKeys) Public() (key mesh.Key, since time.Time) {
	k.do(func() { key, since = mesh.Key{k.current}, k.since })
	return key, since
}

func (k *fakeKeys) Pending() (is bool) {
	k.do(func() { is = k.next != 0 })
	return is
}

func (k *fakeKeys) Prepare() (key mesh.Key, err error) {
	k.do(func() {
		if k.next == 0 {
			k.next = k.current + 1
		}
		key = mesh.Key{k.next}
	})
	return key, nil
}

func (k *fakeKeys) Switch() error {
	if k.broken != nil {
		return k.broken
	}
	k.do(func() { k.former, k.current, k.next, k.since = k.current, k.next, 0, time.Now() })
	if k.switched != nil {
		k.switched()
	}
	return nil
}

func (k *fakeKeys) Back() error {
	if k.stuck != nil {
		return k.stuck
	}
	k.do(func() { k.current, k.former, k.since = k.former, 0, time.Now() })
	return nil
}

func (k *fakeKeys) Drop() error {
	k.do(func() { k.next = 0 })
	return nil
}

func (k *fakeKeys) Forget() error {
	k.do(func() { k.former = 0 })
	return nil
}

// state is current, next and former.
func (k *fakeKeys) state() (s [3]byte) {
	k.do(func() { s = [3]byte{k.current, k.next, k.former} })
	return s
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
