package e2e

import (
	"regexp"
	"strings"
	"testing"
	"time"
)

// stateOf prints all that the agent keeps on a node, without counters, so that equal
// states print equal.
const stateOf = `
ovs-ofctl -O OpenFlow13 --no-stats dump-flows br0 cookie=0x73646e74756e0001/-1 2>/dev/null | grep cookie | sort
ovs-vsctl --timeout=5 --bare --columns=name,ofport find interface name=sdntun1
ip route show proto 133
ip -n sdn-tunnel route show proto 133
ip -n sdn-tunnel -br addr | sed 's/@[^ ]*//; s/  */ /g' | sort
ip netns exec sdn-tunnel nft list table inet sdn-tunnel
agent=$(pgrep -f '^/usr/bin/sdn-tunnel-agent' | head -1)
mkdir -p /run/e2e-wg; ln -sfn /proc/$agent/root/run/wireguard /run/wireguard
ip netns exec sdn-tunnel wg show sdntun-wg peers 2>/dev/null | sort || wg show sdntun-wg peers | sort
ip netns exec sdn-tunnel wg show sdntun-wg allowed-ips 2>/dev/null | sort
`

// drift is one thing that someone else breaks on a node.
type drift struct {
	name, fault string
	// over tells when the fault itself is over, where that is not at once: the SDN has
	// to repair its own bridge first.
	over string
}

const sdnIsBack = `ovs-ofctl -O OpenFlow13 dump-flows br0 table=253 2>/dev/null | grep -q note && ip -4 addr show dev tun0 2>/dev/null | grep -q inet`

var drifts = []drift{
	{name: "flows deleted", fault: `ovs-ofctl -O OpenFlow13 del-flows br0 cookie=0x73646e74756e0001/-1`},
	{name: "port deleted", fault: `ovs-vsctl --timeout=5 del-port br0 sdntun1`},
	{name: "routes of the tunnel namespace deleted", fault: `ip -n sdn-tunnel route flush proto 133`},
	{name: "routes of the node deleted", fault: `ip route flush proto 133`},
	{name: "nft table deleted", fault: `ip netns exec sdn-tunnel nft delete table inet sdn-tunnel`},
	{name: "peer deleted", fault: `wg set sdntun-wg peer $(wg show sdntun-wg peers | head -1) remove`},
	{name: "veth pair deleted", fault: `ip link del sdntun1`},
	{name: "ovs-vswitchd restarted", fault: `kill $(pgrep -x ovs-vswitchd)`, over: sdnIsBack},
	{name: "br0 deleted and made again", fault: `ovs-vsctl --timeout=5 del-br br0`, over: sdnIsBack},
}

func driftIsRepaired(t *testing.T, l *lab) {
	const node = "east-1"
	want := l.node(t, node, stateOf)
	want.must(t)
	if strings.Count(want.out, "\n") < 12 {
		t.Fatalf("the state of %s is too short to be true:\n%s", node, want.out)
	}
	restarts := l.agentPID(t, node)
	for _, d := range drifts {
		t.Run(d.name, func(t *testing.T) {
			l.node(t, node, d.fault).must(t)
			if d.over != "" {
				time.Sleep(300 * time.Millisecond)
				eventually(t, 30*time.Second, "the SDN repairs its bridge", func() bool { return l.node(t, node, d.over).code == 0 })
			}
			took := eventually(t, 2*time.Second, "the state is as before the fault", func() bool {
				return sameButRenewed(l.node(t, node, stateOf).out, want.out)
			})
			t.Logf("seen to be repaired %.2f s after the fault was over", took.Seconds())
		})
		if t.Failed() {
			t.Logf("state of %s now:\n%s\nwant:\n%s", node, l.node(t, node, stateOf).out, want.out)
			return
		}
	}
	if now := l.agentPID(t, node); now != restarts {
		t.Errorf("the agent was restarted meanwhile: process %s, was %s", now, restarts)
	}
	l.tunnel(t, 5*time.Minute, "verify", "-i", l.Inventory).must(t)
}

// renewed is what the bridge and the SDN number and name anew: our port, and the
// hardware address of tun0.
var renewed = regexp.MustCompile(`in_port=\d+|output:\d+|(?m:^\d+$)|set_field:[0-9a-f:]{17}->eth_dst,load:0->NXM_NX_REG0`)

// sameButRenewed compares states.
func sameButRenewed(a, b string) bool {
	return renewed.ReplaceAllString(a, "") == renewed.ReplaceAllString(b, "")
}

func (l *lab) agentPID(t *testing.T, node string) string {
	t.Helper()
	r := l.node(t, node, `pgrep -f '^/usr/bin/sdn-tunnel-agent' | head -1`)
	r.must(t)
	return strings.TrimSpace(r.out)
}

// agentDies kills the agent under pings from pod to pod.
func agentDies(t *testing.T, l *lab) {
	from, to := l.pod(t, "open", "east-1"), l.pod(t, "open", "west-1")
	userspace := strings.Contains(l.kubectl(t, "east", "get", "tunnelnodes", "east.east-1", "-o", "jsonpath={.status.cable}"), "userspace")
	stop := l.pinging(t, "east-1", from, to.address, 20)
	pid := l.agentPID(t, "east-1")
	l.node(t, "east-1", "kill -9 "+pid).must(t)
	eventually(t, time.Minute, "the agent is back", func() bool {
		now := l.node(t, "east-1", `pgrep -f '^/usr/bin/sdn-tunnel-agent' | head -1`).out
		return strings.TrimSpace(now) != "" && strings.TrimSpace(now) != pid
	})
	time.Sleep(8 * time.Second) // it begins, and shakes hands
	p := stop()
	t.Logf("userspace WireGuard: %v; %d pings lost at 20 a second: %.2f s", userspace, p.lost, float64(p.lost)/20)
	if limit := map[bool]int{true: 5 * 20, false: 0}[userspace]; p.lost > limit {
		t.Errorf("%d pings lost, want at most %d:\n%s", p.lost, limit, p.text)
	}
}
