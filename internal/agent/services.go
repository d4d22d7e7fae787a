package agent

import (
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	"github.com/sdn-tunnel/sdn-tunnel/internal/remoteservice"
)

// Services is told of the EndpointSlices that mirror the other members' services, as the
// node's own cluster has them. An outage of the API tells nothing.
type Services interface {
	// Replace takes all slices that there are.
	Replace([]*discoveryv1.EndpointSlice)
	// Set takes a slice that is new, or has changed.
	Set(*discoveryv1.EndpointSlice)
	// Delete forgets the slice of a name.
	Delete(name string)
}

// mirrors are the mirrored EndpointSlices in the namespace of sdn-tunnel.
func mirrors(client rest.Interface, namespace string) cache.ListerWatcherWithContext {
	return cache.NewFilteredListWatchFromClient(client, "endpointslices", namespace, func(o *metav1.ListOptions) {
		o.LabelSelector = remoteservice.Selector
	})
}

// sliceStore hands on what a reflector delivers, and keeps nothing itself.
type sliceStore struct{ to Services }

// Add is called by the reflector.
func (s sliceStore) Add(obj any) error {
	if o, ok := obj.(*discoveryv1.EndpointSlice); ok { // else a bookmark
		s.to.Set(o)
	}
	return nil
}

// Update is called by the reflector.
func (s sliceStore) Update(obj any) error { return s.Add(obj) }

// Delete is called by the reflector.
func (s sliceStore) Delete(obj any) error {
	if o, ok := obj.(*discoveryv1.EndpointSlice); ok {
		s.to.Delete(o.Name)
	}
	return nil
}

// Replace is called by the reflector with everything there is.
func (s sliceStore) Replace(objects []any, _ string) error {
	all := make([]*discoveryv1.EndpointSlice, 0, len(objects))
	for _, obj := range objects {
		if o, ok := obj.(*discoveryv1.EndpointSlice); ok {
			all = append(all, o)
		}
	}
	s.to.Replace(all)
	return nil
}

// Resync is called by the reflector; there is nothing to do.
func (sliceStore) Resync() error { return nil }
