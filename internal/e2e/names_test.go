package e2e

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const (
	demo = "sdn-tunnel-demo"
	// The cluster's own DNS takes up a change when kubelet has seen it.
	forwarded = 2 * time.Minute
)

// names takes the names of linked clusters through what happens to them, with the
// samples in both clusters.
func names(t *testing.T, l *lab, mode string) {
	l.samples(t)
	steps := []step{
		{"every kind of name, from a pod without any setting", everyName},
		{"services that both clusters export are one each", exportedByBoth},
	}
	if mode == "multitenant" {
		// What the controllers make of exports is the same in every mode; that pods reach it
		// is not.
		steps[1].run = exportedIsBalanced
	} else {
		// These ask the server itself. There a pod reaches services of its own namespace and
		// of global ones only; the cluster's own DNS, which is global, asks for it.
		steps = append(steps, []step{
			{"a Corefile that CoreDNS does not take changes nothing of what answers", brokenCorefile},
			{"a pod that names the server itself", ownResolver},
			{"pods come and go while they are asked", podsComeAndGo},
			{"the other cluster's API stops while its services are asked", apiStops},
			{"the API that has the names is away", namesWithoutAPI},
			{"every token is void", namesWithoutToken},
		}...)
	}
	for _, s := range steps {
		if !t.Run(s.name, func(t *testing.T) { s.run(t, l) }) {
			return
		}
	}
}

// samples puts those of the repository into both clusters, until the test is over.
func (l *lab) samples(t *testing.T) {
	t.Helper()
	t.Cleanup(func() {
		for _, c := range clusters {
			l.kubectl(t, c, "delete", "namespace", demo, "--ignore-not-found")
		}
	})
	for _, c := range clusters {
		l.kubectl(t, c, "apply", "-f", filepath.Join(l.root, "samples/service.yaml"), "-f", filepath.Join(l.root, "samples/stateful.yaml"),
			"-f", filepath.Join(l.root, "internal/e2e/testdata/names.yaml"))
	}
	for _, c := range clusters {
		l.rolledOut(t, c, demo, "deployment/web")
		l.rolledOut(t, c, demo, "statefulset/db")
	}
}

func (l *lab) rolledOut(t *testing.T, cluster, namespace, workload string) {
	t.Helper()
	l.operator(t, 4*time.Minute, "kubectl", "--context", cluster, "-n", namespace, "rollout", "status", workload, "--timeout=180s").must(t)
}

// answer is what a DNS server said: the code, and the records in order.
type answer struct {
	Name    string
	RCode   string   `json:"rcode"`
	Records []string `json:"records"`
	Error   string   `json:"error"`
}

func (a answer) String() string {
	return strings.TrimSpace(a.RCode + " " + strings.Join(a.Records, ", ") + a.Error)
}

// resolve asks from a pod of east. The server is the pod's own if it is empty.
func (l *lab) resolve(t *testing.T, server, kind, name string) answer {
	t.Helper()
	return l.resolveIn(t, "east", server, kind, name)
}

func (l *lab) resolveIn(t *testing.T, cluster, server, kind, name string) answer {
	t.Helper()
	args := []string{"kubectl", "--context", cluster, "-n", demo, "exec", "deploy/web", "--", "/usr/bin/test-app", "resolve"}
	if server != "" {
		args = append(args, "-server", server)
	}
	r := l.operator(t, time.Minute, append(args, kind, name)...)
	var got []answer
	if err := json.Unmarshal([]byte(r.out), &got); err != nil || len(got) != 1 {
		return answer{Error: fmt.Sprintf("exit %d: %s", r.code, r.out)}
	}
	return got[0]
}

// ofBoth is ok of both servers that a cluster's names have behind one address: each question
// is for either of them, so it takes many good answers in a row.
func ofBoth(ok func() bool) func() bool {
	inARow := 0
	return func() bool {
		if !ok() {
			inARow = 0
			return false
		}
		inARow++
		return inARow == 12
	}
}

// settled asks until the answers are as they shall be, and says how long it took.
func (l *lab) settled(t *testing.T, limit time.Duration, server, name, want string) time.Duration {
	t.Helper()
	var last answer
	defer func() {
		if t.Failed() {
			t.Logf("%s: the last answer was %s", name, last)
		}
	}()
	return eventually(t, limit, name+" is "+want, ofBoth(func() bool {
		last = l.resolve(t, server, "A", name)
		return regexp.MustCompile(want).MatchString(last.String())
	}))
}

func (l *lab) field(t *testing.T, cluster, object, path string) string {
	t.Helper()
	return l.kubectl(t, cluster, "-n", demo, "get", object, "-o", "jsonpath={"+path+"}")
}

// server is the address of the own server of a cluster.
func (l *lab) nameServer(t *testing.T, cluster string) string {
	t.Helper()
	return l.kubectl(t, cluster, "-n", "sdn-tunnel", "get", "service", "sdn-tunnel-dns", "-o", "jsonpath={.spec.clusterIP}")
}

func everyName(t *testing.T, l *lab) {
	zone := "." + demo + ".svc.cluster."
	took := l.settled(t, forwarded, "", "web"+zone+"west", "^NOERROR A ")
	t.Logf("known to the cluster's own DNS after %.0f s", took.Seconds())
	web, webEast := l.field(t, "west", "service/web", ".spec.clusterIP"), l.field(t, "east", "service/web", ".spec.clusterIP")
	db0, db1 := l.field(t, "west", "pod/db-0", ".status.podIP"), l.field(t, "west", "pod/db-1", ".status.podIP")
	either := fmt.Sprintf("(A %s, A %s|A %[2]s, A %[1]s)", db0, db1)
	for _, q := range []struct{ kind, name, want string }{
		{"A", "web" + zone + "west", "NOERROR A " + web},
		{"A", "web" + zone + "east", "NOERROR A " + webEast},
		{"A", "WEB" + zone + "West", "NOERROR A " + web},
		{"AAAA", "web" + zone + "west", "NOERROR"},
		{"SRV", "_http._tcp.web" + zone + "west", "NOERROR SRV 0 100 8080 web" + zone + "west."},
		{"SRV", "_echo._udp.web" + zone + "west", "NOERROR SRV 0 100 8080 web" + zone + "west."},
		{"PTR", web, "NOERROR PTR web" + zone + "west."},
		{"PTR", db0, "NOERROR PTR db-0.db" + zone + "west."},
		{"PTR", webEast, "NOERROR PTR web" + zone + "local."},
		{"A", "db" + zone + "west", "NOERROR " + either},
		{"A", "db-0.db" + zone + "west", "NOERROR A " + db0},
		{"A", "db-1.db" + zone + "west", "NOERROR A " + db1},
		{"A", strings.ReplaceAll(db0, ".", "-") + ".web" + zone + "west", "NXDOMAIN"},
		{"A", "none" + zone + "west", "NXDOMAIN"},
		{"A", "web.none.svc.cluster.west", "NXDOMAIN"},
		{"PTR", "10.132.255.254", "NXDOMAIN"},
		// Its own domain is west's to west, wherever it is asked for.
		{"A", "alias" + zone + "west", "NOERROR CNAME web" + zone + "west., A " + web},
		{"A", "abroad" + zone + "west", "NOERROR CNAME db-0.db" + zone + "east., A " + l.field(t, "east", "pod/db-0", ".status.podIP")},
		{"A", "kubernetes.default.svc.cluster.local", "NOERROR A 172.30.0.1"},
	} {
		got := l.resolve(t, "", q.kind, q.name)
		if !regexp.MustCompile("^" + q.want + "$").MatchString(got.String()) {
			t.Errorf("%s %s: %s, want %s", q.kind, q.name, got, q.want)
		}
	}
	l.talks(t, "db-0.db"+zone+"west", "db-0")

	// East's own DNS is that of OpenShift's operator, west's a CoreDNS in kube-system.
	for cluster, way := range map[string]string{"east": "dns.operator.openshift.io/default", "west": "configmap/coredns"} {
		if out := l.kubectl(t, cluster, "-n", "kube-system", "get", way, "-o", "yaml"); !strings.Contains(out, "sdn-tunnel") {
			t.Errorf("%s: %s has nothing of ours:\n%s", cluster, way, out)
		}
	}
	eventually(t, forwarded, "west finds east", func() bool {
		return l.resolveIn(t, "west", "", "A", "web"+zone+"east").String() == "NOERROR A "+webEast
	})
	if got := l.resolveIn(t, "west", "", "PTR", webEast); got.String() != "NOERROR PTR web"+zone+"east." {
		t.Errorf("west: PTR %s: %s", webEast, got)
	}
}

// talks asks a server by its name, over the mesh, with the resolver of a pod of east.
func (l *lab) talks(t *testing.T, host, pod string) {
	t.Helper()
	request := fmt.Sprintf(`{"services":[{"name":"x","host":%q,"port":8080,"requests":4}]}`, host)
	r := l.operator(t, time.Minute, "sh", "-c", "echo '"+request+"' | kubectl --context east -n "+demo+" exec -i deploy/web -- /usr/bin/test-app ask")
	r.must(t)
	var got []struct {
		TCP struct{ Servers map[string]int }
	}
	if err := json.Unmarshal([]byte(r.out), &got); err != nil || len(got) != 1 || !cmp.Equal(got[0].TCP.Servers, map[string]int{pod: 4}) {
		t.Errorf("connections to %s: %v: %s", host, err, r.out)
	}
}

// ownResolver: a pod with a dnsConfig gets every name from the server itself.
func ownResolver(t *testing.T, l *lab) {
	overrides := fmt.Sprintf(`{"spec": {"terminationGracePeriodSeconds": 1, "dnsPolicy": "None", "dnsConfig": {"nameservers": [%q]}}}`, l.nameServer(t, "east"))
	l.kubectl(t, "east", "-n", "default", "run", "own-resolver", "--image=localhost/sdn-tunnel/test-app:dev", "--overrides="+overrides)
	t.Cleanup(func() { l.kubectl(t, "east", "-n", "default", "delete", "pod", "own-resolver") })
	l.kubectl(t, "east", "-n", "default", "wait", "--for=condition=Ready", "pod/own-resolver", "--timeout=30s")
	for name, want := range map[string]string{
		"web." + demo + ".svc.cluster.west":    l.field(t, "west", "service/web", ".spec.clusterIP"),
		"web." + demo + ".svc.cluster.east":    l.field(t, "east", "service/web", ".spec.clusterIP"),
		"kubernetes.default.svc.cluster.local": "172.30.0.1",
	} {
		if got := l.kubectl(t, "east", "-n", "default", "exec", "own-resolver", "--", "/usr/bin/test-app", "resolve", "A", name); !strings.Contains(got, `"A `+want+`"`) {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

// asking asks for a name again and again, until the returned function is called, which
// gives the number of answers and those that were not as they shall be.
func (l *lab) asking(t *testing.T, name, want string) func() (int, []string) {
	t.Helper()
	done := make(chan struct{})
	var wg sync.WaitGroup
	count, wrong := 0, []string(nil)
	wg.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			if got := l.resolve(t, "", "A", name); !strings.HasPrefix(got.String(), want) {
				wrong = append(wrong, got.String())
			}
			count++
		}
	})
	return func() (int, []string) { close(done); wg.Wait(); return count, wrong }
}

func (l *lab) nameServers(t *testing.T, cluster string) string {
	t.Helper()
	return l.kubectl(t, cluster, "-n", "sdn-tunnel", "get", "pods", "-l", "app.kubernetes.io/component=dns", "-o", "jsonpath={.items[*].metadata.name}")
}

// brokenCorefile: the deploy fails and says where; the servers of before go on, and the
// next deploy is as if nothing had been.
func brokenCorefile(t *testing.T, l *lab) {
	before := l.nameServers(t, "east")
	stop := l.asking(t, "web."+demo+".svc.cluster.west", "NOERROR A ")
	r := l.tunnel(t, 5*time.Minute, "deploy", "-i", l.Inventory, "--tags", "dns", "-e", `{"corefile_extra": "example.org:5353 {\n    whereami\n}\n"}`)
	asked, wrong := stop()
	t.Logf("refused after %.0f s; meanwhile %d answers", r.took.Seconds(), asked)
	if r.code == 0 || !regexp.MustCompile(`Corefile:\d+ - Error during parsing: Unknown directive 'whereami'`).MatchString(r.out) {
		t.Errorf("exit %d:\n%s", r.code, tail(r.out, 40))
	}
	if asked < 5 || len(wrong) > 0 {
		t.Errorf("of %d answers, %d were wrong: %v", asked, len(wrong), wrong)
	}
	for pod := range strings.FieldsSeq(before) {
		if !strings.Contains(l.nameServers(t, "east"), pod) {
			t.Errorf("the server %s is gone", pod)
		}
	}
	l.tunnel(t, 5*time.Minute, "deploy", "-i", l.Inventory, "--tags", "dns").must(t)
	eventually(t, time.Minute, "the servers are those of before", func() bool { return l.nameServers(t, "east") == before })
	if maps := l.kubectl(t, "east", "-n", "sdn-tunnel", "get", "configmaps", "-l", "app.kubernetes.io/component=dns", "-o", "name"); strings.Contains(maps, "\n") {
		t.Errorf("configurations are left over: %s", maps)
	}
}

// cut keeps east away from west's API until the returned function is called. With
// reset, connections end at once; without, nothing comes through.
func (l *lab) cut(t *testing.T, how string) (restore func()) {
	t.Helper()
	nft := func(command string) {
		l.operator(t, time.Minute, "nsenter", "--net=/run/netns/"+l.name+"-router", "nft", command).must(t)
	}
	nft("table inet cut { chain forward { type filter hook forward priority -10; " +
		"ip saddr 192.168.50.0/24 ip saddr != 192.168.50.10 ip daddr 192.168.60.10 tcp dport 6443 " + how + "; }; }")
	var once sync.Once
	restore = func() { once.Do(func() { nft("delete table inet cut") }) }
	t.Cleanup(restore)
	return restore
}

// namesWithoutAPI: what is known goes on being answered; a server that starts then fails
// for the zone that it cannot read, and says nothing untrue of it.
func namesWithoutAPI(t *testing.T, l *lab) {
	server, west, east := l.nameServer(t, "east"), "web."+demo+".svc.cluster.west", "web."+demo+".svc.cluster.east"
	restore := l.cut(t, "drop")
	time.Sleep(10 * time.Second) // longer than any answer is kept
	for name, want := range map[string]string{
		west: "NOERROR A ", east: "NOERROR A ", "none." + demo + ".svc.cluster.west": "NXDOMAIN",
	} {
		if got := l.resolve(t, server, "A", name); !strings.HasPrefix(got.String(), want) {
			t.Errorf("away: %s: %s, want %s", name, got, want)
		}
	}
	l.kubectl(t, "east", "-n", "sdn-tunnel", "delete", "pods", "-l", "app.kubernetes.io/component=dns")
	l.rolledOut(t, "east", "sdn-tunnel", "deployment/sdn-tunnel-dns")
	l.settled(t, 30*time.Second, server, east, "^NOERROR A ") // kube-proxy knows them, too
	for name, want := range map[string]string{
		west: "SERVFAIL", "none." + demo + ".svc.cluster.west": "SERVFAIL", east: "NOERROR A ",
		"none." + demo + ".svc.cluster.east": "NXDOMAIN", "kubernetes.default.svc.cluster.local": "NOERROR A ",
	} {
		if got := l.resolve(t, server, "A", name); !strings.HasPrefix(got.String(), want) {
			t.Errorf("away at the start: %s: %s, want %s", name, got, want)
		}
	}
	if got := l.resolve(t, server, "PTR", "172.31.0.1"); got.RCode != "SERVFAIL" {
		t.Errorf("away at the start: PTR of west: %s, want SERVFAIL", got)
	}
	restore()
	t.Logf("answers %.0f s after the API was back", l.settled(t, 90*time.Second, server, west, "^NOERROR A ").Seconds())
}

// namesWithoutToken: what a peer lost it gets back by a deploy, without a restart here.
func namesWithoutToken(t *testing.T, l *lab) {
	server, pods := l.nameServer(t, "east"), l.nameServers(t, "east")
	l.kubectl(t, "west", "-n", "sdn-tunnel", "delete", "serviceaccount", "sdn-tunnel-peer-east")
	// A watch would go on with the old token: it ends when it has to confirm some news. The
	// API server itself remembers for 10 s what a token was good for.
	restore := l.cut(t, "reject with tcp reset")
	l.kubectl(t, "west", "-n", demo, "create", "service", "clusterip", "news", "--tcp=8080:8080")
	time.Sleep(15 * time.Second)
	restore()
	l.kubectl(t, "west", "-n", demo, "create", "service", "clusterip", "late", "--tcp=8080:8080")
	time.Sleep(5 * time.Second)
	for name, want := range map[string]string{"web": "NOERROR A ", "late": "NXDOMAIN"} {
		if got := l.resolve(t, server, "A", name+"."+demo+".svc.cluster.west"); !strings.HasPrefix(got.String(), want) {
			t.Errorf("without a token: %s: %s, want %s", name, got, want)
		}
	}
	l.tunnel(t, 5*time.Minute, "deploy", "-i", l.Inventory, "--tags", "peers").must(t)
	t.Logf("new names %.0f s after the new token", l.settled(t, 3*time.Minute, server, "late."+demo+".svc.cluster.west", "^NOERROR A ").Seconds())
	if now := l.nameServers(t, "east"); now != pods {
		t.Errorf("the servers are %s, were %s", now, pods)
	}
}
