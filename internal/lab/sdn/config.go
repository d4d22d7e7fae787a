package sdn

import (
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"path/filepath"

	"github.com/sdn-tunnel/sdn-tunnel/internal/lab/sdn/tables"
)

// Cluster is what Install and the controller need to know of a lab cluster.
type Cluster struct {
	// Name is the cluster's name, a DNS label.
	Name string
	// Mode is subnet, multitenant or networkpolicy.
	Mode tables.Mode
	// PodCIDR and ServiceCIDR are the cluster's networks.
	PodCIDR, ServiceCIDR netip.Prefix
	// HostBits is the number of host bits of a host subnet; 0 means 9 (a /23).
	HostBits int
	// MTU is that of the pods; 0 means 1450.
	MTU int
	// Domain is the cluster's DNS domain (empty: cluster.local), DNSAddress the
	// cluster address of its DNS service, both for the operator.openshift.io DNS
	// object.
	Domain     string
	DNSAddress netip.Addr
	// Definitions are the CustomResourceDefinitions of OpenShift's network, security
	// and DNS objects, YAML files in its root; github.com/openshift/api carries them.
	Definitions fs.FS
	// Nodes that are known already get their host subnets by Install, in this order.
	Nodes []NodeAddress
}

// NodeAddress is a node and its underlay address.
type NodeAddress struct {
	Name string
	IP   netip.Addr
}

func (c Cluster) withDefaults() Cluster {
	if c.HostBits == 0 {
		c.HostBits = 9
	}
	if c.MTU == 0 {
		c.MTU = DefaultMTU
	}
	if c.Mode == "" {
		c.Mode = tables.NetworkPolicy
	}
	if c.Domain == "" {
		c.Domain = "cluster.local"
	}
	return c
}

// DefaultMTU is OpenShift SDN's on a 1500 byte underlay.
const DefaultMTU = 1450

// Datapath is the kind of Open vSwitch datapath that br0 has.
type Datapath string

// The two datapaths. Netdev is in user space and needs no kernel module.
const (
	Netdev Datapath = "netdev"
	System Datapath = "system"
)

// Config is what a node's daemon needs.
type Config struct {
	// Node is the node's name, NodeIP its underlay address (the tunnel's endpoint).
	Node   string
	NodeIP netip.Addr
	Mode   tables.Mode
	// PodCIDR and ServiceCIDR are the cluster's networks.
	PodCIDR, ServiceCIDR netip.Prefix
	// MTU of tun0 and of the pods; 0 means 1450.
	MTU      int
	Datapath Datapath
	// VTEP is the interface that carries the cluster's VXLAN in the userspace
	// datapath: one of its own, on a segment that the cluster's nodes share. Empty
	// means vtep0; not used with the kernel datapath.
	VTEP string
	// OVSRunDir holds db.sock and the bridges' sockets; empty: /run/openvswitch.
	OVSRunDir string
	// StateDir keeps the pods on the bridge, the flows written and the CNI plugin's
	// socket; one per node. Empty: DefaultStateDir.
	StateDir string
	// Source tells of the cluster; RunNode closes nothing of it.
	Source Source
	Log    *slog.Logger
}

// DefaultStateDir is on the node's own /var/lib/cni.
const DefaultStateDir = "/var/lib/cni/openshift-sdn"

// SocketPath is where the daemon with this state folder listens for its CNI plugin.
func SocketPath(stateDir string) string { return filepath.Join(stateDir, "cniserver.sock") }

func (c Config) withDefaults() (Config, error) {
	if c.Node == "" || !c.NodeIP.IsValid() || !c.PodCIDR.IsValid() || !c.ServiceCIDR.IsValid() || c.Source == nil {
		return c, fmt.Errorf("sdn node %q: name, node IP, pod and service CIDR and a source of cluster state are required", c.Node)
	}
	if c.Datapath != Netdev && c.Datapath != System {
		return c, fmt.Errorf("sdn node %q: datapath %q: want %s or %s", c.Node, c.Datapath, Netdev, System)
	}
	if c.Mode == "" {
		c.Mode = tables.NetworkPolicy
	}
	if c.MTU == 0 {
		c.MTU = DefaultMTU
	}
	if c.VTEP == "" {
		c.VTEP = "vtep0"
	}
	if c.OVSRunDir == "" {
		c.OVSRunDir = "/run/openvswitch"
	}
	if c.StateDir == "" {
		c.StateDir = DefaultStateDir
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	c.Log = c.Log.With("node", c.Node)
	return c, nil
}

// HostPrefix is the length of a host subnet's prefix.
func (c Cluster) HostPrefix() int { return c.PodCIDR.Addr().BitLen() - c.HostBits }
