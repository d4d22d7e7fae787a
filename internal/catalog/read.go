package catalog

import (
	"cmp"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/utils/ptr"

	"github.com/sdn-tunnel/sdn-tunnel/internal/remoteservice"
)

// Bounds of one object; the API's own are the same or less.
const (
	maxEndpoints  = 1000
	maxSlicePorts = 1024
	maxName       = 253
	maxLabel      = 63
)

// readService keeps of a Service what a mirror needs. nil: it is of a sort that is not
// mirrored.
func readService(s *corev1.Service) *Service {
	if s.Namespace == metav1.NamespaceDefault && s.Name == "kubernetes" {
		return nil
	}
	if s.Spec.Type == corev1.ServiceTypeExternalName || s.Spec.ClusterIP == "" {
		return nil
	}
	if len(validation.IsDNS1123Label(s.Namespace)) > 0 || len(validation.IsDNS1123Label(s.Name)) > 0 {
		return &Service{Refused: "no service and no namespace can have this name"}
	}
	var out Service
	for _, text := range clusterIPs(s) {
		a, err := netip.ParseAddr(text)
		if err != nil {
			return &Service{Refused: "its cluster IP is not an address"}
		}
		out.IPs = append(out.IPs, a)
	}
	for _, p := range s.Spec.Ports {
		if p.Port < 1 || p.Port > 65535 {
			return &Service{Refused: "one of its ports is not a port"}
		}
		if p.Name != "" && len(validation.IsDNS1123Label(p.Name)) > 0 {
			return &Service{Refused: "no port can have the name of one of its ports"}
		}
		made := remoteservice.Port{Name: p.Name, Protocol: cmp.Or(p.Protocol, corev1.ProtocolTCP), Port: uint16(p.Port)}
		if p.AppProtocol != nil && len(validation.IsQualifiedName(*p.AppProtocol)) == 0 {
			made.App = *p.AppProtocol
		}
		out.Ports = append(out.Ports, made)
	}
	if s.Spec.SessionAffinity == corev1.ServiceAffinityClientIP {
		out.Affinity = corev1.DefaultClientIPServiceAffinitySeconds
		if c := s.Spec.SessionAffinityConfig; c != nil && c.ClientIP != nil && c.ClientIP.TimeoutSeconds != nil {
			out.Affinity = *c.ClientIP.TimeoutSeconds
		}
	}
	if _, err := out.Encode(); err != nil {
		return &Service{Refused: err.Error()}
	}
	return &out
}

// clusterIPs are none of a headless service.
func clusterIPs(s *corev1.Service) []string {
	switch {
	case s.Spec.ClusterIP == corev1.ClusterIPNone:
		return nil
	case len(s.Spec.ClusterIPs) == 0:
		return []string{s.Spec.ClusterIP}
	}
	return s.Spec.ClusterIPs
}

// readSlice keeps of an EndpointSlice what a mirror needs; not ok if that is nothing.
// Of several addresses of an endpoint the first is used, as kube-proxy does, and of
// several endpoints with one address the first.
func readSlice(o *discoveryv1.EndpointSlice) (s Slice, ok bool) {
	if o.AddressType != discoveryv1.AddressTypeIPv4 && o.AddressType != discoveryv1.AddressTypeIPv6 ||
		len(o.Endpoints) > maxEndpoints || len(o.Ports) > maxSlicePorts {
		return Slice{}, false
	}
	s = Slice{Name: o.Name, Addresses: o.AddressType, Ports: readPorts(o.Ports)}
	s.Endpoints = make([]remoteservice.Endpoint, 0, len(o.Endpoints))
	for i := range o.Endpoints {
		e := &o.Endpoints[i]
		if len(e.Addresses) == 0 {
			continue
		}
		a, err := netip.ParseAddr(e.Addresses[0])
		if err != nil || a.Zone() != "" || a.Is4() != (o.AddressType == discoveryv1.AddressTypeIPv4) {
			continue
		}
		ready := ptr.Deref(e.Conditions.Ready, true)
		made := remoteservice.Endpoint{Address: a, Ready: ready,
			Serving: ptr.Deref(e.Conditions.Serving, ready), Terminating: ptr.Deref(e.Conditions.Terminating, false)}
		if e.Hostname != nil && len(validation.IsDNS1123Label(*e.Hostname)) == 0 {
			made.Hostname = *e.Hostname
		}
		s.Endpoints = append(s.Endpoints, made)
	}
	slices.SortStableFunc(s.Endpoints, func(a, b remoteservice.Endpoint) int { return a.Address.Compare(b.Address) })
	s.Endpoints = slices.CompactFunc(s.Endpoints, func(a, b remoteservice.Endpoint) bool { return a.Address == b.Address })
	return s, true
}

// readPorts leaves out ports without a number, which mean "all" and which no proxy can
// serve, and all but the first of a name.
func readPorts(ports []discoveryv1.EndpointPort) []remoteservice.Port {
	var out []remoteservice.Port
	for i := range ports {
		p := &ports[i]
		made := remoteservice.Port{Protocol: corev1.ProtocolTCP}
		if p.Port == nil || *p.Port < 1 || *p.Port > 65535 {
			continue
		}
		made.Port = uint16(*p.Port)
		if p.Name != nil {
			made.Name = *p.Name
		}
		if p.Protocol != nil {
			made.Protocol = *p.Protocol
		}
		if len(made.Name) > maxLabel || len(made.Protocol) > len(corev1.ProtocolSCTP) {
			continue
		}
		out = append(out, made)
	}
	slices.SortStableFunc(out, func(a, b remoteservice.Port) int { return cmp.Compare(a.Name, b.Name) })
	return slices.CompactFunc(out, func(a, b remoteservice.Port) bool { return a.Name == b.Name })
}
