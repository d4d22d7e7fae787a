package controller

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	discoveryv1 "k8s.io/api/discovery/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sdn-tunnel/sdn-tunnel/api/v1alpha1"
	"github.com/sdn-tunnel/sdn-tunnel/internal/catalog"
	"github.com/sdn-tunnel/sdn-tunnel/internal/remoteservice"
)

// networks are those that a member may speak of, as its LinkedCluster here says.
type networks struct{ pods, services []netip.Prefix }

func networksOf(lc *v1alpha1.LinkedCluster) networks {
	parse := func(cidrs []v1alpha1.CIDR) (out []netip.Prefix) {
		for _, c := range cidrs {
			if p, err := netip.ParsePrefix(string(c)); err == nil {
				out = append(out, p)
			}
		}
		return out
	}
	return networks{parse(lc.Spec.PodCIDRs), parse(lc.Spec.ServiceCIDRs)}
}

// mirrorPlan is what is to be made of a remote service.
type mirrorPlan struct {
	slices []*discoveryv1.EndpointSlice
	// leftOut is how many endpoints lie outside of the member's pod networks, hostNetwork
	// pods mostly: their addresses are the nodes', which no tunnel reaches.
	leftOut int
	// refused says why there are no slices.
	refused string
}

// planMirror makes one slice of each of the service's, of the endpoints that the member
// may have; and an empty one where there is none, so that the address is rejected and
// does not swallow packets, and that an export is seen before it has endpoints.
func planMirror(id remoteservice.Identity, s *catalog.Service, may networks, namespace string) mirrorPlan {
	if s.Refused != "" {
		return mirrorPlan{refused: s.Refused}
	}
	shown := s.Service
	shown.IPs = nil
	for _, ip := range s.IPs {
		if remoteservice.Within(may.services, ip) {
			shown.IPs = append(shown.IPs, ip)
		}
	}
	headless := len(s.IPs) == 0
	if len(shown.IPs) == 0 && !headless {
		return mirrorPlan{refused: fmt.Sprintf("its address %v is in none of the member's service networks %v", s.IPs, may.services)}
	}
	text, err := shown.Encode()
	if err != nil {
		return mirrorPlan{refused: err.Error()}
	}
	derived := derivedName(id)
	mirror := func(name string, family discoveryv1.AddressType) *discoveryv1.EndpointSlice {
		return &discoveryv1.EndpointSlice{
			ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace, Labels: id.Labels(derived),
				Annotations: map[string]string{remoteservice.Annotation: text}},
			AddressType: family,
		}
	}
	var p mirrorPlan
	made := map[string]bool{}
	for _, one := range s.Slices {
		name := derived + "-" + remoteservice.Digest(one.Name)[:10]
		if made[name] || !headless && !slices.Contains(families(shown.IPs), one.Addresses) {
			continue
		}
		made[name] = true
		m := mirror(name, one.Addresses)
		m.Ports = slicePorts(one.Ports)
		for _, e := range one.Endpoints {
			if !remoteservice.Within(may.pods, e.Address) {
				p.leftOut++
				continue
			}
			if !headless {
				e.Hostname = "" // nobody asks for it by that
			}
			m.Endpoints = append(m.Endpoints, sliceEndpoint(e))
		}
		p.slices = append(p.slices, m)
	}
	if len(p.slices) == 0 {
		p.slices = append(p.slices, mirror(derived, append(families(shown.IPs), discoveryv1.AddressTypeIPv4)[0]))
	}
	return p
}

// families of the addresses, in their order.
func families(all []netip.Addr) (out []discoveryv1.AddressType) {
	for _, a := range all {
		if a.Is4() {
			out = append(out, discoveryv1.AddressTypeIPv4)
		} else {
			out = append(out, discoveryv1.AddressTypeIPv6)
		}
	}
	return out
}

// slicePorts say all that the API server would fill in, so that equal ones are equal.
func slicePorts(ports []remoteservice.Port) []discoveryv1.EndpointPort {
	out := make([]discoveryv1.EndpointPort, len(ports))
	for i, p := range ports {
		out[i] = discoveryv1.EndpointPort{Name: &p.Name, Protocol: &p.Protocol, Port: new(int32(p.Port))}
	}
	return out
}

func sliceEndpoint(e remoteservice.Endpoint) discoveryv1.Endpoint {
	out := discoveryv1.Endpoint{Addresses: []string{e.Address.String()}}
	out.Conditions.Ready = new(e.Ready)
	if e.Serving != e.Ready {
		out.Conditions.Serving = new(e.Serving)
	}
	if e.Terminating {
		out.Conditions.Terminating = new(true)
	}
	if e.Hostname != "" {
		out.Hostname = &e.Hostname
	}
	return out
}

// derivedName stands for a remote service in this cluster: the member's name, as far as
// there is room in a DNS label, and a digest. No service of the cluster has it.
func derivedName(id remoteservice.Identity) string {
	d := remoteservice.Digest(id.Cluster + "/" + id.Namespace + "/" + id.Name)
	cluster := id.Cluster
	if room := 63 - 1 - len(d); len(cluster) > room {
		cluster = strings.TrimRight(cluster[:room], "-")
	}
	return cluster + "-" + d
}

// sameMirror compares what a mirror is made of. Other annotations are left alone.
func sameMirror(is, want *discoveryv1.EndpointSlice) bool {
	return is.AddressType == want.AddressType &&
		is.Annotations[remoteservice.Annotation] == want.Annotations[remoteservice.Annotation] &&
		apiequality.Semantic.DeepEqual(is.Labels, want.Labels) &&
		apiequality.Semantic.DeepEqual(is.Ports, want.Ports) &&
		apiequality.Semantic.DeepEqual(is.Endpoints, want.Endpoints)
}
