package e2e

import (
	"strings"
	"testing"
	"time"
)

// faults are the steps before the first deploy in which input is bad, clusters do not fit, and deploys end half-way: killed, or
// because something is missing. The deploy after them completes what they leave.
func faults(before string) []step {
	return []step{
		{"bad input stops before the first change", badInput},
		{"a login by user and password does", userAndPassword},
		{"check mode before the first deploy writes nothing and shows what would be", checkModeWritesNothing},
		{"clusters that cannot be members stop it as well", unfitClusters},
		{"an API that is away is named by every verb, and nothing is changed", apiAway},
		{"killed at any point, a deploy is completed by the next and taken away by a teardown", func(t *testing.T, l *lab) { killed(t, l, before) }},
		{"an API that goes away half-way is named as well", apiGoes},
		{"addresses that do not come are named with what was made", addressesRunOut},
		{"what agents lack on nodes is named, and they recover by themselves", nodesLackSomething},
	}
}

// addressesRunOut: MetalLB has one address for the two nodes of a cluster.
func addressesRunOut(t *testing.T, l *lab) {
	pool := func(addresses string) {
		t.Helper()
		l.kubectl(t, "west", "-n", "metallb-system", "patch", "ipaddresspools.metallb.io", "lab", "--type=merge",
			"-p", `{"spec":{"addresses":["`+addresses+`"]}}`)
	}
	all := l.kubectl(t, "west", "-n", "metallb-system", "get", "ipaddresspools.metallb.io", "lab", "-o", "jsonpath={.spec.addresses[0]}")
	first, _, _ := strings.Cut(all, "-")
	pool(first + "-" + first)
	defer pool(all)
	out := l.refused(t, l.Inventory, []string{"-e", "vip_timeout=5"},
		"cluster west: no public address in time", "1 of 2 nodes have no endpoint", "(Service sdn-tunnel-west-",
		"check the cloud's controller or MetalLB and its pool, or use service_type NodePort",
		"made and left in place:", first+":5555", "== What was changed so far, and stays", "== To go on:")
	if strings.Contains(out, "== Agents") {
		t.Errorf("the agents were begun without addresses:\n%s", tail(out, 20))
	}
}

const (
	takePort = `setsid socat -u UDP4-RECVFROM:5555,fork /dev/null >/dev/null 2>&1 </dev/null & echo $! >/run/e2e-listener`
	freePort = `kill $(cat /run/e2e-listener); rm /run/e2e-listener`
	hideOVS  = `mv /run/openvswitch/db.sock /run/openvswitch/away.sock`
	showOVS  = `mv /run/openvswitch/away.sock /run/openvswitch/db.sock`
)

// nodesLackSomething: the tunnel's port is taken on a node of east, Open vSwitch does not
// answer on one of west.
func nodesLackSomething(t *testing.T, l *lab) {
	l.node(t, "east-1", takePort).must(t)
	l.node(t, "west-2", hideOVS).must(t)
	over := false
	defer func() {
		if !over {
			l.node(t, "east-1", freePort)
			l.node(t, "west-2", showOVS)
		}
	}()
	l.refused(t, l.Inventory, []string{"-e", "rollout_timeout=20"},
		"cluster east: DaemonSet sdn-tunnel/sdn-tunnel-agent: after 20s", " on east-1: ", "node east-1: wireguard: UDP port 5555 of the node is taken by another program",
		"stop it, or choose another tunnel_port",
		"cluster west: DaemonSet sdn-tunnel/sdn-tunnel-agent: after 20s", " on west-2: ", "node west-2: vswitch: the node's Open vSwitch does not answer",
		"see that ovsdb-server and ovs-vswitchd run there",
		"== What was changed so far, and stays", "create DaemonSet sdn-tunnel/sdn-tunnel-agent", "== To go on:")
	agents := map[string]string{}
	for _, c := range clusters {
		agents[c] = l.agents(t, c)
		if strings.Count(agents[c], " restarts=0") != 2 || !strings.Contains(agents[c], "ready=false") {
			t.Errorf("agents of %s, want two, not all ready, and none that ever ended:\n%s", c, agents[c])
		}
	}
	l.node(t, "east-1", freePort).must(t)
	l.node(t, "west-2", showOVS).must(t)
	over = true
	for _, c := range clusters {
		want := strings.ReplaceAll(agents[c], "ready=false", "ready=true")
		took := eventually(t, time.Minute, "the agents of "+c+" recover by themselves", func() bool { return l.agents(t, c) == want })
		t.Logf("agents of %s ready %.1f s later", c, took.Seconds())
	}
}

// agents lists the agents' pods of a cluster, and how they are.
func (l *lab) agents(t *testing.T, cluster string) string {
	t.Helper()
	return l.kubectl(t, cluster, "-n", "sdn-tunnel", "get", "pods", "-l", "app.kubernetes.io/component=agent", "-o",
		`jsonpath={range .items[*]}{.metadata.name} ready={.status.containerStatuses[0].ready} restarts={.status.containerStatuses[0].restartCount}{"\n"}{end}`)
}
