package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const front = "front.open.svc.cluster.west"

// faults are in an order in which those come together that need the same to be away.
func (b *breaker) faults(t *testing.T) []fault {
	t.Helper()
	isolated := b.podName(t, "west", "isolated", "west-1")
	var all []fault
	all = append(all, b.asked(t, isolated)...)
	all = append(all, b.onTheWay()...)
	all = append(all, b.onNodes()...)
	all = append(all, b.ofNames()...)
	all = append(all, b.ofAgents()...)
	return append(all, b.ofMembers(t)...)
}

// asked are those that are in what is asked for.
func (b *breaker) asked(t *testing.T, isolated string) []fault {
	agent := b.kubectl(t, "west", "-n", "sdn-tunnel", "get", "pods", "-l", "app.kubernetes.io/component=agent", "-o", "jsonpath={.items[0].metadata.name}")
	return []fault{
		{name: "a policy of the target's namespace", code: "network-policy", args: []string{b.from, isolated}},
		{name: "a policy of the source's namespace", code: "egress-policy", inject: func(t *testing.T) func() {
			b.kubectl(t, "east", "apply", "-f", b.root+"/internal/e2e/testdata/egress.yaml")
			time.Sleep(time.Second)
			return func() { b.kubectl(t, "east", "delete", "-f", b.root+"/internal/e2e/testdata/egress.yaml") }
		}},
		{name: "a pod that is not running", code: "pod-not-running", args: []string{b.from, "west/open/homeless"}},
		{name: "a pod on its node's network", code: "host-network", args: []string{b.from, "west/sdn-tunnel/" + agent}},
		{name: "no such pod", code: "pod-missing", args: []string{b.from, "west/open/nobody"}},
		{name: "a port that nobody listens on", code: "refused-connection", args: []string{"--port", "81", b.from, b.to}},
		{name: "a service without pods", code: "no-endpoints", args: []string{b.from, "west/open/dead"}},
		{name: "a port that the service has not", code: "service-port", args: []string{"--port", "81", b.from, "west/open/front"}},
		{name: "a service that is not exported", code: "not-exported", args: []string{b.from, "west/open/front"}, inject: func(t *testing.T) func() {
			return b.patch(t, "west", "linkedcluster/west", `{"spec":{"exportPolicy":"Exported"}}`, `{"spec":{"exportPolicy":"All"}}`)
		}},
	}
}

// onTheWay are those of the underlay.
func (b *breaker) onTheWay() []fault {
	routed := func(chain string) func(*testing.T) func() {
		return func(t *testing.T) func() { return b.router(t, chain) }
	}
	return []fault{
		{name: "UDP is blocked between the clusters", code: "udp-blocked", inject: routed(
			"type filter hook forward priority -10; ip saddr 192.168.50.0/24 udp dport 5555 drop")},
		{name: "UDP is blocked on the way back", code: "udp-blocked", inject: routed(
			"type filter hook forward priority -10; ip daddr 192.168.50.0/24 udp dport 5555 drop; ip daddr 192.168.50.0/24 udp sport 5555 drop")},
		{name: "the underlay drops large packets", code: "mtu", inject: routed(
			"type filter hook forward priority -10; udp dport 5555 meta length > 1400 drop")},
		{name: "a firewall on the target's node", code: "firewall", inject: func(t *testing.T) func() {
			return b.on(t, "west-1", "nft 'table inet diagnose { chain c { type filter hook input priority -10; udp dport 5555 drop; }; }'", "nft delete table inet diagnose")
		}},
		{name: "a firewall on the source's node", code: "firewall", inject: func(t *testing.T) func() {
			return b.on(t, "east-1", "nft 'table inet diagnose { chain c { type filter hook output priority -10; udp sport 5555 drop; }; }'", "nft delete table inet diagnose")
		}},
		{name: "the source's address is translated (NAT)", code: "nat", inject: routed(
			"type filter hook prerouting priority raw; ip saddr 192.168.50.0/24 ip daddr 192.168.60.0/24 udp sport 5555 notrack ip saddr set 192.168.50.99")},
	}
}

// onNodes are those of the source's node. What its agent puts right within a second is done
// again and again.
func (b *breaker) onNodes() []fault {
	again := func(command string) func(*testing.T) func() {
		return func(t *testing.T) func() { return b.again(t, "east-1", command) }
	}
	const inside = "ip netns exec sdn-tunnel "
	return []fault{
		{name: "flows are deleted", code: "flows-missing", inject: again("ovs-ofctl -O OpenFlow13 del-flows br0 cookie=0x73646e74756e0001/-1")},
		{name: "somebody else's flow drops", code: "foreign-flow", inject: func(t *testing.T) func() {
			return b.on(t, "east-1", "ovs-ofctl -O OpenFlow13 add-flow br0 cookie=0x77,table=30,priority=400,ip,nw_dst=10.132.0.0/14,actions=drop", "ovs-ofctl -O OpenFlow13 del-flows br0 cookie=0x77/-1")
		}},
		{name: "the tunnel's port is not on the bridge", code: "switch-port", inject: again("ovs-vsctl --if-exists del-port br0 sdntun1")},
		{name: "the tunnel's routes are deleted", code: "route-missing-tunnel", inject: again("ip -n sdn-tunnel route flush proto 133")},
		{name: "the veth is down", code: "link-down", inject: again("ip -n sdn-tunnel link set sdntun0 down")},
		{name: "forwarding is off", code: "sysctl", inject: func(t *testing.T) func() {
			stop := b.again(t, "east-1", inside+"sysctl -qw net.ipv4.ip_forward=0")
			return func() {
				stop()
				b.node(t, "east-1", inside+"sysctl -qw net.ipv4.ip_forward=1").must(t)
			}
		}},
		{name: "the table of services is deleted", code: "proxy-missing", args: []string{b.from, "west/open/front"}, inject: again(inside + "nft delete table ip sdn-tunnel-services")},
		{name: "connection tracking is full", code: "conntrack-full", inject: b.fillConntrack},
	}
}

// fillConntrack opens more flows on the source's node than it can track: they end by
// themselves after 30 s.
func (b *breaker) fillConntrack(t *testing.T) func() {
	b.node(t, "east-1", `python3 - <<'END'
import socket
most = int(open('/proc/sys/net/netfilter/nf_conntrack_max').read())
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for i in range(most + most // 50):
    try:
        s.sendto(b'', ('127.%d.0.1' % (1 + i // 60000), 1 + i % 60000))
    except OSError:
        pass
END`).must(t)
	return func() { b.node(t, "east-1", "conntrack -F 2>/dev/null; true").must(t) }
}

// ofNames are those of the names of the source's cluster.
func (b *breaker) ofNames() []fault {
	byName := []string{b.from, front}
	return []fault{
		{name: "a name in no zone of the mesh", code: "name-unknown-zone", args: []string{b.from, "front.open.svc.cluster.north"}},
		{name: "a name that there is not", code: "name-missing", args: []string{b.from, "none.open.svc.cluster.west"}},
		{name: "the cluster's DNS does not forward", code: "dns-forward-missing", args: byName, inject: func(t *testing.T) func() {
			was := b.kubectl(t, "east", "get", "dns.operator.openshift.io/default", "-o", "jsonpath={.spec.servers}")
			return b.patch(t, "east", "dns.operator.openshift.io/default", `{"spec":{"servers":[]}}`, `{"spec":{"servers":`+was+`}}`)
		}},
		{name: "the name servers are down", code: "dns-down", args: byName, inject: func(t *testing.T) func() { return b.scale(t, "east", "sdn-tunnel", "sdn-tunnel-dns") }},
	}
}

// ofAgents are those of agents.
func (b *breaker) ofAgents() []fault {
	return []fault{
		{name: "the agent hangs", code: "agent-silent", inject: func(t *testing.T) func() {
			return b.on(t, "east-1", `kill -STOP $(pgrep -f '^/usr/bin/sdn-tunnel-agent' | head -1)`, `kill -CONT $(pgrep -f '^/usr/bin/sdn-tunnel-agent' | head -1)`)
		}},
		{name: "no agent on a node", code: "agent-missing", inject: b.withoutAgent},
	}
}

// withoutAgent takes the agent off a node, which nothing starts again until it is put back.
func (b *breaker) withoutAgent(t *testing.T) func() {
	const set = "daemonset/sdn-tunnel-agent"
	var kept []string
	for line := range strings.Lines(b.kubectl(t, "west", "-n", "sdn-tunnel", "get", set, "-o", "yaml")) {
		if !strings.HasPrefix(line, "  resourceVersion:") && !strings.HasPrefix(line, "  uid:") {
			kept = append(kept, line)
		}
	}
	file := filepath.Join(t.TempDir(), "agents.yaml")
	if err := os.WriteFile(file, []byte(strings.Join(kept, "")), 0o600); err != nil {
		t.Fatal(err)
	}
	pod := b.kubectl(t, "west", "-n", "sdn-tunnel", "get", "pods", "-l", "app.kubernetes.io/component=agent", "--field-selector", "spec.nodeName=west-1", "-o", "name")
	b.kubectl(t, "west", "-n", "sdn-tunnel", "delete", set, "--cascade=orphan")
	b.kubectl(t, "west", "-n", "sdn-tunnel", "delete", pod)
	return func() {
		b.kubectl(t, "west", "create", "-f", file)
		b.kubectl(t, "west", "-n", "sdn-tunnel", "rollout", "status", set, "--timeout=90s")
	}
}

// ofMembers are those of what the clusters know of each other.
func (b *breaker) ofMembers(t *testing.T) []fault {
	var back func()
	const far = "tunnelnode/west.west-1"
	away := func(t *testing.T) func() {
		back = b.scale(t, "east", "sdn-tunnel", "sdn-tunnel-controller")
		return func() {}
	}
	broken := func(object, do, undo string) func(*testing.T) func() {
		return func(t *testing.T) func() { return b.patch(t, "east", object, do, undo) }
	}
	return []fault{
		{name: "the access to a member is void", code: "member-unreachable", inject: b.voidAccess,
			settle: func() bool { return b.reachable(t) == "False" }},
		{name: "wrong networks of a member", code: "wrong-cidr", inject: broken("linkedcluster/west", `{"spec":{"podCIDRs":["10.140.0.0/14"]}}`, `{"spec":{"podCIDRs":["10.132.0.0/14"]}}`)},
		{name: "the controller is down", code: "controller-down", inject: away},
		{name: "a wrong public key of a peer", code: "wrong-key", inject: func(t *testing.T) func() {
			key := b.kubectl(t, "east", "get", far, "-o", "jsonpath={.spec.publicKey}")
			other := b.kubectl(t, "east", "get", "tunnelnode/west.west-2", "-o", "jsonpath={.spec.publicKey}")
			wrong := "A" + other[1:]
			return b.patch(t, "east", far, `{"spec":{"publicKey":"`+wrong+`"}}`, `{"spec":{"publicKey":"`+key+`"}}`)
		}},
		{name: "a stale endpoint of a peer", code: "stale-endpoint", inject: func(t *testing.T) func() {
			host := b.kubectl(t, "east", "get", far, "-o", "jsonpath={.spec.endpoint.host}")
			return b.patch(t, "east", far, `{"spec":{"endpoint":{"host":"192.168.60.249"}}}`, `{"spec":{"endpoint":{"host":"`+host+`"}}}`)
		}},
		{name: "a node that is not known to the other cluster", code: "not-mirrored", inject: func(t *testing.T) func() {
			b.kubectl(t, "east", "delete", far)
			return func() { back() }
		}},
	}
}

// reachable is what east's controller says of west.
func (b *breaker) reachable(t *testing.T) string {
	t.Helper()
	return b.kubectl(t, "east", "get", "linkedcluster", "west", "-o", `jsonpath={.status.conditions[?(@.type=="Reachable")].status}`)
}

// voidAccess makes the token by which east reads west void.
func (b *breaker) voidAccess(t *testing.T) func() {
	const secret = "secret/sdn-tunnel-peer-west"
	was := b.kubectl(t, "east", "-n", "sdn-tunnel", "get", secret, "-o", `jsonpath={.data.kubeconfig}`)
	b.kubectl(t, "east", "-n", "sdn-tunnel", "patch", secret, "--type=merge", "-p", `{"stringData":{"kubeconfig":"apiVersion: v1\nkind: Config\n"}}`)
	return func() {
		b.kubectl(t, "east", "-n", "sdn-tunnel", "patch", secret, "--type=merge", "-p", `{"data":{"kubeconfig":"`+was+`"}}`)
		eventually(t, time.Minute, "east reads west again", func() bool { return b.reachable(t) == "True" })
	}
}
