package remoteservice

import (
	"fmt"
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/utils/ptr"

	"github.com/sdn-tunnel/sdn-tunnel/api/v1alpha1"
)

// Labels of mirrored EndpointSlices, besides v1alpha1.LabelCluster (the member that the
// service is of) and discovery.k8s.io's own.
const (
	// LabelNamespace and LabelName are the service's, in the member that it is of.
	LabelNamespace = "sdntunnel.io/service-namespace"
	LabelName      = "sdntunnel.io/service-name"
	// LabelProxy says who proxies the service, so that kube-proxy leaves it alone.
	LabelProxy = "service.kubernetes.io/service-proxy-name"
)

// Values of labels.
const (
	// ProxyName is the value of LabelProxy.
	ProxyName = "sdn-tunnel"
	// ManagedBy is the value of discoveryv1.LabelManagedBy.
	ManagedBy = "sdn-tunnel-controller"
)

// Selector selects all mirrored EndpointSlices of the namespace of sdn-tunnel.
const Selector = LabelProxy + "=" + ProxyName + "," + discoveryv1.LabelManagedBy + "=" + ManagedBy

// maxEndpoints is the API's own bound of endpoints in one EndpointSlice.
const maxEndpoints = 1000

// Identity names a service of a member.
type Identity struct{ Cluster, Namespace, Name string }

// String is the service's name in the mesh, much as its DNS name begins.
func (i Identity) String() string { return i.Name + "." + i.Namespace + "." + i.Cluster }

// Labels are those of the service's mirrored EndpointSlices. derived is the name of the
// service that stands for it in this cluster, also if there is no such object.
func (i Identity) Labels(derived string) map[string]string {
	return map[string]string{
		v1alpha1.LabelCluster:        i.Cluster,
		LabelNamespace:               i.Namespace,
		LabelName:                    i.Name,
		LabelProxy:                   ProxyName,
		discoveryv1.LabelManagedBy:   ManagedBy,
		discoveryv1.LabelServiceName: derived,
	}
}

// Slice is a mirrored EndpointSlice as it was read.
type Slice struct {
	Identity
	Service   Service
	Addresses discoveryv1.AddressType
	// Ports are the ports of the endpoints, by name.
	Ports     map[string]SlicePort
	Endpoints []Endpoint
}

// SlicePort is the port of all endpoints of a slice for one port of the service.
type SlicePort struct {
	Protocol corev1.Protocol
	Port     uint16
}

// Endpoint is one pod behind a service.
type Endpoint struct {
	Address netip.Addr
	// Ready: it takes new connections. Serving: it does, were it not Terminating.
	Ready, Serving, Terminating bool
	// Hostname is its own name under a headless service, if it has one. Proxies have no
	// use for it: Read leaves it out.
	Hostname string
}

// Read reads a mirrored EndpointSlice. An error says what in it is not as it should be.
func Read(o *discoveryv1.EndpointSlice) (Slice, error) {
	s := Slice{
		Identity: Identity{
			Cluster: o.Labels[v1alpha1.LabelCluster], Namespace: o.Labels[LabelNamespace], Name: o.Labels[LabelName],
		},
		Addresses: o.AddressType,
	}
	for _, l := range []struct{ label, value string }{
		{v1alpha1.LabelCluster, s.Cluster}, {LabelNamespace, s.Namespace}, {LabelName, s.Name},
	} {
		if l.value == "" {
			return Slice{}, fmt.Errorf("label %s is missing", l.label)
		}
	}
	var err error
	if s.Service, err = Decode(o.Annotations[Annotation]); err != nil {
		return Slice{}, err
	}
	if s.Ports, err = readPorts(o.Ports); err != nil {
		return Slice{}, err
	}
	s.Endpoints, err = readEndpoints(o.AddressType, o.Endpoints)
	return s, err
}

// readPorts leaves out ports without a number: those mean "all", which no proxy can do.
func readPorts(ports []discoveryv1.EndpointPort) (map[string]SlicePort, error) {
	out := make(map[string]SlicePort, len(ports))
	for i, p := range ports {
		if p.Port == nil {
			continue
		}
		if *p.Port < 1 || *p.Port > 65535 {
			return nil, fmt.Errorf("ports[%d]: %d is not a port", i, *p.Port)
		}
		name, made := "", SlicePort{Protocol: corev1.ProtocolTCP, Port: uint16(*p.Port)}
		if p.Name != nil {
			name = *p.Name
		}
		if p.Protocol != nil {
			made.Protocol = *p.Protocol
		}
		if _, twice := out[name]; twice {
			return nil, fmt.Errorf("ports[%d]: name %.63q stands there twice", i, name)
		}
		out[name] = made
	}
	return out, nil
}

// readEndpoints reads conditions as discovery.k8s.io/v1 defines them: ready and serving
// are true and terminating is false where they are not given. Of several addresses of an
// endpoint the first is used, as kube-proxy does.
func readEndpoints(kind discoveryv1.AddressType, endpoints []discoveryv1.Endpoint) ([]Endpoint, error) {
	if kind == discoveryv1.AddressTypeFQDN {
		return nil, nil // names have no address to balance over
	}
	if len(endpoints) > maxEndpoints {
		return nil, fmt.Errorf("%d endpoints, more than %d", len(endpoints), maxEndpoints)
	}
	out := make([]Endpoint, 0, len(endpoints))
	for i, e := range endpoints {
		if len(e.Addresses) == 0 {
			return nil, fmt.Errorf("endpoints[%d]: no address", i)
		}
		a, err := netip.ParseAddr(e.Addresses[0])
		if err != nil || !usable(a) || a.Is4() != (kind == discoveryv1.AddressTypeIPv4) {
			return nil, fmt.Errorf("endpoints[%d]: %.45q is no address of a pod, of type %.8q", i, e.Addresses[0], kind)
		}
		out = append(out, Endpoint{
			Address:     a,
			Ready:       ptr.Deref(e.Conditions.Ready, true),
			Serving:     ptr.Deref(e.Conditions.Serving, ptr.Deref(e.Conditions.Ready, true)),
			Terminating: ptr.Deref(e.Conditions.Terminating, false),
		})
	}
	return out, nil
}
