package remoteservice

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// Annotation holds, on each mirrored EndpointSlice, the Service that it belongs to, as
// Service.Encode writes it.
const Annotation = "sdntunnel.io/service"

// Bounds of what is read. A service has at most one address of each family; the number of
// ports has no bound of its own in Kubernetes.
const (
	maxIPs   = 2
	maxPorts = 1024
	// maxAffinity is Kubernetes' own bound of sessionAffinityConfig, in seconds.
	maxAffinity = 86400
	maxEncoded  = 128 << 10
	maxPortName = 63
	// maxApp is the longest appProtocol: a prefix, a slash and a name.
	maxApp = 253 + 1 + 63
)

// Service is what the proxies need of a remote service besides its endpoints.
type Service struct {
	// IPs are its cluster IPs, at most one of each family; none: headless.
	IPs []netip.Addr `json:"ips"`
	// Ports are the service's. EndpointSlices have them by name.
	Ports []Port `json:"ports,omitempty"`
	// Affinity is the timeout of sessionAffinity ClientIP in seconds; 0: no affinity.
	Affinity int32 `json:"affinity,omitempty"`
	// Exported is when the member exported the service to all clusters, in seconds since
	// 1970 by its own clock; 0: it did not.
	Exported int64 `json:"exported,omitempty"`
}

// Port is one port of a service.
type Port struct {
	// Name is empty at most if it is the only port.
	Name     string          `json:"name,omitempty"`
	Protocol corev1.Protocol `json:"protocol"`
	Port     uint16          `json:"port"`
	// App is the appProtocol, if one is given.
	App string `json:"app,omitempty"`
}

// Encode gives the annotation's value. Equal services give equal values.
func (s Service) Encode() (string, error) {
	if err := s.Validate(); err != nil {
		return "", err
	}
	if s.IPs == nil {
		s.IPs = []netip.Addr{}
	}
	b, err := json.Marshal(s)
	if err != nil {
		return "", fmt.Errorf("encode a service: %w", err)
	}
	if len(b) > maxEncoded {
		return "", fmt.Errorf("encode a service: %d bytes are more than an annotation should hold (%d)", len(b), maxEncoded)
	}
	return string(b), nil
}

// Decode reads an annotation's value; what it gives is valid. Fields that it does not
// know are a later version's, and left alone.
func Decode(text string) (Service, error) {
	var s Service
	if len(text) > maxEncoded {
		return s, fmt.Errorf("annotation %s: %d bytes, more than %d", Annotation, len(text), maxEncoded)
	}
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		return Service{}, fmt.Errorf("annotation %s: %w", Annotation, err)
	}
	if err := s.Validate(); err != nil {
		return Service{}, fmt.Errorf("annotation %s: %w", Annotation, err)
	}
	return s, nil
}

// Validate says what no service can be.
func (s Service) Validate() error {
	if len(s.IPs) > maxIPs {
		return fmt.Errorf("%d cluster IPs, more than %d", len(s.IPs), maxIPs)
	}
	for i, a := range s.IPs {
		if !usable(a) {
			return fmt.Errorf("ips[%d]: %v is no address of a service", i, a)
		}
		if i > 0 && a.Is4() == s.IPs[0].Is4() {
			return fmt.Errorf("ips[%d]: %v is of the same family as %v", i, a, s.IPs[0])
		}
	}
	if len(s.Ports) > maxPorts {
		return fmt.Errorf("%d ports, more than %d", len(s.Ports), maxPorts)
	}
	if s.Affinity < 0 || s.Affinity > maxAffinity {
		return fmt.Errorf("affinity: %d seconds; want 0 to %d", s.Affinity, maxAffinity)
	}
	if s.Exported < 0 {
		return fmt.Errorf("exported: %d is before 1970", s.Exported)
	}
	return validatePorts(s.Ports)
}

func validatePorts(ports []Port) error {
	type number struct {
		protocol corev1.Protocol
		port     uint16
	}
	names, numbers := map[string]bool{}, map[number]bool{}
	for i, p := range ports {
		n := number{p.Protocol, p.Port}
		switch {
		case !slices.Contains(protocols, p.Protocol):
			return fmt.Errorf("ports[%d]: protocol %.8q: want TCP, UDP or SCTP", i, p.Protocol)
		case p.Port == 0:
			return fmt.Errorf("ports[%d]: no number", i)
		case len(p.Name) > maxPortName:
			return fmt.Errorf("ports[%d]: a name of %d bytes, more than %d", i, len(p.Name), maxPortName)
		case len(p.App) > maxApp:
			return fmt.Errorf("ports[%d]: an application protocol of %d bytes, more than %d", i, len(p.App), maxApp)
		case p.Name == "" && len(ports) > 1:
			return fmt.Errorf("ports[%d]: one of several needs a name", i)
		case names[p.Name]:
			return fmt.Errorf("ports[%d]: name %q stands there twice", i, p.Name)
		case numbers[n]:
			return fmt.Errorf("ports[%d]: %s port %d stands there twice", i, p.Protocol, p.Port)
		}
		names[p.Name], numbers[n] = true, true
	}
	return nil
}

var protocols = []corev1.Protocol{corev1.ProtocolTCP, corev1.ProtocolUDP, corev1.ProtocolSCTP}

// usable tells whether a service or a pod can have the address.
func usable(a netip.Addr) bool {
	return a.IsValid() && a.Zone() == "" && !a.Is4In6() && !a.IsUnspecified() &&
		!a.IsLoopback() && !a.IsMulticast() && !a.IsLinkLocalUnicast()
}
