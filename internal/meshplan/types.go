package meshplan

import (
	"net/netip"

	"github.com/sdn-tunnel/sdn-tunnel/api/v1alpha1"
)

// Input is all that a plan is made from.
type Input struct {
	Clusters []Facts `json:"clusters"`
	Options  Options `json:"options"`
}

// Platform says what distribution a cluster is of.
type Platform string

// Platforms that facts tell apart.
const (
	OpenShift  Platform = "OpenShift"
	Kubernetes Platform = "Kubernetes"
)

// Attachment says how the tunnel is wired to a node's pod network.
type Attachment string

// The attachments.
const (
	AttachOVS  Attachment = "ovs"  // a port of OpenShift SDN's br0
	AttachHost Attachment = "host" // routes of the node, for any other CNI
)

// Facts are what is known of one cluster, as found in its API.
type Facts struct {
	Name   string `json:"name"`
	Server string `json:"server"`
	// Major and Minor are the API server's version, e.g. 1 and 24.
	Major    int      `json:"major"`
	Minor    int      `json:"minor"`
	Platform Platform `json:"platform"`
	// NetworkType is the platform's name of its pod network, e.g. OpenShiftSDN.
	NetworkType string `json:"networkType"`
	// Attachment fits the network type; empty: the plan chooses.
	Attachment   Attachment     `json:"attachment,omitempty"`
	PodCIDRs     []netip.Prefix `json:"podCIDRs"`
	ServiceCIDRs []netip.Prefix `json:"serviceCIDRs"`
	// GlobalPodCIDRs are the prefixes by which the others shall see PodCIDRs; empty: the same.
	GlobalPodCIDRs []netip.Prefix `json:"globalPodCIDRs,omitempty"`
	Nodes          []Node         `json:"nodes"`
	// TunnelCIDRs are those of the LinkedClusters that exist in the cluster already, by
	// member name: what was handed out is kept.
	TunnelCIDRs map[string]netip.Prefix `json:"tunnelCIDRs,omitempty"`
}

// Node is what is known of one node.
type Node struct {
	Name          string         `json:"name"`
	InternalIPs   []netip.Addr   `json:"internalIPs"`
	ExternalIPs   []netip.Addr   `json:"externalIPs,omitempty"`
	HostSubnets   []netip.Prefix `json:"hostSubnets,omitempty"`
	Ready         bool           `json:"ready"`
	Schedulable   bool           `json:"schedulable"`
	OSImage       string         `json:"osImage,omitempty"`
	KernelVersion string         `json:"kernelVersion,omitempty"`
	// UDPPorts are ports that are known to be taken on the node by others.
	UDPPorts []uint16 `json:"udpPorts,omitempty"`
}

// ServiceType says how the nodes' tunnels are reached from other clusters.
type ServiceType string

// The service types.
const (
	LoadBalancer ServiceType = "LoadBalancer" // a Service with an address of its own for each node
	NodePort     ServiceType = "NodePort"     // a Service with a node port for each node
	HostNetwork  ServiceType = "HostNetwork"  // the node's own address
	Static       ServiceType = "Static"       // addresses that the operator names
)

// Options are the operator's choices; zero values mean the defaults (see Defaults).
type Options struct {
	TunnelPort  uint16       `json:"tunnelPort,omitempty"`
	TunnelPool  netip.Prefix `json:"tunnelPool,omitzero"`
	ServiceType ServiceType  `json:"serviceType,omitempty"`
	// StaticEndpoints maps nodes (<cluster>.<node>, or <node> where that is
	// unambiguous) to address[:port]; for service type Static.
	StaticEndpoints map[string]string `json:"staticEndpoints,omitempty"`
	// NodePort is the first node port, the nodes of a cluster in order of their names
	// have consecutive ones; 0: the API server chooses.
	NodePort uint16 `json:"nodePort,omitempty"`
	// NodePortFirst and NodePortLast are the API servers' range of node ports.
	NodePortFirst uint16 `json:"nodePortFirst,omitempty"`
	NodePortLast  uint16 `json:"nodePortLast,omitempty"`
	// ExportPolicy says, by cluster, which services it shares: "all" or "exported". Of a
	// cluster that is not in it nothing is said: what is set in its API stays, at first all.
	ExportPolicy map[string]string `json:"exportPolicy,omitempty"`
	// DNSZone is the pattern of the members' zones; {cluster} stands for the name.
	DNSZone string `json:"dnsZone,omitempty"`
}

// Plan is what is to be made, per cluster in order of their names.
type Plan struct {
	// Options are the input's with all defaults filled in.
	Options  Options       `json:"options"`
	Clusters []ClusterPlan `json:"clusters"`
	Warnings []Warning     `json:"warnings,omitempty"`
}

// ClusterPlan is what one cluster gets.
type ClusterPlan struct {
	Name       string       `json:"name"`
	Server     string       `json:"server"`
	Platform   Platform     `json:"platform"`
	Attachment Attachment   `json:"attachment"`
	TunnelCIDR netip.Prefix `json:"tunnelCIDR"`
	// LinkedClusters are the objects to apply, one for each member, itself included.
	LinkedClusters []LinkedCluster `json:"linkedClusters"`
	// Nodes say how each node's tunnel is reached.
	Nodes []NodeService `json:"nodes"`
	// Peers are the names of the other members: an identity is made for each.
	Peers []string `json:"peers"`
}

// LinkedCluster is the applied form of the API object: no status, no server fields.
type LinkedCluster struct {
	APIVersion string                     `json:"apiVersion"`
	Kind       string                     `json:"kind"`
	Metadata   Metadata                   `json:"metadata"`
	Spec       v1alpha1.LinkedClusterSpec `json:"spec"`
}

// Metadata is the part of object metadata that a plan decides.
type Metadata struct {
	Name   string            `json:"name"`
	Labels map[string]string `json:"labels,omitempty"`
}

// NodeService says how one node's tunnel is reached.
type NodeService struct {
	Node string      `json:"node"`
	Type ServiceType `json:"type"`
	// Port is the UDP port of the Service or, without one, of the endpoint.
	Port uint16 `json:"port"`
	// NodePort is the Service's node port; 0: the API server chooses.
	NodePort uint16 `json:"nodePort,omitempty"`
	// Host is the endpoint's address where no Service gives one.
	Host string `json:"host,omitempty"`
	// HostSubnets are the node's slices of the pod network, where they are known.
	HostSubnets []netip.Prefix `json:"hostSubnets,omitempty"`
}

// Warning is something that the operator should know and that stops nothing.
type Warning struct {
	Cluster string `json:"cluster,omitempty"`
	Detail  string `json:"detail"`
}

// Conflict is something that stops the deploy, and what to do about it.
type Conflict struct {
	Cluster string `json:"cluster,omitempty"`
	Field   string `json:"field"`
	Detail  string `json:"detail"`
	Remedy  string `json:"remedy"`
}

// String is the conflict in one line.
func (c Conflict) String() string {
	s := c.Field + ": " + c.Detail + "; " + c.Remedy
	if c.Cluster != "" {
		s = c.Cluster + ": " + s
	}
	return s
}
