package catalog

import (
	"context"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	mcsv1alpha1 "sigs.k8s.io/mcs-api/pkg/apis/v1alpha1"

	"github.com/sdn-tunnel/sdn-tunnel/api/v1alpha1"
	"github.com/sdn-tunnel/sdn-tunnel/internal/peeraccess"
)

const (
	// listTimeout bounds a whole list.
	listTimeout = 5 * time.Minute
	// maxBackoff is the longest pause before a member that was away is asked again.
	maxBackoff = 8 * time.Second
	// listAgain is when what had no room is asked for anew.
	listAgain = 10 * time.Minute
)

// The kinds that are read.
const (
	kindCluster = "LinkedCluster"
	kindService = "Service"
	kindSlice   = "EndpointSlice"
	kindExport  = "ServiceExport"
)

// feed reads and watches the objects of one kind.
type feed struct {
	kind   string
	object client.Object
	list   client.ObjectList
	where  client.ListOptions
	// page is how many are asked for at once, and most how many are read at all.
	page, most int64
	// optional: a server that does not know the kind has none of them.
	optional bool

	put  func(client.Object)
	drop func(Key)
	keys func() []Key

	// Guarded by the catalog's lock.
	err    error
	synced bool
}

// allFeeds leave to the server what it can leave out.
func (c *Catalog) allFeeds() []*feed {
	elsewhere := fields.OneTermNotEqualSelector("metadata.namespace", c.options.Namespace)
	withService, err := labels.Parse(discoveryv1.LabelServiceName)
	if err != nil {
		panic(err) // constant text
	}
	self := c.options.Cluster
	return []*feed{{
		kind: kindCluster, object: &v1alpha1.LinkedCluster{}, list: &v1alpha1.LinkedClusterList{}, page: 2, most: 2, optional: true,
		where: client.ListOptions{FieldSelector: fields.OneTermEqualSelector("metadata.name", self)},
		put: func(o client.Object) {
			if lc, ok := o.(*v1alpha1.LinkedCluster); ok && lc.Name == self {
				c.setPolicy(true, policy(lc))
			}
		},
		drop: func(k Key) {
			if k.Name == self {
				c.setPolicy(false, "")
			}
		},
		keys: func() []Key { return []Key{{Name: self}} },
	}, {
		kind: kindService, object: &corev1.Service{}, list: &corev1.ServiceList{}, page: 500, most: 2 * MaxServices,
		where: client.ListOptions{FieldSelector: elsewhere},
		put: func(o client.Object) {
			if s, ok := o.(*corev1.Service); ok {
				c.setService(keyOf(o), readService(s))
			}
		},
		drop: func(k Key) { c.setService(k, nil) },
		keys: func() []Key { return c.known(func(e *entry) bool { return e.service != nil }) },
	}, {
		// Even slices of the API's greatest size come in pages that can be read.
		kind: kindSlice, object: &discoveryv1.EndpointSlice{}, list: &discoveryv1.EndpointSliceList{}, page: 100, most: 4 * MaxServices,
		where: client.ListOptions{FieldSelector: elsewhere, LabelSelector: withService},
		put: func(o client.Object) {
			s, _ := o.(*discoveryv1.EndpointSlice)
			if slice, ok := readSlice(s); ok {
				c.setSlice(keyOf(o), s.Labels[discoveryv1.LabelServiceName], slice)
			} else {
				c.dropSlice(keyOf(o))
			}
		},
		drop: c.dropSlice,
		keys: c.knownSlices,
	}, {
		kind: kindExport, object: &mcsv1alpha1.ServiceExport{}, list: &mcsv1alpha1.ServiceExportList{}, page: 500, most: 2 * maxExports, optional: true,
		where: client.ListOptions{FieldSelector: elsewhere},
		put:   func(o client.Object) { c.setExport(keyOf(o), exported(o)) },
		drop:  func(k Key) { c.setExport(k, 0) },
		keys:  func() []Key { return c.known(func(e *entry) bool { return e.exported != 0 }) },
	}}
}

// policy is what the member declares. What is not known is taken to share less.
func policy(lc *v1alpha1.LinkedCluster) v1alpha1.ExportPolicy {
	switch lc.Spec.ExportPolicy {
	case "", v1alpha1.ExportAll: // empty: deployed before there was a choice
		return v1alpha1.ExportAll
	}
	return v1alpha1.ExportExported
}

// exported is when the service was exported; an export that is being deleted is none.
func exported(o client.Object) int64 {
	if o.GetDeletionTimestamp() != nil {
		return 0
	}
	created := o.GetCreationTimestamp()
	return max(1, created.Unix())
}

func keyOf(o client.Object) Key { return Key{o.GetNamespace(), o.GetName()} }

func (c *Catalog) known(has func(*entry) bool) []Key {
	c.mu.Lock()
	defer c.mu.Unlock()
	var keys []Key
	for k, e := range c.entries {
		if has(e) {
			keys = append(keys, k)
		}
	}
	return keys
}

func (c *Catalog) knownSlices() []Key {
	c.mu.Lock()
	defer c.mu.Unlock()
	keys := make([]Key, 0, len(c.owner))
	for k := range c.owner {
		keys = append(keys, k)
	}
	return keys
}

// Run reads and watches until ctx ends.
func (c *Catalog) Run(ctx context.Context) {
	var running sync.WaitGroup
	for _, f := range c.feeds {
		running.Go(func() {
			for ctx.Err() == nil {
				c.run(ctx, f)
			}
		})
	}
	running.Wait()
}

// run watches one kind until ctx ends, or until it is time to list it anew for what had
// no room before.
func (c *Catalog) run(ctx context.Context, f *feed) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	again := time.NewTicker(listAgain)
	defer again.Stop()
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-again.C:
				if c.State().TooMany > 0 {
					cancel()
				}
			}
		}
	}()
	r := cache.NewReflectorWithOptions(c.listWatch(f), f.object, &table{c, f}, cache.ReflectorOptions{
		Name:    "cluster " + c.options.Cluster + ", " + f.kind,
		Backoff: &wait.Backoff{Duration: 500 * time.Millisecond, Cap: maxBackoff, Steps: 8, Factor: 2, Jitter: 0.5},
	})
	r.RunWithContext(ctx)
}

func (c *Catalog) listWatch(f *feed) cache.ListerWatcher {
	return peeraccess.PlainLists{ListWatch: &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, _ metav1.ListOptions) (runtime.Object, error) {
			list, err := c.listAll(ctx, f)
			if f.optional && apierrors.IsNotFound(err) {
				list, err = &metav1.List{}, nil
			}
			c.watched(ctx, f, err)
			return list, err
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			w, err := c.options.Reader.Watch(ctx, f.list, f.options(o))
			if f.optional && apierrors.IsNotFound(err) {
				return nil, err // it is looked for again, but nothing is wrong
			}
			c.watched(ctx, f, err)
			if err != nil {
				return nil, err
			}
			return peeraccess.PlainWatch(w, admit), nil
		},
	}}
}

func (f *feed) options(o metav1.ListOptions) *client.ListOptions {
	where := f.where
	where.Limit, where.Continue, where.Raw = o.Limit, o.Continue, &o
	return &where
}

// listAll keeps of each object only what is read later.
func (c *Catalog) listAll(ctx context.Context, f *feed) (*metav1.List, error) {
	ctx, cancel := context.WithTimeout(ctx, listTimeout)
	defer cancel()
	all := &metav1.List{}
	// A member that gives fewer than a tenth of a page at a time has too many pages.
	pages := int(10*f.most/f.page + 1)
	version, err := peeraccess.ListPages("cluster "+c.options.Cluster+": the list of kind "+f.kind, f.page, pages, func(next metav1.ListOptions) (metav1.ListInterface, error) {
		page, ok := f.list.DeepCopyObject().(client.ObjectList)
		if !ok {
			return nil, fmt.Errorf("%T is no list", f.list)
		}
		if err := c.options.Reader.List(ctx, page, f.options(next)); err != nil {
			return nil, err
		}
		if int64(len(all.Items)+meta.LenList(page)) > f.most {
			return nil, fmt.Errorf("cluster %s has more than %d objects of kind %s: none of them is taken over", c.options.Cluster, f.most, f.kind)
		}
		return page, meta.EachListItem(page, func(o runtime.Object) error {
			if one, ok := o.(client.Object); ok && slim(one) {
				all.Items = append(all.Items, runtime.RawExtension{Object: one})
			}
			return nil
		})
	})
	if err != nil {
		return nil, err
	}
	all.ResourceVersion = version
	return all, nil
}

// admit passes an event on if it is one that a member may send.
func admit(e watch.Event) (watch.Event, bool) {
	switch o := e.Object.(type) {
	case *metav1.Status:
		return e, true
	case client.Object:
		return e, e.Type == watch.Bookmark || slim(o)
	}
	return e, false
}

// slim drops of an object what nobody here reads, and tells whether it can be kept.
func slim(o client.Object) bool {
	if len(o.GetName()) > maxName || len(o.GetNamespace()) > maxName {
		return false
	}
	o.SetManagedFields(nil)
	o.SetAnnotations(nil)
	o.SetOwnerReferences(nil)
	o.SetFinalizers(nil)
	switch o := o.(type) {
	case *corev1.Service:
		o.Labels, o.Status = nil, corev1.ServiceStatus{}
		o.Spec.Selector = nil
	case *discoveryv1.EndpointSlice:
		service := o.Labels[discoveryv1.LabelServiceName]
		if service == "" || len(service) > maxName {
			return false
		}
		o.Labels = map[string]string{discoveryv1.LabelServiceName: service}
		for i := range o.Endpoints {
			e := &o.Endpoints[i]
			*e = discoveryv1.Endpoint{Addresses: e.Addresses, Conditions: e.Conditions, Hostname: e.Hostname}
		}
	case *mcsv1alpha1.ServiceExport:
		o.Labels, o.Spec, o.Status = nil, mcsv1alpha1.ServiceExportSpec{}, mcsv1alpha1.ServiceExportStatus{}
	case *v1alpha1.LinkedCluster:
		o.Labels, o.Status = nil, v1alpha1.LinkedClusterStatus{}
	}
	return true
}

// watched notes how a request ended. That a version is too old is part of the work.
func (c *Catalog) watched(ctx context.Context, f *feed, err error) {
	if ctx.Err() != nil || apierrors.IsResourceExpired(err) || apierrors.IsGone(err) {
		return
	}
	c.mu.Lock()
	moved := (f.err == nil) != (err == nil)
	f.err = err
	c.mu.Unlock()
	if moved {
		c.options.Moved()
	}
}
