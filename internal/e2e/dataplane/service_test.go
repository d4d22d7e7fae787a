package dataplane

import (
	"fmt"
	"net/netip"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sdn-tunnel/sdn-tunnel/internal/remoteservice"
)

// service is that of a node's open pod, which is its only endpoint, as those of other
// clusters call it: a pod that is on no node.
func (w *world) service(node string) *pod {
	return &pod{name: "service of " + node, ip: w.node(node).serviceIP()}
}

// serviceIP is in the service network what the open pod's is in the pod network.
func (n *node) serviceIP() netip.Addr {
	pod, start := n.pods[0].ip.As4(), n.cluster.pods.Addr().As4()
	return host(n.cluster.services, int(pod[2]-start[2])<<8+int(pod[3]))
}

// mirrors are the services of the other clusters' nodes, as a controller mirrors them.
func (n *node) mirrors() (all []*discoveryv1.EndpointSlice) {
	for _, o := range n.w.nodes {
		if o.cluster != n.cluster {
			all = append(all, o.mirror())
		}
	}
	return all
}

// mirror has all the ports on which pods answer.
func (n *node) mirror() *discoveryv1.EndpointSlice {
	identity := remoteservice.Identity{Cluster: n.cluster.name, Namespace: "test", Name: n.name}
	o := &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Name: n.name, Labels: identity.Labels(n.name)},
		AddressType: discoveryv1.AddressTypeIPv4,
		Endpoints:   []discoveryv1.Endpoint{{Addresses: []string{n.pods[0].ip.String()}}},
	}
	s := remoteservice.Service{IPs: []netip.Addr{n.serviceIP()}}
	for _, number := range []uint16{servicePort, measurePort, transferPort} {
		for _, protocol := range []corev1.Protocol{corev1.ProtocolTCP, corev1.ProtocolUDP} {
			name, at := strings.ToLower(fmt.Sprintf("%s-%d", protocol, number)), int32(number)
			s.Ports = append(s.Ports, remoteservice.Port{Name: name, Protocol: protocol, Port: number})
			o.Ports = append(o.Ports, discoveryv1.EndpointPort{Name: &name, Protocol: &protocol, Port: &at})
		}
	}
	text, err := s.Encode()
	if err != nil {
		n.t.Fatal(err)
	}
	o.Annotations = map[string]string{remoteservice.Annotation: text}
	return o
}
