package tables

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
)

// Mode is one of OpenShift SDN's plug-ins.
type Mode string

// The three modes: everything reaches everything; a namespace reaches itself and the
// global ones; what NetworkPolicy objects say.
const (
	Subnet        Mode = "subnet"
	Multitenant   Mode = "multitenant"
	NetworkPolicy Mode = "networkpolicy"
)

// ParseMode reads a mode by its name.
func ParseMode(s string) (Mode, error) {
	switch m := Mode(s); m {
	case Subnet, Multitenant, NetworkPolicy:
		return m, nil
	}
	return "", fmt.Errorf("sdn mode %q: want %s, %s or %s", s, Subnet, Multitenant, NetworkPolicy)
}

// PluginName is the mode's name in ClusterNetwork objects.
func (m Mode) PluginName() string {
	if m == NetworkPolicy {
		return "redhat/openshift-ovs-networkpolicy"
	}
	return "redhat/openshift-ovs-" + string(m)
}

// The bridge's own ports.
const (
	VXLANPort uint32 = 1
	TunPort   uint32 = 2
)

// Node describes one node's bridge.
type Node struct {
	Mode   Mode
	NodeIP netip.Addr
	// HostSubnet is the node's slice of ClusterCIDR; its first address is the gateway,
	// tun0's.
	HostSubnet, ClusterCIDR, ServiceCIDR netip.Prefix
	VXLANMAC, TunMAC                     net.HardwareAddr
	Pods                                 []Pod
	Peers                                []Peer
	// Policies are the namespaces with pods on this node, in networkpolicy mode.
	Policies []Namespace
	// Userspace adds the flows that stand in for the connection tracking that a
	// kernel datapath shares with the node's own network stack.
	Userspace bool
}

// Gateway is the first address of the host subnet.
func (n Node) Gateway() netip.Addr { return n.HostSubnet.Masked().Addr().Next() }

// Pod is a pod on this node's bridge.
type Pod struct {
	IP   netip.Addr
	Port uint32
	VNID uint32
}

// Peer is another node of the cluster.
type Peer struct {
	NodeIP netip.Addr
	Subnet netip.Prefix
	// Cookie marks the peer's flows: HostSubnetCookie.
	Cookie uint32
}

// HostSubnetCookie is the cookie of a HostSubnet's flows, made from its UID.
func HostSubnetCookie(uid string) uint32 {
	sum := sha256.Sum256([]byte(uid))
	return binary.BigEndian.Uint32(sum[:4])
}

// Namespace is what NetworkPolicy objects say of a network id. Without isolation
// everything is allowed; with it only what the rules say.
type Namespace struct {
	VNID            uint32
	Ingress, Egress Rules
}

// Rules are one direction's.
type Rules struct {
	// Isolated: some policy selects every pod of the namespace.
	Isolated bool
	// Selected are the pods that a policy selects when not all are.
	Selected []netip.Addr
	Allow    []Allow
}

// Allow is traffic that a policy lets pass. Fields that are not set match all.
type Allow struct {
	// Pod is the address of the policy's own pod.
	Pod netip.Addr
	// PeerVNID or PeerCIDR is the other side.
	PeerVNID *uint32
	PeerCIDR netip.Prefix
	// Proto is tcp, udp or sctp; Port is the destination's.
	Proto string
	Port  uint16
}
