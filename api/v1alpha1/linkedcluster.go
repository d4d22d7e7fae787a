package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// CIDR is an address prefix in canonical form, e.g. 10.128.0.0/14 or fd00:1::/48.
//
// +kubebuilder:validation:MaxLength=43
// The pattern is coarse, for API servers before 1.31 have no isCIDR in CEL; what it lets
// through is judged by whoever reads it.
//
// +kubebuilder:validation:Pattern=`^([0-9]{1,3}(\.[0-9]{1,3}){3}|[0-9a-f:]*:[0-9a-f:]*)/[0-9]{1,3}$`
type CIDR string

// Topology says which nodes carry a member's tunnel traffic.
//
// +kubebuilder:validation:Enum=Mesh;Gateway
type Topology string

const (
	// TopologyMesh says that every node carries the traffic of its own host subnet.
	TopologyMesh Topology = "Mesh"
	// TopologyGateway says that the nodes marked as gateways carry the traffic of all.
	TopologyGateway Topology = "Gateway"
)

// ExportPolicy says which of a member's services the others may reach and name.
//
// +kubebuilder:validation:Enum=All;Exported
type ExportPolicy string

const (
	// ExportAll says that all services are shared.
	ExportAll ExportPolicy = "All"
	// ExportExported says that only services with a ServiceExport are shared.
	ExportExported ExportPolicy = "Exported"
)

// LinkedCluster is one member of the mesh; each member's API holds one for every
// member, itself included. The object's name is the cluster's name, a DNS label.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Cluster,shortName=lc
// +kubebuilder:subresource:status
// +kubebuilder:printcolumn:name=Pods,type=string,JSONPath=`.spec.podCIDRs`
// +kubebuilder:printcolumn:name=Services,type=string,JSONPath=`.spec.serviceCIDRs`
// +kubebuilder:printcolumn:name=Nodes,type=integer,JSONPath=`.status.nodes`
// +kubebuilder:printcolumn:name=Reachable,type=string,JSONPath=`.status.conditions[?(@.type=="Reachable")].status`
// +kubebuilder:printcolumn:name=InSync,type=string,JSONPath=`.status.conditions[?(@.type=="InSync")].status`
// +kubebuilder:printcolumn:name=Age,type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:validation:XValidation:rule="self.metadata.name.matches('^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$')",message="the name of a member must be a DNS label"
type LinkedCluster struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   LinkedClusterSpec   `json:"spec"`
	Status LinkedClusterStatus `json:"status,omitempty"`
}

// LinkedClusterSpec is what a member declares. Nothing outside these prefixes is
// ever accepted from it.
type LinkedClusterSpec struct {
	// podCIDRs are the pod networks, as seen inside the member.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	// +listType=set
	PodCIDRs []CIDR `json:"podCIDRs"`
	// serviceCIDRs are the service networks, as seen inside the member.
	// +kubebuilder:validation:MaxItems=16
	// +listType=set
	// +optional
	ServiceCIDRs []CIDR `json:"serviceCIDRs,omitempty"`
	// globalPodCIDRs are the prefixes by which the others see podCIDRs, one for each
	// in the same order and of the same length; empty where they are the same.
	// +kubebuilder:validation:MaxItems=16
	// +listType=atomic
	// +optional
	GlobalPodCIDRs []CIDR `json:"globalPodCIDRs,omitempty"`
	// tunnelCIDR holds the tunnel addresses of the member's nodes.
	TunnelCIDR CIDR `json:"tunnelCIDR"`
	// +kubebuilder:default=Mesh
	// +optional
	Topology Topology `json:"topology,omitempty"`
	// dnsZone is the zone of the member's names, by default cluster.<name>.
	// +kubebuilder:validation:MaxLength=253
	// +optional
	DNSZone string `json:"dnsZone,omitempty"`
	// exportPolicy says which services the member shares. Its own LinkedCluster in its own
	// API decides; the others read it there and follow each change.
	// +kubebuilder:default=All
	// +optional
	ExportPolicy ExportPolicy `json:"exportPolicy,omitempty"`
	// api says how this cluster's controller reads the member; absent in the member itself.
	// +optional
	API *ClusterAPI `json:"api,omitempty"`
}

// ClusterAPI is the way to a remote member's API server.
type ClusterAPI struct {
	// server is the URL, for people; the Secret's kubeconfig decides.
	// +kubebuilder:validation:Pattern=`^https://`
	Server string `json:"server"`
	// secret names a Secret in the namespace of sdn-tunnel whose key "kubeconfig"
	// holds a read-only identity of that member.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Secret string `json:"secret"`
}

// LinkedClusterStatus is what the controller found.
type LinkedClusterStatus struct {
	// nodes is how many of the member's nodes are known here.
	// +optional
	Nodes int32 `json:"nodes,omitempty"`
	// services is how many of the member's services are mirrored here.
	// +optional
	Services int32 `json:"services,omitempty"`
	// refused is how many of the member's objects are refused at the moment.
	// +optional
	Refused int32 `json:"refused,omitempty"`
	// controllerVersion is the version of the controller that wrote this.
	// +optional
	ControllerVersion string `json:"controllerVersion,omitempty"`
	// access is how long this cluster may read the member; absent in the member itself.
	// +optional
	Access *AccessLife `json:"access,omitempty"`
	// +listType=map
	// +listMapKey=type
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// AccessLife is the life of the token by which a member is read. It is renewed at half.
type AccessLife struct {
	Issued  metav1.Time `json:"issued"`
	Expires metav1.Time `json:"expires"`
}

// LinkedClusterList is a list of members.
//
// +kubebuilder:object:root=true
type LinkedClusterList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []LinkedCluster `json:"items"`
}
