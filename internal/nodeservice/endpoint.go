package nodeservice

import (
	"fmt"
	"net"
	"strconv"

	corev1 "k8s.io/api/core/v1"
)

// Endpoint is where a node's tunnel is reached from other clusters.
type Endpoint struct {
	Host string `json:"host"` // address or DNS name
	Port int32  `json:"port"`
}

// String is host:port.
func (e Endpoint) String() string { return net.JoinHostPort(e.Host, strconv.Itoa(int(e.Port))) }

// Observed is what is known of a node's way in. Endpoint is nil while there is none,
// and Missing says then what is waited for and what to look at.
type Observed struct {
	Node       string    `json:"node"`
	ListenPort int32     `json:"listenPort,omitempty"` // WireGuard's port on the node
	Endpoint   *Endpoint `json:"endpoint,omitempty"`
	Missing    string    `json:"missing,omitempty"`
}

// Observe reads the endpoint of a node from the Service's status, or from the Node or
// the options where there is no Service (service is nil then).
func Observe(node *corev1.Node, service *corev1.Service, o Options) Observed {
	switch o.Type {
	case Static:
		return observeStatic(node, o)
	case HostNetwork:
		return observeNode(node, o.TunnelPort)
	}
	if service == nil || len(service.Spec.Ports) == 0 {
		return Observed{Node: node.Name, Missing: "the Service is not there yet"}
	}
	if o.Type == NodePort {
		port := service.Spec.Ports[0].NodePort
		if port == 0 {
			return Observed{Node: node.Name, Missing: "the API server has not given the Service a node port: check its range of node ports"}
		}
		return observeNode(node, port)
	}
	out := Observed{Node: node.Name, ListenPort: o.TunnelPort}
	for _, in := range service.Status.LoadBalancer.Ingress {
		host := in.IP
		if host == "" {
			host = in.Hostname
		}
		if host != "" {
			out.Endpoint = &Endpoint{Host: host, Port: o.TunnelPort}
			return out
		}
	}
	out.Missing = "the load balancer has given no address: check the cloud's controller or MetalLB and its pool, or use service_type NodePort"
	return out
}

func observeNode(node *corev1.Node, port int32) Observed {
	out := Observed{Node: node.Name, ListenPort: port}
	addr, err := address(node, corev1.NodeExternalIP)
	if err != nil {
		addr, err = address(node, corev1.NodeInternalIP)
	}
	if err != nil {
		out.Missing = fmt.Sprintf("%v, or use service_type %s", err, Static)
		return out
	}
	out.Endpoint = &Endpoint{Host: addr.String(), Port: port}
	return out
}

func observeStatic(node *corev1.Node, o Options) Observed {
	out := Observed{Node: node.Name, ListenPort: o.TunnelPort}
	value, ok := o.Static[o.Cluster+"."+node.Name]
	if !ok {
		value, ok = o.Static[node.Name]
	}
	if !ok {
		out.Missing = "static_endpoints does not name the node: add it"
		return out
	}
	endpoint, err := ParseEndpoint(value, o.TunnelPort)
	if err != nil {
		out.Missing = "static_endpoints: " + err.Error()
		return out
	}
	out.Endpoint = &endpoint
	return out
}
