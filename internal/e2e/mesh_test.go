package e2e

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// step is one stage of a mesh's life.
type step struct {
	name string
	run  func(*testing.T, *lab)
}

// TestMesh takes a mesh through its life, in each mode of the SDN: each step builds on
// the one before.
func TestMesh(t *testing.T) {
	for _, mode := range []string{"networkpolicy", "multitenant"} {
		t.Run(mode, func(t *testing.T) {
			l := up(t, "e2e", mode)
			before := l.traces(t)
			steps := []step{
				{"a plan touches nothing and names no conflict", planIsClean},
			}
			if mode == "networkpolicy" { // what goes wrong here is the same in every mode
				steps = append(steps, faults(before)...)
			}
			steps = append(steps, []step{
				{"the first deploy links the clusters", firstDeploy},
				{"a second deploy changes nothing", secondDeployChangesNothing},
				{"every pair of nodes passes, and the underlay sees no pod address", verifyAndCapture},
				{"names of every cluster are found in every other", func(t *testing.T, l *lab) { names(t, l, mode) }},
				{"the private keys are nowhere in the API", keysStayOnNodes},
				{"agents are held to their own node", agentsAreHeldToTheirNode},
				{"peers read the mesh and nothing else", peersReadAndNothingElse},
				{"services of the other cluster are known", servicesAreMirrored},
				{"policy of the SDN holds for remote traffic", func(t *testing.T, l *lab) { policy(t, l, mode) }},
				{"drift is repaired", driftIsRepaired},
				{"traffic survives the agent's death", agentDies},
				{"status says that all is well", statusIsWell},
				{"gather packs what is needed and no secret", gatherHasNoSecrets},
			}...)
			steps = append(steps, inOneMode(mode, before)...)
			steps = append(steps, []step{
				{"teardown leaves nothing", func(t *testing.T, l *lab) { teardown(t, l, before) }},
				{"a teardown of nothing succeeds", tornDownTwice},
			}...)
			for _, s := range steps {
				if !t.Run(s.name, func(t *testing.T) { s.run(t, l) }) {
					t.FailNow()
				}
			}
		})
	}
}

// inOneMode are steps that have nothing to do with the SDN's mode, and so are taken in one.
func inOneMode(mode, before string) []step {
	if mode == "multitenant" {
		return []step{
			{"a webhook holds agents where there is no policy", webhookHoldsAgents},
			{"each service type takes over from the one before", serviceTypesChange},
			{"an upgrade goes there and back and by itself back from what is broken", upgrades},
			{"passwords in a vault do for every command", vaultedPasswords},
		}
	}
	return []step{
		{"one cluster leaves and comes back", func(t *testing.T, l *lab) { oneLeaves(t, l, before) }},
		// Last: for a while after it the agents say that their nodes are contested.
		{"diagnose names what is broken", diagnoseNamesFaults},
	}
}

func planIsClean(t *testing.T, l *lab) {
	r := l.tunnel(t, time.Minute, "plan", "-i", l.Inventory, "-o", "json")
	r.must(t)
	var plan struct {
		Conflicts []any `json:"conflicts"`
	}
	if err := json.Unmarshal([]byte(r.out), &plan); err != nil || len(plan.Conflicts) > 0 {
		t.Fatalf("plan: %v\n%s", err, r.out)
	}
}

func checkModeWritesNothing(t *testing.T, l *lab) {
	mark := l.auditMark(t)
	r := l.tunnel(t, 5*time.Minute, "deploy", "-i", l.Inventory, "--check", "--diff", "--verbose")
	r.must(t)
	if writes := l.writesSince(t, mark); len(writes) > 0 {
		t.Errorf("check mode wrote:\n%s", strings.Join(writes, "\n"))
	}
	for _, want := range []string{"LinkedCluster", "DaemonSet", "Deployment"} {
		if !strings.Contains(r.out, want) {
			t.Errorf("the diff does not show the %s that would be made:\n%s", want, tail(r.out, 80))
		}
	}
}

func firstDeploy(t *testing.T, l *lab) {
	r := l.tunnel(t, 10*time.Minute, "deploy", "-i", l.Inventory)
	r.must(t)
	t.Logf("first deploy: %.1f s", r.took.Seconds())
}

var changedRE = regexp.MustCompile(`changed=(\d+)`)

// secondDeployChangesNothing also while another operator tries to deploy and to tear down.
func secondDeployChangesNothing(t *testing.T, l *lab) {
	holder := func() string {
		return l.kubectl(t, "east", "-n", "sdn-tunnel", "get", "lease", "sdn-tunnel-run", "--ignore-not-found", "-o", "jsonpath={.spec.holderIdentity}")
	}
	eventually(t, time.Minute, "the first deploy's lock is released", func() bool { return holder() == "" })
	done := make(chan result, 1)
	go func() { done <- l.tunnel(t, 10*time.Minute, "deploy", "-i", l.Inventory, "--verbose") }()
	var owner string
	eventually(t, time.Minute, "the deploy holds its lock", func() bool {
		owner = holder()
		return owner != ""
	})
	var others sync.WaitGroup
	for _, args := range [][]string{{"deploy"}, {"teardown", "--yes"}} {
		others.Go(func() {
			other := l.tunnel(t, time.Minute, append(args, "-i", l.Inventory)...)
			want := "cluster east: deploy of " + owner + " is under way for "
			if other.code == 0 || !strings.Contains(other.out, want) || !strings.Contains(other.out, "wait for its end") {
				t.Errorf("a %s at the same time: exit %d, want %q:\n%s", args[0], other.code, want, tail(other.out, 20))
			}
			t.Logf("%s at the same time: refused after %.1f s", args[0], other.took.Seconds())
		})
	}
	others.Wait()
	r := <-done
	r.must(t)
	eventually(t, 5*time.Second, "the lock is released", func() bool { return holder() == "" })
	t.Logf("second deploy: %.1f s", r.took.Seconds())
	changesNothing(t, r.out)
}

// changesNothing holds the play recap of a run against changed=0 of every host.
func changesNothing(t *testing.T, out string) {
	t.Helper()
	recap := changedRE.FindAllStringSubmatch(out, -1)
	if len(recap) == 0 {
		t.Fatalf("no play recap in:\n%s", tail(out, 40))
	}
	for _, m := range recap {
		if m[1] != "0" {
			t.Errorf("a host has %s:\n%s", m[0], tail(out, 60))
		}
	}
}

// report is what the tests read of `verify -o json`.
type report struct {
	OK    bool `json:"ok"`
	Pairs []struct {
		From        string `json:"from"`
		To          string `json:"to"`
		FromAddress string `json:"fromAddress"`
		Seen        string `json:"seen"`
		FailingHop  string `json:"failingHop"`
	} `json:"pairs"`
}

func verifyAndCapture(t *testing.T, l *lab) {
	capture := l.capture(t)
	r := l.tunnel(t, 5*time.Minute, "verify", "-i", l.Inventory, "-o", "json")
	packets := capture()
	r.must(t)
	t.Logf("verify: %.1f s", r.took.Seconds())
	var rep report
	if err := json.Unmarshal([]byte(r.out), &rep); err != nil {
		t.Fatalf("verify: %v\n%s", err, r.out)
	}
	if !rep.OK || len(rep.Pairs) < 8 {
		t.Errorf("verify: ok %v with %d pairs:\n%s", rep.OK, len(rep.Pairs), r.out)
	}
	for _, p := range rep.Pairs {
		if p.Seen != p.FromAddress {
			t.Errorf("%s -> %s: the server saw %s, the client is %s", p.From, p.To, p.Seen, p.FromAddress)
		}
	}
	checkCapture(t, packets)
}

// checkCapture holds what went between the clusters' segments against what may: the
// tunnels' UDP, and never a pod's or service's address.
func checkCapture(t *testing.T, packets string) {
	t.Helper()
	tunnel := 0
	for line := range strings.Lines(packets) {
		if podAddressRE.MatchString(line) {
			t.Errorf("a pod's or service's address on the underlay: %s", strings.TrimSpace(line))
		}
		if strings.Contains(line, ".5555") && strings.Contains(line, "UDP") {
			tunnel++
		}
	}
	t.Logf("captured between the clusters: %d packets of tunnels", tunnel)
	if tunnel < 100 {
		t.Errorf("only %d packets of tunnels were captured:\n%s", tunnel, tail(packets, 20))
	}
}

var podAddressRE = regexp.MustCompile(`\b(10\.1[23]\d|172\.(29|30|31))\.\d+\.\d+\b`)

func keysStayOnNodes(t *testing.T, l *lab) {
	var keys []string
	for _, node := range nodes {
		r := l.node(t, node, "cat /var/lib/sdn-tunnel/key && stat -c %a /var/lib/sdn-tunnel/key")
		r.must(t)
		f := strings.Fields(r.out)
		if len(f) != 2 || f[1] != "600" {
			t.Fatalf("key file of %s: %d words, want a key of mode 600", node, len(f))
		}
		keys = append(keys, f[0])
	}
	for _, cluster := range clusters {
		all := l.kubectl(t, cluster, "get", "secrets,configmaps,tunnelnodes,linkedclusters,pods,daemonsets", "-A", "-o", "yaml")
		for i, k := range keys {
			if strings.Contains(all, k) {
				t.Errorf("the private key of %s is in the API of %s", nodes[i], cluster)
			}
		}
	}
}

var (
	clusters = []string{"east", "west"}
	nodes    = []string{"east-1", "east-2", "west-1", "west-2"}
)

// traces is everything of ours that could be on the nodes and in the API servers.
func (l *lab) traces(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	for _, n := range nodes {
		r := l.node(t, n, `ls /run/netns; ls /var/lib/sdn-tunnel 2>/dev/null; ip -o link | grep -c sdntun
			ip route show table all proto 133; nft list tables 2>/dev/null | grep sdn-tunnel
			ovs-vsctl --timeout=5 list-ports br0 | grep sdntun; ovs-ofctl -O OpenFlow13 dump-flows br0 cookie=0x73646e74756e0001/-1 | grep -c cookie
			sysctl net.ipv4.conf.all.rp_filter net.ipv4.conf.default.rp_filter; ss -Hlun sport = 5555; true`)
		r.must(t)
		// The pods' own network namespaces come and go.
		lines := slices.DeleteFunc(strings.Split(r.out, "\n"), func(s string) bool { return strings.HasPrefix(s, "cni-") })
		_, _ = fmt.Fprintf(&b, "== %s\n%s\n", n, strings.Join(lines, "\n"))
	}
	for _, c := range clusters {
		out := l.kubectl(t, c, "get", "namespaces,crds,clusterroles,clusterrolebindings,validatingadmissionpolicies,validatingadmissionpolicybindings,securitycontextconstraints,priorityclasses", "-o", "name")
		dns := l.kubectl(t, c, "get", "dnses.operator.openshift.io/default", "-o", "jsonpath={.spec}") +
			l.kubectl(t, c, "-n", "kube-system", "get", "configmap/coredns", "--ignore-not-found", "-o", "jsonpath={.data}")
		_, _ = fmt.Fprintf(&b, "== %s\n%s\n%s\n%s\n", c, out, dns, l.derivedSlices(t, c))
	}
	return b.String()
}

func teardown(t *testing.T, l *lab, before string) {
	l.removePods(t)
	l.keepExported(t)
	l.leavesNothing(t, before)
}

// leavesNothing tears the mesh down, and compares what is there with what was before.
func (l *lab) leavesNothing(t *testing.T, before string) {
	t.Helper()
	r := l.tunnel(t, 5*time.Minute, "teardown", "-i", l.Inventory, "--yes")
	r.must(t)
	t.Logf("teardown: %.1f s", r.took.Seconds())
	if diff := cmp.Diff(before, l.traces(t)); diff != "" {
		t.Errorf("the clusters are not as before the first deploy (- before, + after):\n%s", diff)
	}
}

func tornDownTwice(t *testing.T, l *lab) {
	l.tunnel(t, 5*time.Minute, "teardown", "-i", l.Inventory, "--yes").must(t)
}
