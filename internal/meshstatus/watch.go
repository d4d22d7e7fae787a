package meshstatus

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sdn-tunnel/sdn-tunnel/internal/peeraccess"
)

const (
	// gatherChanges is how long a burst of changes is gathered into one report.
	gatherChanges = 300 * time.Millisecond
	// openAgain is how soon a cluster that did not let itself be opened is tried again.
	openAgain = 10 * time.Second
)

// Watch watches all members until ctx ends, and calls changed with what there is: first when
// every member was read or said why it cannot be, then after each change.
func Watch(ctx context.Context, o Options, changed func([]Objects)) {
	ctx = logr.NewContext(ctx, logr.Discard()) // what goes wrong is in the objects
	w := watcher{changed: make(chan struct{}, 1)}
	var wait sync.WaitGroup
	for _, m := range o.Members {
		mw := &memberWatch{member: m, options: &o, notify: w.notify, errs: map[string]error{}}
		w.members = append(w.members, mw)
		wait.Go(func() { mw.run(ctx) })
	}
	w.report(ctx, changed)
	wait.Wait()
}

// watcher gathers what the members' watches notice.
type watcher struct {
	members []*memberWatch
	changed chan struct{}
}

func (w *watcher) notify() {
	select {
	case w.changed <- struct{}{}:
	default:
	}
}

func (w *watcher) report(ctx context.Context, changed func([]Objects)) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.changed:
		}
		if !pause(ctx, gatherChanges) {
			return
		}
		all := make([]Objects, 0, len(w.members))
		for _, m := range w.members {
			if objects, ok := m.objects(); ok {
				all = append(all, objects)
			}
		}
		if len(all) == len(w.members) {
			changed(all)
		}
	}
}

// memberWatch watches one member.
type memberWatch struct {
	member  Member
	options *Options
	notify  func()

	mu      sync.Mutex
	stores  []cache.Store
	synced  []func() bool
	errs    map[string]error // by kind; "" for the way in
	started bool
}

// objects is what is known now; not ok until all was listed, or something said why not.
func (m *memberWatch) objects() (Objects, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	o := Objects{Cluster: m.member.Name}
	for _, key := range slices.Sorted(maps.Keys(m.errs)) { // the way in comes first
		o.Err = cmp.Or(o.Err, m.errs[key])
	}
	ready := m.started
	for _, synced := range m.synced {
		ready = ready && synced()
	}
	for _, s := range m.stores {
		for _, object := range s.List() {
			o.add(object)
		}
	}
	return o, ready || o.Err != nil
}

// note keeps why a kind, or the whole member, is not known as it is now; nil: it is.
func (m *memberWatch) note(key string, err error) {
	m.mu.Lock()
	was := m.errs[key]
	if err != nil {
		m.errs[key] = fmt.Errorf("cluster %s: %w", m.member.Name, err)
	} else {
		delete(m.errs, key)
	}
	m.mu.Unlock()
	if (was == nil) != (err == nil) {
		m.notify()
	}
}

func (m *memberWatch) run(ctx context.Context) {
	reader := m.open(ctx)
	if reader == nil {
		return
	}
	var wait sync.WaitGroup
	defer wait.Wait()
	m.mu.Lock()
	m.started = true
	for _, k := range m.options.kinds(m.member.Name) {
		store, informer := cache.NewInformerWithOptions(cache.InformerOptions{
			ListerWatcher: m.listWatch(ctx, reader, k), ObjectType: k.object,
			Transform: func(o any) (any, error) {
				if a, err := meta.Accessor(o); err == nil {
					a.SetManagedFields(nil)
				}
				return o, nil
			},
			Handler: cache.ResourceEventHandlerFuncs{
				AddFunc:    func(any) { m.notify() },
				UpdateFunc: func(any, any) { m.notify() },
				DeleteFunc: func(any) { m.notify() },
			},
		})
		m.stores, m.synced = append(m.stores, store), append(m.synced, informer.HasSynced)
		wait.Go(func() { informer.RunWithContext(ctx) })
		wait.Go(func() {
			if cache.WaitForCacheSync(ctx.Done(), informer.HasSynced) {
				m.notify() // also where there is nothing
			}
		})
	}
	m.mu.Unlock()
}

// open tries until the member lets itself be opened, or ctx ends.
func (m *memberWatch) open(ctx context.Context) client.WithWatch {
	for {
		config, err := m.member.Open(ctx)
		if err == nil {
			var reader client.WithWatch
			if reader, err = newClient(config); err == nil {
				m.note("", nil)
				return reader
			}
		}
		m.note("", err)
		if !pause(ctx, openAgain) {
			return nil
		}
	}
}

// listWatch notes how each request ends.
func (m *memberWatch) listWatch(ctx context.Context, reader client.WithWatch, k kind) cache.ListerWatcher {
	name := fmt.Sprintf("%T", k.object)
	ended := func(err error) {
		if ctx.Err() == nil && !apierrors.IsResourceExpired(err) && !apierrors.IsGone(err) {
			m.note(name, err)
		}
	}
	return peeraccess.PlainLists{ListWatch: &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, raw metav1.ListOptions) (runtime.Object, error) {
			list := k.list()
			err := reader.List(ctx, list, k.with(raw))
			if err != nil {
				err = fmt.Errorf("list %s: %w", name, err)
			}
			ended(err)
			return list, err
		},
		WatchFuncWithContext: func(ctx context.Context, raw metav1.ListOptions) (watch.Interface, error) {
			w, err := reader.Watch(ctx, k.list(), k.with(raw))
			ended(err)
			return w, err
		},
	}}
}

// pause waits; it tells whether ctx still goes on.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
