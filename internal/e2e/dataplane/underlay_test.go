package dataplane

import (
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/sdn-tunnel/sdn-tunnel/internal/tunnelns"
)

// underlay is how large packets may be.
type underlay struct {
	east, west int // on the nodes' own links
	path       int // on the router's links; what is larger is fragmented, or refused by ICMP
	pods       int // of all pods; 0: as OpenShift SDN does it, 50 bytes less than their nodes
}

func (u underlay) String() string {
	return fmt.Sprintf("east %d, west %d, path %d", u.east, u.west, u.path)
}

// of is the MTU of a node's own link.
func (u underlay) of(n *node) int {
	switch n.cluster.name {
	case "east":
		return u.east
	case "west":
		return u.west
	}
	return underlayMTU // a third cluster's stays
}

// podMTU is the MTU of a node's pods.
func (u underlay) podMTU(n *node) int {
	if u.pods > 0 {
		return u.pods
	}
	return u.of(n) - 50
}

// tunnelMTU is what WireGuard's 60 bytes leave of a link's, and no less than IPv6 needs.
func tunnelMTU(link int) int { return max(link-60, 1280) }

// usual is the underlay that the world is made with.
var usual = underlay{east: underlayMTU, west: underlayMTU, path: underlayMTU, pods: podMTU}

// set gives the world an underlay, and waits until the agents have followed. They are
// stopped while it changes, or each would follow each link by itself: that is the same in
// the end, and takes this long test three times as long.
func (w *world) set(u underlay) {
	w.t.Helper()
	w.setPath(u.path)
	w.signal(syscall.SIGSTOP)
	for _, n := range w.paired() {
		w.ip("u", []string{fmt.Sprintf("link set %s mtu %d", n.name, u.of(n))})
		lines := []string{fmt.Sprintf("link set eth0 mtu %d", u.of(n))}
		for _, p := range n.pods {
			lines = append(lines, fmt.Sprintf("link set %s mtu %d", p.veth(), u.podMTU(n)))
			w.ip(p.name, []string{fmt.Sprintf("link set eth0 mtu %d", u.podMTU(n))})
		}
		w.ip(n.name, lines)
		n.vsctl(fmt.Sprintf("set Interface tun0 mtu_request=%d", u.podMTU(n)))
	}
	w.signal(syscall.SIGCONT)
	for _, n := range w.paired() {
		w.eventually(func() error { return n.follows(u) })
	}
	w.forget()
}

// paired are the nodes of the two clusters between which the underlay is changed.
func (w *world) paired() []*node {
	return slices.DeleteFunc(slices.Clone(w.nodes), func(n *node) bool { return n.cluster.name == "south" })
}

// setPath sets the MTU of the router's links. Each cluster has one, a bridge: what passes
// between nodes of a cluster is not touched.
func (w *world) setPath(mtu int) {
	w.t.Helper()
	w.ip("u", []string{fmt.Sprintf("link set east mtu %d", mtu), fmt.Sprintf("link set west mtu %d", mtu)})
}

// follows tells whether the node's tunnel and its routes have the MTU that the underlay
// leaves.
func (n *node) follows(u underlay) error {
	want := tunnelMTU(u.of(n))
	if have := linkMTU(tunnelns.At(n.run("netns/sdn-tunnel")), "sdntun-wg"); have != want {
		return fmt.Errorf("%s: the tunnel's MTU is %d, want %d", n.name, have, want)
	}
	route := n.sh("ip route show proto 133")
	if say := fmt.Sprintf("mtu %d", min(want, u.podMTU(n))); strings.Count(route, say) != strings.Count(route, "\n") {
		return fmt.Errorf("%s: the node's routes are\n%swant %s", n.name, route, say)
	}
	return nil
}

// signal stops the agents of the nodes that are paired, or lets them go on.
func (w *world) signal(s syscall.Signal) {
	w.t.Helper()
	for _, n := range w.paired() {
		if err := n.agent.cmd.Process.Signal(s); err != nil {
			w.t.Fatal(err)
		}
	}
}

// linkMTU is 0 where there is no such link.
func linkMTU(in tunnelns.Namespace, name string) int {
	h, err := in.Netlink()
	if err != nil {
		return 0
	}
	defer h.Close()
	l, err := h.LinkByName(name)
	if err != nil {
		return 0
	}
	return l.Attrs().MTU
}

// forget takes from pods and nodes what they have learnt about paths.
func (w *world) forget() {
	w.t.Helper()
	for _, n := range w.nodes {
		w.sysctl(n.network(), "net/ipv4/route/flush", "1")
		for _, p := range n.pods {
			w.sysctl(p.network(), "net/ipv4/route/flush", "1")
		}
	}
}

// dropICMP has the underlay lose all ICMP, or pass it again.
func (w *world) dropICMP(drop bool) {
	w.t.Helper()
	rules := "table ip mute; delete table ip mute"
	if drop {
		rules = `table ip mute { chain out { type filter hook output priority 0; meta l4proto icmp drop; }
chain forward { type filter hook forward priority 0; meta l4proto icmp drop; }; }`
	}
	sh(w.t, exec.Command("nsenter", "--net="+w.netns("u"), "nft", rules))
}

// withoutClamp runs something while no node clamps TCP's segments: the agents, which would
// mend that, are stopped meanwhile.
func (w *world) withoutClamp(something func()) {
	w.t.Helper()
	w.signal(syscall.SIGSTOP)
	began := time.Now()
	for _, n := range w.paired() {
		n.inTunnel("nft delete table inet sdn-tunnel")
	}
	something()
	w.signal(syscall.SIGCONT)
	for _, n := range w.paired() {
		n.await("the clamp is back", began, func(p pass) bool { return len(p.Changes["namespace"]) > 0 })
	}
}
