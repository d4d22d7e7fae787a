package diagnose

import (
	"net/netip"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"

	"github.com/sdn-tunnel/sdn-tunnel/api/v1alpha1"
	"github.com/sdn-tunnel/sdn-tunnel/internal/mesh"
)

// Evidence is all that a diagnosis is made of.
type Evidence struct {
	// Now is the clock of who asks, when the nodes were asked.
	Now time.Time
	// Clusters are the members of the inventory by name.
	Clusters map[string]*Cluster
	// Nodes are what agents saw, by node. One that could not be asked has an Error.
	Nodes map[mesh.Ref]*NodeEvidence
}

// NodeEvidence is what an agent saw, or why it was not asked.
type NodeEvidence struct {
	View  NodeView
	Error string
	// Asked and Answered bound when the node looked at its clock.
	Asked, Answered time.Time
}

// Cluster is what the API of a member has.
type Cluster struct {
	Name string
	// Kubectl is how the cluster is asked by hand: the program, with what leads it there.
	Kubectl string
	// Namespace is that of sdn-tunnel, and AgentSet the agents' DaemonSet; empty: there is none.
	Namespace, AgentSet string
	// Error is why its API could not be read.
	Error string
	Links map[string]*v1alpha1.LinkedCluster
	// Nodes are TunnelNodes, its own and mirrors.
	Nodes map[mesh.Ref]*v1alpha1.TunnelNode
	// Agents are the agents' pods by node; AgentsWanted is how many there shall be.
	Agents       map[string]*corev1.Pod
	AgentsWanted int32
	// Controller and DNS are the Deployments of sdn-tunnel.
	Controller, DNS Workload
	// PodCIDRs are the pod networks that the cluster says itself it has; empty: not known.
	PodCIDRs []netip.Prefix
	// HostSubnets are the SDN's, by node.
	HostSubnets map[string]netip.Prefix
	// NodeServices are the load balancers' addresses for the tunnels, by node.
	NodeServices map[string]NodeService
	Forward      Forward
}

// kubectl is a command for the cluster.
func (c *Cluster) kubectl(words string) string { return c.Kubectl + " " + words }

// ours is a command for the namespace of sdn-tunnel.
func (c *Cluster) ours(words string) string { return c.kubectl("-n " + c.Namespace + " " + words) }

// Workload is a Deployment; Wanted is negative if there is none.
type Workload struct {
	Wanted, Ready int32
	// Trouble is why pods of it are not ready.
	Trouble string
}

// NodeService is the Service by which a node's tunnel is reached.
type NodeService struct {
	Name string
	Type corev1.ServiceType
	// Addresses are those that the load balancer gave it.
	Addresses []string
	Port      int32
}

// Forward is what the cluster's own DNS forwards to sdn-tunnel's.
type Forward struct {
	// Way is how the DNS is told: operator, configmap or manual; empty: not known.
	Way   string
	Zones []string
	// To is where they are forwarded, and Server where sdn-tunnel's server is.
	To, Server string
	// Resolver is the cluster's own DNS.
	Resolver netip.Addr
}

// Pod is one end of a way.
type Pod struct {
	Cluster, Namespace, Name, Node string
	Address                        netip.Addr
	HostNetwork                    bool
	Phase                          corev1.PodPhase
	Ready                          bool
	// Trouble is why it does not run.
	Trouble string
	// Policies are the NetworkPolicies that select it.
	Policies []networkingv1.NetworkPolicy
	// NetID is the SDN's network id of its namespace; nil: not known.
	NetID *uint32
	// Missing: there is no such pod.
	Missing bool
}

// Ref is the node that the pod is on.
func (p Pod) Ref() mesh.Ref { return mesh.Ref{Cluster: p.Cluster, Node: p.Node} }

// String is how the pod is named on the command line.
func (p Pod) String() string { return p.Cluster + "/" + p.Namespace + "/" + p.Name }

// Service is a service of a member.
type Service struct {
	Cluster, Namespace, Name string
	Missing                  bool
	Object                   *corev1.Service
	Slices                   []discoveryv1.EndpointSlice
	// Exported: it has a ServiceExport.
	Exported bool
	// Mirrors are what the source's cluster has of it.
	Mirrors []discoveryv1.EndpointSlice
}

// String is how the service is named on the command line.
func (s Service) String() string { return s.Cluster + "/" + s.Namespace + "/" + s.Name }

// Question is what is asked: whether From reaches a pod, a service, or a name. Without From
// it is the whole mesh.
type Question struct {
	From *Pod
	// To is the pod at the other end, also that behind a service; nil: there is none.
	To      *Pod
	Service *Service
	// Name is what is resolved, if it was asked for by name.
	Name string
	// Zone is the member's zone that the name is in; empty: in none.
	Zone string
	// Host is the pod's own name, if the name is that of a service's pod and not of the service.
	Host string
	// Aliases are the names that services of type ExternalName on the way stand for, in order.
	// Service is that which the last one leads to.
	Aliases []string
	// Outside: the last of them is no service of the mesh. Service is what stands for it.
	Outside bool
	// Protocol and Port are those of the service, or asked for; icmp without port.
	Protocol string
	Port     uint16
}
