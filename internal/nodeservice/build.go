package nodeservice

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	applycorev1 "k8s.io/client-go/applyconfigurations/core/v1"
	applydiscoveryv1 "k8s.io/client-go/applyconfigurations/discovery/v1"

	"github.com/sdn-tunnel/sdn-tunnel/api/v1alpha1"
)

const (
	prefix   = "sdn-tunnel-"
	portName = "tunnel"
	maxLabel = 63
	hashLen  = 8
)

// Name is the name of a node's Service and EndpointSlice. Node names with dots, and
// long ones, are made to fit and get a hash, so that no two nodes share a Service.
func Name(node string) string {
	return fit(prefix+strings.ReplaceAll(node, ".", "-"), node, strings.Contains(node, "."))
}

// LabelValue is the node's name as value of label v1alpha1.LabelNode.
func LabelValue(node string) string { return fit(node, node, false) }

// fit cuts s to a DNS label's length; a cut or changed name ends in a hash of node.
func fit(s, node string, changed bool) string {
	if !changed && len(s) <= maxLabel {
		return s
	}
	sum := sha256.Sum256([]byte(node))
	if room := maxLabel - hashLen - 1; len(s) > room {
		s = strings.TrimRight(s[:room], "-.")
	}
	return s + "-" + hex.EncodeToString(sum[:])[:hashLen]
}

// Labels are those of everything that is made for a node.
func (o Options) Labels(node string) map[string]string {
	return map[string]string{
		"app.kubernetes.io/name":       "sdn-tunnel",
		"app.kubernetes.io/managed-by": v1alpha1.ManagerController,
		v1alpha1.LabelCluster:          o.Cluster,
		v1alpha1.LabelNode:             LabelValue(node),
	}
}

// Build makes the Service and the EndpointSlice of a node, or nil where the type needs
// none. nodePort is the port that the API server gave the Service, 0 before it did:
// with type NodePort, WireGuard listens on it, because then a roamed endpoint is the
// same as the announced one. The EndpointSlice is nil while it cannot be made.
func Build(node *corev1.Node, o Options, nodePort int32) (*applycorev1.ServiceApplyConfiguration, *applydiscoveryv1.EndpointSliceApplyConfiguration, error) {
	if !o.HasService() {
		return nil, nil, nil
	}
	name, labels := Name(node.Name), o.Labels(node.Name)
	annotations := map[string]string{v1alpha1.AnnotationNode: node.Name}
	port := applycorev1.ServicePort().WithName(portName).WithProtocol(corev1.ProtocolUDP).WithPort(o.TunnelPort)
	if o.Type == LoadBalancer {
		port.WithTargetPort(intstr.FromInt32(o.TunnelPort))
	} else if nodePort != 0 {
		port.WithTargetPort(intstr.FromInt32(nodePort))
	}
	service := applycorev1.Service(name, o.Namespace).
		WithLabels(labels).
		WithAnnotations(o.Annotations).WithAnnotations(annotations).
		WithSpec(applycorev1.ServiceSpec().
			WithType(corev1.ServiceType(o.Type)).
			WithExternalTrafficPolicy(corev1.ServiceExternalTrafficPolicyLocal).
			WithPorts(port))
	listen := o.listenPort(nodePort)
	if listen == 0 {
		return service, nil, nil
	}
	addr, err := address(node, corev1.NodeInternalIP)
	if err != nil {
		return service, nil, err
	}
	family := discoveryv1.AddressTypeIPv4
	if addr.Is6() {
		family = discoveryv1.AddressTypeIPv6
	}
	slice := applydiscoveryv1.EndpointSlice(name, o.Namespace).
		WithLabels(labels).
		WithLabels(map[string]string{
			discoveryv1.LabelServiceName: name,
			discoveryv1.LabelManagedBy:   v1alpha1.ManagerController,
		}).
		WithAnnotations(annotations).
		WithAddressType(family).
		WithPorts(applydiscoveryv1.EndpointPort().WithName(portName).WithProtocol(corev1.ProtocolUDP).WithPort(listen)).
		WithEndpoints(applydiscoveryv1.Endpoint().
			WithAddresses(addr.String()).
			// The tunnel outlives the kubelet's opinion of the node: WireGuard decides.
			WithConditions(applydiscoveryv1.EndpointConditions().WithReady(true)).
			WithNodeName(node.Name))
	return service, slice, nil
}

// listenPort is WireGuard's port on the node, 0 while it is not known.
func (o Options) listenPort(nodePort int32) int32 {
	if o.Type == NodePort {
		return nodePort
	}
	return o.TunnelPort
}

// address is the node's first address of a type; IPv4 comes first.
func address(node *corev1.Node, kind corev1.NodeAddressType) (netip.Addr, error) {
	var found netip.Addr
	for _, a := range node.Status.Addresses {
		if a.Type != kind {
			continue
		}
		addr, err := netip.ParseAddr(a.Address)
		if err == nil && addr.Is4() {
			return addr, nil
		}
		if err == nil && !found.IsValid() {
			found = addr
		}
	}
	if !found.IsValid() {
		return found, fmt.Errorf("node %s has no %s: check its status.addresses", node.Name, kind)
	}
	return found, nil
}
