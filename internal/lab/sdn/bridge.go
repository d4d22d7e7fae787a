package sdn

import (
	"context"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/sdn-tunnel/sdn-tunnel/internal/lab/sdn/tables"
)

const (
	bridge  = "br0"
	tunPort = "tun0"
	vxlan   = "vxlan0"
)

// current tells whether br0 is one that this daemon made and that still has its flows.
func (n *node) current(ctx context.Context) bool {
	version, err := n.ovs.dump(ctx, bridge, fmt.Sprintf("table=%d", tables.Version))
	if err != nil || !tables.IsCurrent(n.cfg.Mode, version) {
		return false
	}
	for iface, want := range map[string]uint32{vxlan: tables.VXLANPort, tunPort: tables.TunPort} {
		if got, err := n.ovs.ofport(ctx, iface); err != nil || got != want {
			return false
		}
	}
	return true
}

// rebuild deletes br0 with everything on it and makes it again with its own ports and
// the pods'.
func (n *node) rebuild(ctx context.Context) error {
	n.cfg.Log.Info("making the bridge", "bridge", bridge, "datapath", n.cfg.Datapath)
	steps := [][]string{
		{"--if-exists", "del-br", bridge},
		{
			"add-br", bridge, "--", "set", "Bridge", bridge, "fail-mode=secure", "protocols=OpenFlow13",
			"datapath_type=" + string(n.cfg.Datapath),
		},
		{
			"--may-exist", "add-port", bridge, vxlan, "--", "set", "Interface", vxlan,
			fmt.Sprintf("ofport_request=%d", tables.VXLANPort), "type=vxlan",
			"options:remote_ip=flow", "options:key=flow", "options:dst_port=4789",
		},
		{
			"--may-exist", "add-port", bridge, tunPort, "--", "set", "Interface", tunPort, "type=internal",
			fmt.Sprintf("ofport_request=%d", tables.TunPort), fmt.Sprintf("mtu_request=%d", n.cfg.MTU),
		},
	}
	for _, s := range steps {
		if _, err := n.ovs.vsctl(ctx, s...); err != nil {
			return fmt.Errorf("make %s: %w", bridge, err)
		}
	}
	for _, p := range n.pods.all() {
		if _, err := n.addPort(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

// addPort puts a pod's veth on br0, marked as OpenShift marks it.
func (n *node) addPort(ctx context.Context, p podRecord) (uint32, error) {
	if n.cfg.Datapath == Netdev {
		if err := dropIngress(ctx, p.Veth); err != nil {
			return 0, err
		}
	}
	_, err := n.ovs.vsctl(ctx, "--may-exist", "add-port", bridge, p.Veth, "--", "set", "Interface", p.Veth,
		fmt.Sprintf("external_ids=sandbox=%q,ip=%q", p.Sandbox, p.IP))
	if err != nil {
		return 0, fmt.Errorf("add the port of pod %s/%s: %w", p.Namespace, p.Name, err)
	}
	return n.ovs.ofport(ctx, p.Veth)
}

const vtepBridge = "br-vtep"

// vtepMAC is the hardware address of a node's VXLAN endpoint: known without asking.
func vtepMAC(ip netip.Addr) string {
	b := ip.As4()
	return fmt.Sprintf("0a:59:%02x:%02x:%02x:%02x", b[0], b[1], b[2], b[3])
}

// ensureVTEP brings the underlay into the userspace datapath, where VXLAN needs it: a
// bridge with the interface that the cluster's nodes share and, on its own port, the
// node's address. The nodes' kernels keep out of that segment.
func (n *node) ensureVTEP(ctx context.Context) error {
	if n.cfg.Datapath != Netdev {
		return nil
	}
	if err := dropIngress(ctx, n.cfg.VTEP); err != nil {
		return err
	}
	if err := linkUp(n.cfg.VTEP); err != nil {
		return fmt.Errorf("the interface of VXLAN's segment: %w", err)
	}
	_, err := n.ovs.vsctl(ctx, "--may-exist", "add-br", vtepBridge, "--",
		"set", "Bridge", vtepBridge, "datapath_type=netdev", "fail-mode=standalone",
		fmt.Sprintf("other-config:hwaddr=%q", vtepMAC(n.cfg.NodeIP)), "--",
		"--may-exist", "add-port", vtepBridge, n.cfg.VTEP)
	if err != nil {
		return fmt.Errorf("make %s: %w", vtepBridge, err)
	}
	// The datapath takes a source address only from the prefix that it sends to, so the
	// address has its true length; but the node's own way to that prefix stays.
	addr, err := underlayPrefix(n.cfg.NodeIP, vtepBridge)
	if err != nil {
		return err
	}
	return address(vtepBridge, addr, 0, unix.IFA_F_NOPREFIXROUTE)
}

// reachPeers tells the userspace datapath the way to the other nodes; it has neither a
// routing table for them nor, at first, their hardware addresses.
func (n *node) reachPeers(ctx context.Context, peers []tables.Peer) error {
	if n.cfg.Datapath != Netdev {
		return nil
	}
	for _, p := range peers {
		ip := p.NodeIP.String()
		if err := n.ovs.appctl(ctx, "ovs/route/add", ip+"/32", vtepBridge); err != nil {
			return fmt.Errorf("route to node %s: %w", ip, err)
		}
		if err := n.ovs.appctl(ctx, "tnl/neigh/set", vtepBridge, ip, vtepMAC(p.NodeIP)); err != nil {
			return fmt.Errorf("neighbour %s: %w", ip, err)
		}
	}
	return nil
}
