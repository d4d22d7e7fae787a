package kuberouter

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/sdn-tunnel/sdn-tunnel/internal/remoteservice"
)

// Resources of the view that may hold something.
const (
	resServices = "services"
	resSlices   = "endpointslices"
)

// remembered is how many changes a watch can be behind before it has to list again.
const remembered = 4096

// object is one of the API's.
type object interface {
	metav1.Object
	runtime.Object
}

// unit is what becomes one Service of the view: a service and its address.
type unit struct {
	remoteservice.Identity
	addr netip.Addr
}

func unitOf(id remoteservice.Identity, k remoteservice.Key) unit { return unit{id, k.Addr} }

// name is that of the unit's Service. Two of one service can be there for the moment in
// which its mirrors change from one address to another.
func (u unit) name() string { return u.Name + "-" + u.addr.String() }

// place is where an object of the view is.
type place struct{ resource, name string }

func placeOf(o object) place {
	resource := resServices
	if _, ok := o.(*discoveryv1.EndpointSlice); ok {
		resource = resSlices
	}
	return place{resource, o.GetNamespace() + "/" + o.GetName()}
}

// change is an event of a watch. Its object is never touched again.
type change struct {
	version  uint64
	resource string
	kind     string // ADDED, MODIFIED or DELETED
	object   object
}

// view is what one kube-router sees of its member.
type view struct {
	mu       sync.Mutex
	units    map[unit]map[remoteservice.Key]remoteservice.Backends
	services map[remoteservice.Key]remoteservice.Backends
	objects  map[string]map[string]object // by resource and name
	shown    map[unit]map[place]bool      // which objects are of which unit
	version  uint64
	history  []change
	moved    chan struct{} // closed by the next change
}

func newView() *view {
	return &view{
		units:    map[unit]map[remoteservice.Key]remoteservice.Backends{},
		objects:  map[string]map[string]object{resServices: {}, resSlices: {}},
		services: map[remoteservice.Key]remoteservice.Backends{}, shown: map[unit]map[place]bool{},
		version: 1, moved: make(chan struct{}),
	}
}

// take notes what is behind a key, and forget that nothing of that service is; publish
// shows it.
func (v *view) take(k remoteservice.Key, b remoteservice.Backends) {
	v.mu.Lock()
	defer v.mu.Unlock()
	u := unitOf(b.Service, k)
	if v.units[u] == nil {
		v.units[u] = map[remoteservice.Key]remoteservice.Backends{}
	}
	v.units[u][k], v.services[k] = b, b
}

func (v *view) forget(id remoteservice.Identity, k remoteservice.Key) {
	v.mu.Lock()
	defer v.mu.Unlock()
	u := unitOf(id, k)
	delete(v.units[u], k)
	if len(v.units[u]) == 0 {
		delete(v.units, u)
	}
	if v.services[k].Service == id {
		delete(v.services, k)
	}
}

// publish makes the objects of one unit what its keys say: a Service before its slices.
func (v *view) publish(u unit) {
	v.mu.Lock()
	defer v.mu.Unlock()
	var want []object
	if keys := v.units[u]; len(keys) > 0 {
		want = append(want, service(u, keys))
		for _, s := range endpointSlices(u, keys) {
			want = append(want, s)
		}
	}
	gone := v.shown[u]
	v.shown[u] = map[place]bool{}
	for _, o := range want {
		at := placeOf(o)
		is, there := v.objects[at.resource][at.name]
		switch {
		case !there:
			v.put(at, "ADDED", o)
		case !same(is, o):
			v.put(at, "MODIFIED", o)
		}
		v.shown[u][at] = true
		delete(gone, at)
	}
	for _, at := range slices.SortedFunc(maps.Keys(gone), func(a, b place) int { return cmp.Compare(a.name, b.name) }) {
		v.put(at, "DELETED", v.objects[at.resource][at.name])
	}
	if len(want) == 0 {
		delete(v.shown, u)
	}
	// Also if no object differs: an endpoint that terminated may be gone.
	close(v.moved)
	v.moved = make(chan struct{})
}

func (v *view) put(at place, kind string, o object) {
	v.version++
	o = o.DeepCopyObject().(object)
	o.SetResourceVersion(strconv.FormatUint(v.version, 10))
	if kind == "DELETED" {
		delete(v.objects[at.resource], at.name)
	} else {
		v.objects[at.resource][at.name] = o
	}
	v.history = append(v.history, change{v.version, at.resource, kind, o})
	if len(v.history) > 2*remembered {
		v.history = slices.Clone(v.history[len(v.history)-remembered:])
	}
}

// list gives all objects of a resource, and the version to watch from.
func (v *view) list(resource string) (all []object, version uint64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(v.objects[resource])) {
		all = append(all, v.objects[resource][name])
	}
	return all, v.version
}

// since gives the changes of a resource after a version, the version that they lead to, and
// what is closed when there are more; not ok if they are not remembered any more.
func (v *view) since(resource string, version uint64) (some []change, now uint64, more <-chan struct{}, ok bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if version > v.version || len(v.history) > 0 && version < v.history[0].version-1 {
		return nil, 0, nil, false
	}
	from, _ := slices.BinarySearchFunc(v.history, version+1, func(c change, want uint64) int { return cmp.Compare(c.version, want) })
	for _, c := range v.history[from:] {
		if c.resource == resource {
			some = append(some, c)
		}
	}
	return some, v.version, v.moved, true
}

// wanted is what IPVS is to hold for the view, and what is closed when that changes.
func (v *view) wanted() (map[remoteservice.Key]remoteservice.Backends, <-chan struct{}) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return maps.Clone(v.services), v.moved
}

// same compares what an object says, but for its version.
func same(is, want object) bool {
	is = is.DeepCopyObject().(object)
	is.SetResourceVersion("")
	return apiequality.Semantic.DeepEqual(is, want)
}

// portName names a port of a service. kube-router joins namespace, name and port to a key
// by dashes, so that services of different names may have the same one: the address keeps
// them apart.
func portName(k remoteservice.Key) string {
	return fmt.Sprintf("%s-%d-%v", strings.ToLower(string(k.Protocol)), k.Port, k.Addr)
}

// service is the Service of a unit: its ClusterIP, ports and affinity, and nothing of
// what would make kube-router listen on, claim or advertise something else (node ports,
// external and load balancer addresses, annotations). What kube-router takes for given is
// there.
func service(u unit, keys map[remoteservice.Key]remoteservice.Backends) *corev1.Service {
	cluster, affinity := corev1.ServiceInternalTrafficPolicyCluster, int32(0)
	s := &corev1.Service{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Service"},
		ObjectMeta: metav1.ObjectMeta{Namespace: u.Namespace, Name: u.name()},
		Spec: corev1.ServiceSpec{
			Type: corev1.ServiceTypeClusterIP, SessionAffinity: corev1.ServiceAffinityNone,
			ClusterIP: u.addr.String(), ClusterIPs: []string{u.addr.String()},
			InternalTrafficPolicy: &cluster, // kube-router dereferences it
		},
	}
	for _, k := range sorted(keys) {
		affinity = max(affinity, keys[k].Affinity)
		s.Spec.Ports = append(s.Spec.Ports, corev1.ServicePort{Name: portName(k), Protocol: k.Protocol, Port: int32(k.Port)})
	}
	if affinity > 0 {
		s.Spec.SessionAffinity = corev1.ServiceAffinityClientIP
		s.Spec.SessionAffinityConfig = &corev1.SessionAffinityConfig{ClientIP: &corev1.ClientIPConfig{TimeoutSeconds: &affinity}}
	}
	return s
}

// endpointSlices are those of a unit: one for each of its ports and each port of pods
// behind that. Endpoints are those that take new connections, and no others: kube-router
// balances over all that it sees, also those that terminate. All have a name and a number,
// without which it ends, and no node, as none of them is on this one.
func endpointSlices(u unit, keys map[remoteservice.Key]remoteservice.Backends) (all []*discoveryv1.EndpointSlice) {
	for _, k := range sorted(keys) {
		byPort := map[uint16][]netip.Addr{}
		for _, b := range keys[k].Use {
			byPort[b.Port()] = append(byPort[b.Port()], b.Addr())
		}
		for _, port := range slices.Sorted(maps.Keys(byPort)) {
			s := &discoveryv1.EndpointSlice{
				TypeMeta: metav1.TypeMeta{APIVersion: "discovery.k8s.io/v1", Kind: "EndpointSlice"},
				ObjectMeta: metav1.ObjectMeta{
					Namespace: u.Namespace, Name: fmt.Sprintf("%s-%s-%d", u.Name, portName(k), port),
					Labels: map[string]string{discoveryv1.LabelServiceName: u.name()},
				},
				AddressType: discoveryv1.AddressTypeIPv4,
				Ports:       []discoveryv1.EndpointPort{{Name: new(portName(k)), Protocol: new(k.Protocol), Port: new(int32(port))}},
			}
			for _, a := range byPort[port] {
				s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{
					Addresses:  []string{a.String()},
					Conditions: discoveryv1.EndpointConditions{Ready: new(true), Serving: new(true), Terminating: new(false)},
				})
			}
			all = append(all, s)
		}
	}
	return all
}

func sorted(keys map[remoteservice.Key]remoteservice.Backends) []remoteservice.Key {
	return slices.SortedFunc(maps.Keys(keys), remoteservice.Key.Compare)
}
