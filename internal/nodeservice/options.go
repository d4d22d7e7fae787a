package nodeservice

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"

	"k8s.io/apimachinery/pkg/util/validation"
)

// Type says how the nodes' tunnels are reached.
type Type string

// The types.
const (
	LoadBalancer Type = "LoadBalancer" // a VIP per node
	NodePort     Type = "NodePort"     // a port of the node, the same as WireGuard's
	HostNetwork  Type = "HostNetwork"  // the node's own address; no Service
	Static       Type = "Static"       // addresses that the operator gives; no Service
)

// DefaultPort is the tunnels' UDP port.
const DefaultPort = 5555

// Options are the same for all nodes of a cluster.
type Options struct {
	// Cluster is the member's name.
	Cluster string `json:"cluster"`
	// Namespace holds the Services.
	Namespace string `json:"namespace"`
	Type      Type   `json:"service_type"`
	// TunnelPort is the UDP port of the VIP and of WireGuard, except for NodePort.
	TunnelPort int32 `json:"tunnel_port"`
	// Static maps <node> or <cluster>.<node> to address or address:port.
	Static map[string]string `json:"static_endpoints,omitempty"`
	// Annotations are put on every Service, for the cloud's load balancer.
	Annotations map[string]string `json:"annotations,omitempty"`
}

// Validate names the option that cannot be used and the remedy.
func (o Options) Validate() error {
	if msgs := validation.IsDNS1123Label(o.Cluster); len(msgs) > 0 {
		return fmt.Errorf("cluster %q: %s", o.Cluster, msgs[0])
	}
	if msgs := validation.IsDNS1123Label(o.Namespace); len(msgs) > 0 {
		return fmt.Errorf("namespace %q: %s", o.Namespace, msgs[0])
	}
	switch o.Type {
	case LoadBalancer, NodePort, HostNetwork, Static:
	default:
		return fmt.Errorf("service_type %q: use %s, %s, %s or %s", o.Type, LoadBalancer, NodePort, HostNetwork, Static)
	}
	if o.TunnelPort < 1 || o.TunnelPort > 65535 {
		return fmt.Errorf("tunnel_port %d: use 1 to 65535", o.TunnelPort)
	}
	if o.Type == Static && len(o.Static) == 0 {
		return fmt.Errorf("static_endpoints: empty, and service_type is %s: map each node to its address", Static)
	}
	for node, s := range o.Static {
		if _, err := ParseEndpoint(s, o.TunnelPort); err != nil {
			return fmt.Errorf("static_endpoints[%s]: %w", node, err)
		}
	}
	return nil
}

// HasService tells whether nodes get Services at all.
func (o Options) HasService() bool { return o.Type == LoadBalancer || o.Type == NodePort }

// ParseEndpoint reads address, name, address:port or name:port; IPv6 with a port is
// written [address]:port.
func ParseEndpoint(s string, port int32) (Endpoint, error) {
	if addr, err := netip.ParseAddr(s); err == nil {
		return Endpoint{Host: addr.String(), Port: port}, nil
	}
	host, p, err := net.SplitHostPort(s)
	if err != nil {
		host = s
	} else {
		n, err := strconv.ParseUint(p, 10, 16)
		if err != nil || n == 0 {
			return Endpoint{}, fmt.Errorf("%q: the port is not 1 to 65535", s)
		}
		port = int32(n)
	}
	if addr, err := netip.ParseAddr(host); err == nil {
		return Endpoint{Host: addr.String(), Port: port}, nil
	}
	if msgs := validation.IsDNS1123Subdomain(host); len(msgs) > 0 {
		return Endpoint{}, fmt.Errorf("%q is neither an address nor a name: write address or address:port", s)
	}
	return Endpoint{Host: host, Port: port}, nil
}
