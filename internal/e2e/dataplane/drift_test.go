package dataplane

import (
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// repairTime is how soon what was broken by hand must be mended.
const repairTime = 2 * time.Second

// snapshot is all that the agent makes on a node, as the usual programs show it, without
// what is new each time that a link is made again.
func (n *node) snapshot() string {
	n.t.Helper()
	text := n.sh(`echo "# ports"; ovs-vsctl --timeout=20 list-ports br0
echo "# flows"; ovs-ofctl -OOpenFlow13 --names --no-stats dump-flows br0 %s
echo "# node"; ip route; ip neigh show nud permanent
nsenter --net=/run/netns/sdn-tunnel sh -c 'echo "# tunnel"; ip route; ip -br addr | sed "s/fe80.*//; s/@[^ ]*//"; nft list ruleset
echo "# peers"; wg show sdntun-wg allowed-ips; wg show sdntun-wg listen-port' | sed 's/ linkdown//'`, ourFlows)
	text = strings.ReplaceAll(text, n.mac("tun0").String(), "MAC of tun0")
	var sorted []string
	var section []string
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "# ") {
			slices.Sort(section)
			sorted, section = append(sorted, section...), nil
		}
		section = append(section, strings.Join(strings.Fields(line), " ")) // columns are as wide as need be
	}
	slices.Sort(section)
	return strings.Join(append(sorted, section...), "\n")
}

const ourFlows = "cookie=0x73646e74756e0001/-1"

// inTunnel runs a command in the node's tunnel namespace.
func (n *node) inTunnel(command string) {
	n.t.Helper()
	n.sh("nsenter --net=/run/netns/sdn-tunnel %s", command)
}

// drift is one thing that somebody does to a node, and the part that mends it.
type drift struct {
	what, part string
	by         func(*node)
}

var drifts = []drift{
	{"flows deleted", "vswitch", func(n *node) { n.sh("ovs-ofctl -OOpenFlow13 del-flows br0 %s", ourFlows) }},
	{"port taken off the bridge", "vswitch", func(n *node) { n.vsctl("del-port sdntun1") }},
	{"veth pair deleted", "namespace", func(n *node) { n.sh("ip link del sdntun1") }},
	{"route of the tunnel deleted", "wireguard", func(n *node) { n.inTunnel("ip route del 10.132.0.0/14") }},
	{"route of the node deleted", "node", func(n *node) { n.sh("ip route del 10.132.0.0/14") }},
	{"clamp deleted", "namespace", func(n *node) { n.inTunnel("nft delete table inet sdn-tunnel") }},
	{"peer deleted", "wireguard", func(n *node) { n.inTunnel("wg set sdntun-wg peer " + n.w.node("west-1").key.String() + " remove") }},
	{"peer heard from a network behind the tunnel", "wireguard", func(n *node) {
		n.inTunnel("wg set sdntun-wg peer " + n.w.node("west-1").key.String() + " endpoint 10.132.0.1:5555")
	}},
	{"WireGuard's link deleted", "wireguard", func(n *node) { n.inTunnel("ip link del sdntun-wg") }},
	{"ovs-vswitchd killed and started again", "vswitch", func(n *node) {
		stop(n.vswitchd)
		n.startSwitch()
		n.writeFlows() // the SDN's daemon does
	}},
	{"bridge deleted and made again", "vswitch", func(n *node) {
		n.vsctl("del-br br0")
		n.addBridge()
	}},
}

// testDrift breaks one thing after the other on a node while pings pass through it.
func testDrift(t *testing.T, w *world) {
	n := w.node("east-1")
	whole := n.snapshot()
	for _, d := range drifts {
		t.Run(d.what, func(t *testing.T) { d.test(t, w.with(t), n, whole) })
	}
	w.with(t)
	if n.agent.cmd.Process.Signal(syscall.Signal(0)) != nil {
		t.Error("the agent has ended")
	}
}

func (d drift) test(t *testing.T, w *world, n *node, whole string) {
	east, west := w.pod("east-1", open), w.pod("west-1", open)
	p := ping(t, east.network(), east.ip, west.ip, pace)
	p.awaitAnswers(t, 3)
	before := time.Now()
	d.by(n)
	done := time.Now()
	n.await(d.what+" is noticed by "+d.part, before, func(p pass) bool { return len(p.Changes[d.part]) > 0 })
	p.awaitAnswers(t, 3)
	r := p.end()
	w.eventually(func() error { return differs(n.snapshot(), whole) })
	repaired := max(0, n.lastChange(before).Sub(done))
	t.Logf("repaired after %.2f s; %v", repaired.Seconds(), r)
	if repaired > repairTime || r.outage > repairTime+done.Sub(before) {
		t.Errorf("repaired after %v, outage %v; want at most %v", repaired, r.outage, repairTime)
	}
}

// lastChange is the end of the last pass, after a moment, in which something was changed.
func (n *node) lastChange(after time.Time) (last time.Time) {
	for _, p := range n.passes(after) {
		if len(p.Changes) > 0 {
			last = p.Time
		}
	}
	return last
}

// difference is of two texts, by lines.
type difference struct{ missing, surplus []string }

func (d difference) Error() string {
	return "missing:\n" + strings.Join(d.missing, "\n") + "\nsurplus:\n" + strings.Join(d.surplus, "\n")
}

func differs(have, want string) error {
	if have == want {
		return nil
	}
	var d difference
	h, w := strings.Split(have, "\n"), strings.Split(want, "\n")
	for _, line := range w {
		if !slices.Contains(h, line) {
			d.missing = append(d.missing, line)
		}
	}
	for _, line := range h {
		if !slices.Contains(w, line) {
			d.surplus = append(d.surplus, line)
		}
	}
	return d
}
