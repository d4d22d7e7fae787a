package mesh

import (
	"encoding/base64"
	"fmt"
	"net/netip"
	"time"
)

// Ref names a node of a member of the mesh.
type Ref struct{ Cluster, Node string }

// String is the node's name in the whole mesh, <cluster>.<node>.
func (r Ref) String() string { return r.Cluster + "." + r.Node }

// Key is a WireGuard public key (Curve25519, 32 bytes).
type Key [32]byte

// ParseKey reads the base64 form that wg(8) shows.
func ParseKey(s string) (Key, error) {
	var k Key
	b, err := base64.StdEncoding.Strict().DecodeString(s)
	if err != nil || len(b) != len(k) {
		return k, fmt.Errorf("public key %q: want base64 of 32 bytes", s)
	}
	return Key(b), nil
}

// String is the base64 form.
func (k Key) String() string { return base64.StdEncoding.EncodeToString(k[:]) }

// IsZero tells whether the key is missing.
func (k Key) IsZero() bool { return k == Key{} }

// Endpoint is where a peer's tunnel is reached: an address or a DNS name, and a UDP port.
type Endpoint struct {
	Host string
	Port uint16
}

// IsZero tells whether the endpoint is missing.
func (e Endpoint) IsZero() bool { return e == Endpoint{} }

// Topology says which nodes of a member carry its tunnel traffic.
type Topology string

const (
	// Mesh means that each node carries its own host subnets.
	Mesh Topology = "Mesh"
	// Gateway means that gateway nodes carry those of all.
	Gateway Topology = "Gateway"
)

// Cluster is what a member declares of itself. Prefixes come in two sorts, kept
// apart even where they are equal: as the member itself uses them, and as the
// others see them.
type Cluster struct {
	Name string
	// PodCIDRs and ServiceCIDRs are the networks as seen inside the member.
	PodCIDRs, ServiceCIDRs []netip.Prefix
	// GlobalPodCIDRs are those by which the others see PodCIDRs, in the same order;
	// empty: the same.
	GlobalPodCIDRs []netip.Prefix
	// TunnelCIDR holds the tunnel addresses of the member's nodes.
	TunnelCIDR netip.Prefix
	Topology   Topology
}

// Node is what one node says of itself.
type Node struct {
	Ref
	PublicKey  Key
	Endpoint   Endpoint
	ListenPort uint16
	// HostSubnets are the slices of the member's PodCIDRs that the node owns.
	HostSubnets []netip.Prefix
	// TunnelAddress is the node's own address in the member's TunnelCIDR.
	TunnelAddress netip.Addr
	// NodeAddresses are its underlay addresses.
	NodeAddresses []netip.Addr
	Gateway       bool
	// Since decides between nodes whose claims clash: the older one keeps what it has.
	Since time.Time
}

// View is everything that one node knows of the mesh.
type View struct {
	Self     Ref
	Clusters []Cluster
	Nodes    []Node
	// ListenPort is the mesh's default UDP port.
	ListenPort uint16
}

// Peer is one WireGuard peer of a node.
type Peer struct {
	Ref        Ref
	PublicKey  Key
	Endpoint   Endpoint
	AllowedIPs []netip.Prefix // sorted, no duplicates
	// TunnelAddress is where the peer itself answers through the tunnel, one of AllowedIPs;
	// invalid: nowhere, as of nodes of the own cluster.
	TunnelAddress netip.Addr
}

// RemoteCluster is what another member declares of itself, as seen here.
type RemoteCluster struct {
	Name           string
	Pods, Services []netip.Prefix // sorted, no duplicates
}

// DataPlane is what a node has to have, all of it: computed from a View, and the
// desired state of every part of the agent. Slices are sorted, so that equal
// data planes compare equal.
type DataPlane struct {
	Self          Ref
	ListenPort    uint16
	TunnelAddress netip.Addr     // invalid: not handed out yet
	Peers         []Peer         // by Ref
	Local         []netip.Prefix // host subnets of this node
	LocalPods     []netip.Prefix // the whole pod networks of this cluster
	Remote        []netip.Prefix // pod networks of the other members, as seen here
	RemoteService []netip.Prefix // service networks of the other members
	RemoteTunnel  []netip.Prefix // tunnel networks of the other members
	// RemoteClusters has the pod and service networks member by member, by name.
	RemoteClusters []RemoteCluster
	Refusals       []Refusal
}

// Reason says why something that an object says is not used.
type Reason string

// Reasons of refusals; they are label values of a metric, so there are few.
const (
	UnknownCluster   Reason = "UnknownCluster"   // no LinkedCluster of that name
	InvalidKey       Reason = "InvalidKey"       // not a key, or one that gives no secret
	DuplicateKey     Reason = "DuplicateKey"     // another node has that public key
	DuplicateAddress Reason = "DuplicateAddress" // another node has that endpoint or tunnel address
	OutsideDeclared  Reason = "OutsideDeclared"  // a prefix or address that its cluster does not declare
	Overlap          Reason = "Overlap"          // a prefix that another node or cluster has
	Incomplete       Reason = "Incomplete"       // no key, subnet or endpoint yet
	Malformed        Reason = "Malformed"        // cannot be read as what it should be
	Unsupported      Reason = "Unsupported"      // what this node, as it is configured, cannot do
)

// Refusal names one thing that is not used and why. Everything else is.
type Refusal struct {
	Ref    Ref // Node is empty when a whole cluster is meant
	Reason Reason
	Field  string // path in the object, e.g. spec.hostSubnets[0]
	Detail string // for people: the value, what it clashes with, the remedy
}

// String is the refusal in one line.
func (r Refusal) String() string {
	name := r.Ref.Cluster
	if r.Ref.Node != "" {
		name = r.Ref.String()
	}
	return fmt.Sprintf("%s: %s: %s: %s", name, r.Field, r.Reason, r.Detail)
}
