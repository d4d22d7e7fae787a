package dataplane

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/sdn-tunnel/sdn-tunnel/internal/tunnelns"
)

const underlayMTU = 1500

// wire makes the namespaces of nodes and pods, and the links between them: a router with
// a bridge for each cluster, a veth pair for each node and pod.
func (w *world) wire(clusters []*cluster) {
	w.t.Helper()
	all := []string{"netns add " + w.id + "-u"}
	var router []string
	for _, c := range clusters {
		router = append(router, "link add "+c.name+" type bridge", fmt.Sprintf("addr add %s/24 dev %s", host(c.underlay, 1), c.name), "link set "+c.name+" up")
	}
	for _, n := range w.nodes {
		all = append(all, "netns add "+w.id+"-"+n.name, w.pair("eth0", n.name, "", n.name, "u", underlayMTU))
		router = append(router, fmt.Sprintf("link set %s master %s up", n.name, n.cluster.name))
		for _, p := range n.pods {
			all = append(all, p.links()...)
		}
	}
	w.ip("", all)
	w.ip("u", router)
	w.sysctl(tunnelns.At(w.netns("u")), "net/ipv4/ip_forward", "1")
	for _, n := range w.nodes {
		lines := []string{
			"link set lo up", fmt.Sprintf("addr add %s/24 dev eth0", n.ip), "link set eth0 up",
			fmt.Sprintf("route add default via %s", host(n.cluster.underlay, 1)),
		}
		for _, p := range n.pods {
			lines = append(lines, "link set "+p.veth()+" up")
			w.ip(p.name, p.setup())
		}
		w.ip(n.name, lines)
		w.sysctl(n.network(), "net/ipv4/ip_forward", "1")
	}
}

// links are the lines that make the pod's namespace and its link to the node.
func (p *pod) links() []string {
	w := p.node.w
	return []string{"netns add " + w.id + "-" + p.name, w.pair("eth0", p.name, "address "+p.mac(), p.veth(), p.node.name, podMTU)}
}

// setup are the lines that set the pod's end up.
func (p *pod) setup() []string {
	return []string{
		"link set lo up", fmt.Sprintf("addr add %s/23 dev eth0", p.ip), "link set eth0 up",
		fmt.Sprintf("route add %s dev eth0", p.node.cluster.pods), fmt.Sprintf("route add default via %s", host(p.node.subnet, 1)),
	}
}

// pair is the line that makes a veth pair between two namespaces.
func (w *world) pair(name, namespace, more, peer, peerNamespace string, mtu int) string {
	return fmt.Sprintf("link add %s netns %s-%s mtu %d %s type veth peer name %s netns %s-%s mtu %d",
		name, w.id, namespace, mtu, more, peer, w.id, peerNamespace, mtu)
}

// ip runs lines of ip(8) in a namespace at one stroke; empty: in the test's own.
func (w *world) ip(namespace string, lines []string) {
	w.t.Helper()
	args := []string{"-batch", "-"}
	if namespace != "" {
		args = append([]string{"-n", w.id + "-" + namespace}, args...)
	}
	cmd := exec.Command("ip", args...)
	cmd.Stdin = strings.NewReader(strings.Join(lines, "\n") + "\n")
	sh(w.t, cmd)
}

// sysctl sets a value of a namespace.
func (w *world) sysctl(in tunnelns.Namespace, name, value string) {
	w.t.Helper()
	if err := in.Do(func() error { return os.WriteFile(filepath.Join("/proc/sys", name), []byte(value), 0) }); err != nil {
		w.t.Fatal(err)
	}
}

func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

// host is the prefix's address with a number.
func host(p netip.Prefix, number int) netip.Addr {
	a := p.Masked().Addr().As4()
	n := int(a[2])<<8 + int(a[3]) + number
	a[2], a[3] = byte(n>>8), byte(n)
	return netip.AddrFrom4(a)
}

// mac is the pod's hardware address: OpenShift SDN makes it from the address.
func (p *pod) mac() string {
	b := p.ip.As4()
	return net.HardwareAddr{0x0a, 0x58, b[0], b[1], b[2], b[3]}.String()
}

// veth is the node's end of the pod's link.
func (p *pod) veth() string { return fmt.Sprintf("veth%d", p.port) }
