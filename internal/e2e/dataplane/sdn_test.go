package dataplane

import (
	"fmt"
	"net"
	"strings"

	"github.com/sdn-tunnel/sdn-tunnel/internal/lab/sdn/tables"
)

// podMTU is OpenShift SDN's on an underlay of 1500 bytes.
const podMTU = 1450

func (n *node) startSwitch() {
	n.t.Helper()
	n.vswitchd = n.daemon("ovs-vswitchd", "unix:/run/openvswitch/db.sock", "--pidfile")
	n.vsctl("init") // waits for ovs-vswitchd
}

func (n *node) vsctl(args string) string {
	n.t.Helper()
	return strings.TrimSpace(n.sh("ovs-vsctl --timeout=20 %s", args))
}

// addBridge makes br0 as OpenShift SDN does, in the kernel's datapath.
func (n *node) addBridge() {
	n.t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "add-br br0 -- set Bridge br0 fail-mode=secure protocols=OpenFlow13 datapath_type=system")
	fmt.Fprintf(&b, " -- add-port br0 vxlan0 -- set Interface vxlan0 ofport_request=%d type=vxlan options:remote_ip=flow options:key=flow options:dst_port=4789", tables.VXLANPort)
	fmt.Fprintf(&b, " -- add-port br0 tun0 -- set Interface tun0 type=internal ofport_request=%d mtu_request=%d", tables.TunPort, podMTU)
	for _, p := range n.pods {
		fmt.Fprintf(&b, " -- add-port br0 %[1]s -- set Interface %[1]s ofport_request=%[2]d", p.veth(), p.port)
	}
	n.vsctl(b.String())
	n.w.ip(n.name, []string{
		fmt.Sprintf("addr add %s/23 dev tun0", host(n.subnet, 1)), fmt.Sprintf("link set tun0 mtu %d up", podMTU),
		fmt.Sprintf("route add %s dev tun0", n.cluster.pods), fmt.Sprintf("route add %s dev tun0", n.cluster.services),
	})
	n.w.sysctl(n.network(), "net/ipv4/conf/tun0/rp_filter", "2")
	n.writeFlows()
}

// writeFlows gives br0 the SDN's tables.
func (n *node) writeFlows() {
	n.t.Helper()
	var lines strings.Builder
	for _, f := range n.tables().Flows() {
		fmt.Fprintln(&lines, f)
	}
	cmd := n.command("ovs-ofctl", "--timeout=20", "-OOpenFlow13", "--bundle", "add-flows", "br0", "-")
	cmd.Stdin = strings.NewReader(lines.String())
	sh(n.t, cmd)
}

// tables describes the node to the SDN.
func (n *node) tables() tables.Node {
	d := tables.Node{
		Mode: n.w.mode, NodeIP: n.ip, HostSubnet: n.subnet, ClusterCIDR: n.cluster.pods, ServiceCIDR: n.cluster.services,
		VXLANMAC: n.mac("vxlan0"), TunMAC: n.mac("tun0"),
		Policies: []tables.Namespace{{VNID: 0}, {VNID: open}, {VNID: isolated, Ingress: tables.Rules{Isolated: true}}},
	}
	for _, p := range n.pods {
		d.Pods = append(d.Pods, tables.Pod{IP: p.ip, Port: p.port, VNID: p.vnid})
	}
	for _, o := range n.w.nodes {
		if o != n && o.cluster == n.cluster {
			d.Peers = append(d.Peers, tables.Peer{NodeIP: o.ip, Subnet: o.subnet, Cookie: tables.HostSubnetCookie(o.name)})
		}
	}
	return d
}

// mac is what the switch says of an interface.
func (n *node) mac(iface string) net.HardwareAddr {
	n.t.Helper()
	mac, err := net.ParseMAC(strings.Trim(n.vsctl("get Interface "+iface+" mac_in_use"), `"`))
	if err != nil {
		n.t.Fatal(err)
	}
	return mac
}

// setMode has the SDN of every node make its bridge again in another mode.
func (w *world) setMode(mode tables.Mode) {
	w.t.Helper()
	w.mode = mode
	for _, n := range w.nodes {
		n.vsctl("del-br br0")
		n.addBridge()
	}
}
