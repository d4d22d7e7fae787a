package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// TunnelNode is one node of one member. Its name is <cluster>.<node>. Of the local
// member, the agent writes key, subnets and addresses and the controller endpoint
// and tunnel address, each as its own field manager; those of other members are
// mirrors that the controller keeps.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Cluster,shortName=tn
// +kubebuilder:subresource:status
// +kubebuilder:printcolumn:name=Cluster,type=string,JSONPath=`.spec.cluster`
// +kubebuilder:printcolumn:name=Node,type=string,JSONPath=`.spec.node`
// +kubebuilder:printcolumn:name=Subnets,type=string,JSONPath=`.spec.hostSubnets`
// +kubebuilder:printcolumn:name=Endpoint,type=string,JSONPath=`.spec.endpoint.host`
// +kubebuilder:printcolumn:name=Port,type=integer,JSONPath=`.spec.endpoint.port`
// +kubebuilder:printcolumn:name=Ready,type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name=Up,type=integer,JSONPath=`.status.peers.up`
// +kubebuilder:printcolumn:name=Age,type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:validation:XValidation:rule="self.metadata.name == self.spec.cluster + '.' + self.spec.node",message="the name must be <spec.cluster>.<spec.node>"
type TunnelNode struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   TunnelNodeSpec   `json:"spec"`
	Status TunnelNodeStatus `json:"status,omitempty"`
}

// TunnelNodeSpec is what a node needs for being a peer of the others.
// +kubebuilder:validation:XValidation:rule="self.cluster == oldSelf.cluster && self.node == oldSelf.node",message="cluster and node cannot change"
type TunnelNodeSpec struct {
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`
	Cluster string `json:"cluster"`
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=189
	Node string `json:"node"`
	// publicKey is the WireGuard public key, base64 of 32 bytes. (agent)
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=$`
	// +optional
	PublicKey string `json:"publicKey,omitempty"`
	// hostSubnets are the slices of the pod network that the node owns. (agent)
	// +kubebuilder:validation:MaxItems=16
	// +listType=atomic
	// +optional
	HostSubnets []CIDR `json:"hostSubnets,omitempty"`
	// nodeAddresses are the node's own underlay addresses, for its own cluster. (agent)
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MaxLength=45
	// +listType=atomic
	// +optional
	NodeAddresses []string `json:"nodeAddresses,omitempty"`
	// listenPort is the UDP port that the node's WireGuard listens on; 0 means the
	// mesh's default. (controller)
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=65535
	// +optional
	ListenPort int32 `json:"listenPort,omitempty"`
	// endpoint is the public address of the node's tunnel. (controller)
	// +optional
	Endpoint *Endpoint `json:"endpoint,omitempty"`
	// tunnelAddress is the node's own address in the member's tunnelCIDR. (controller)
	// +kubebuilder:validation:MaxLength=45
	// +kubebuilder:validation:Pattern=`^([0-9]{1,3}(\.[0-9]{1,3}){3}|[0-9a-f:]*:[0-9a-f:]*)$`
	// +optional
	TunnelAddress string `json:"tunnelAddress,omitempty"`
	// gateway marks a gateway node of topology Gateway. (controller)
	// +optional
	Gateway bool `json:"gateway,omitempty"`
}

// Endpoint is an address that peers in other clusters send to.
type Endpoint struct {
	// host is an IP address or a DNS name.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Host string `json:"host"`
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65535
	Port int32 `json:"port"`
}

// TunnelNodeStatus is what the node's agent found.
type TunnelNodeStatus struct {
	// agentVersion is the version of the agent that wrote this.
	// +optional
	AgentVersion string `json:"agentVersion,omitempty"`
	// cable is the implementation in use: "wireguard" (kernel) or "wireguard-userspace".
	// +optional
	Cable string `json:"cable,omitempty"`
	// mtu is the tunnel's, in bytes.
	// +optional
	MTU int32 `json:"mtu,omitempty"`
	// +optional
	Peers *PeerCounts `json:"peers,omitempty"`
	// lastRepair is the last time that the agent put back what something else had changed;
	// repairs less than a minute after it are left out.
	// +optional
	LastRepair *Repair `json:"lastRepair,omitempty"`
	// +optional
	Key *KeyStatus `json:"key,omitempty"`
	// +listType=map
	// +listMapKey=type
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// KeyStatus is what there is to say of the node's key.
type KeyStatus struct {
	// since is when the node began to use it.
	Since metav1.Time `json:"since"`
	// confirmed is how many peers have made a handshake with it.
	Confirmed int32 `json:"confirmed"`
	// request is the last value of the annotation sdntunnel.io/rotate-key that was answered.
	// +kubebuilder:validation:MaxLength=256
	// +optional
	Request string `json:"request,omitempty"`
	// failure says why the key was not replaced when it should have been.
	// +kubebuilder:validation:MaxLength=4096
	// +optional
	Failure string `json:"failure,omitempty"`
}

// PeerCounts sums up a node's peers.
type PeerCounts struct {
	// configured is how many peers the node has.
	Configured int32 `json:"configured"`
	// up: the last handshake is younger than 180 s (WireGuard's REJECT_AFTER_TIME).
	Up int32 `json:"up"`
	// stale: there was a handshake, but it is older.
	Stale int32 `json:"stale"`
	// never: there was no handshake yet.
	Never int32 `json:"never"`
	// clusters is the same for each member that has peers here.
	// +kubebuilder:validation:MaxItems=256
	// +listType=map
	// +listMapKey=cluster
	// +optional
	Clusters []ClusterPeers `json:"clusters,omitempty"`
	// notUp are peers that are stale or never, the first of them by name: those that are up
	// have a handshake younger than 180 s, and saying more of them would be a write for
	// each handshake.
	// +kubebuilder:validation:MaxItems=20
	// +listType=atomic
	// +optional
	NotUp []PeerDown `json:"notUp,omitempty"`
}

// MaxPeersDown is how many peers notUp has at most.
const MaxPeersDown = 20

// ClusterPeers sums up a node's peers in one member.
type ClusterPeers struct {
	// +kubebuilder:validation:MaxLength=63
	Cluster string `json:"cluster"`
	Up      int32  `json:"up"`
	Stale   int32  `json:"stale"`
	Never   int32  `json:"never"`
	// path is how the ways to these peers are; absent until it was measured.
	// +optional
	Path *PathState `json:"path,omitempty"`
}

// PathState sums up what probes through the tunnel and WireGuard's counters say of the ways
// to a node's peers in one member. Values are written anew when they differ by much, and
// seldom: each write goes to every node of the cluster.
type PathState struct {
	// probed is how many of the peers were probed often enough of late.
	Probed int32 `json:"probed"`
	// roundTripMicroseconds is the median peer's.
	RoundTripMicroseconds int64 `json:"roundTripMicroseconds"`
	// slowestMicroseconds is the slowest peer's round-trip time.
	SlowestMicroseconds int64 `json:"slowestMicroseconds"`
	// lossPercent is the share of all probes that was lost.
	LossPercent int32 `json:"lossPercent"`
	// lossyPeers is how many peers lose a fifth of their probes or more.
	LossyPeers int32 `json:"lossyPeers"`
	// lossy names them, the first by name.
	// +kubebuilder:validation:MaxItems=5
	// +kubebuilder:validation:items:MaxLength=253
	// +listType=atomic
	// +optional
	Lossy []string `json:"lossy,omitempty"`
	// receiveBitsPerSecond and transmitBitsPerSecond are what the tunnel carried.
	ReceiveBitsPerSecond  int64 `json:"receiveBitsPerSecond"`
	TransmitBitsPerSecond int64 `json:"transmitBitsPerSecond"`
}

// What a peer is lossy from, in percent of its probes, and how many are named.
const (
	LossyPercent  = 20
	MaxPeersLossy = 5
)

// Repair is something that the agent put back.
type Repair struct {
	Time metav1.Time `json:"time"`
	// part is the part of the data plane.
	// +kubebuilder:validation:MaxLength=63
	Part string `json:"part"`
	// change is the first thing that was changed.
	// +kubebuilder:validation:MaxLength=256
	Change string `json:"change"`
}

// PeerDown is a peer that is not up.
type PeerDown struct {
	// name is the peer's, <cluster>.<node>.
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
	// lastHandshake is absent if there was none.
	// +optional
	LastHandshake *metav1.Time `json:"lastHandshake,omitempty"`
}

// TunnelNodeList is a list of nodes.
//
// +kubebuilder:object:root=true
type TunnelNodeList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []TunnelNode `json:"items"`
}
