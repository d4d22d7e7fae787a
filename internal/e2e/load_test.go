package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sdn-tunnel/sdn-tunnel/samples/test-app/probe"
)

// loads are the ways to the service web of west, as users have them.
func (l *lab) loads(t *testing.T) map[string]string {
	t.Helper()
	return map[string]string{
		"its address":            l.field(t, "west", "service/web", ".spec.clusterIP"),
		"its name":               "web." + demo + ".svc.cluster.west",
		"its name in clusterset": "web" + setZone,
	}
}

// load asks the services at the hosts from a pod of east, one question after the other for
// each host and protocol, until the returned function is called. That prints what became
// of the questions, fails the test for each that had no answer, and gives the pods that
// answered, by the way.
func (l *lab) load(t *testing.T, hosts map[string]string) (stop func() map[string][]string) {
	t.Helper()
	var req probe.LoadRequest
	for _, name := range slices.Sorted(maps.Keys(hosts)) {
		req.Services = append(req.Services, probe.Service{Name: name, Host: hosts[name], Port: 8080})
	}
	request, err := json.Marshal(req)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(l.bin, "lab", "exec", "--name", l.name, "--", "kubectl", "--context", "east", "-n", demo,
		"exec", "-i", "deploy/web", "--", "/usr/bin/test-app", "load")
	var out, diag bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &diag
	in, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	end := sync.OnceValue(func() error { _ = in.Close(); return cmd.Wait() })
	t.Cleanup(func() { _ = end() })
	if _, err := in.Write(request); err != nil {
		t.Fatal(err)
	}
	return func() map[string][]string {
		t.Helper()
		var results []probe.LoadResult
		if err := end(); err != nil {
			t.Fatalf("the load: %v: %s", err, &diag)
		}
		if err := json.Unmarshal(out.Bytes(), &results); err != nil {
			t.Fatalf("the load: %v: %s", err, &out)
		}
		return judgeLoad(t, results)
	}
}

func judgeLoad(t *testing.T, results []probe.LoadResult) (answered map[string][]string) {
	t.Helper()
	asked, failed := 0, 0
	answered = map[string][]string{}
	for _, r := range results {
		for protocol, c := range map[string]probe.Course{"TCP": r.TCP, "UDP": r.UDP} {
			asked, failed = asked+c.Asked, failed+c.Asked-c.Answered
			t.Logf("%s by %s: %d requests, %d failed, %d datagrams sent twice, %d pods answered, the slowest after %d ms",
				protocol, r.Service.Name, c.Asked, c.Asked-c.Answered, c.Again, len(c.Servers), c.SlowestMilliseconds)
			if c.Asked < 20 || c.Answered < c.Asked {
				t.Errorf("%s by %s: %d of %d requests were answered: %s", protocol, r.Service.Name, c.Answered, c.Asked, strings.Join(c.Failures, "; "))
			}
			answered[r.Service.Name] = slices.Compact(slices.Sorted(slices.Values(slices.AppendSeq(answered[r.Service.Name], maps.Keys(c.Servers)))))
		}
	}
	t.Logf("%d requests, %d failed", asked, failed)
	return answered
}

// webPods are the pods of web in west, those that end included.
func (l *lab) webPods(t *testing.T) []string {
	t.Helper()
	return strings.Fields(l.kubectl(t, "west", "-n", demo, "get", "pods", "-l", "app.kubernetes.io/name=web", "-o", "jsonpath={.items[*].metadata.name}"))
}

// podsComeAndGo: pods are added to a service and taken away while it is asked for all the
// time. Those that end answer until the clients' clusters know (samples/service.yaml).
func podsComeAndGo(t *testing.T, l *lab) {
	scale := func(n int) {
		t.Helper()
		l.kubectl(t, "west", "-n", demo, "scale", "deployment/web", fmt.Sprintf("--replicas=%d", n))
		l.rolledOut(t, "west", demo, "deployment/web")
		eventually(t, time.Minute, "the pods that are too many have ended", func() bool { return len(l.webPods(t)) == n })
	}
	hosts := l.loads(t)
	stop := l.load(t, hosts)
	time.Sleep(2 * time.Second)
	all := l.webPods(t)
	scale(4)
	time.Sleep(3 * time.Second) // the new ones take their part
	all = append(all, l.webPods(t)...)
	scale(1)
	l.kubectl(t, "west", "-n", demo, "rollout", "restart", "deployment/web") // not one of before is left
	l.rolledOut(t, "west", demo, "deployment/web")
	scale(2)
	all = append(all, l.webPods(t)...)
	slices.Sort(all)
	all = slices.Compact(all)
	answered := stop()
	for way := range hosts {
		ours := slices.DeleteFunc(slices.Clone(all), func(pod string) bool { return !slices.Contains(answered[way], pod) })
		t.Logf("by %s: %d of the %d pods that there were in west answered", way, len(ours), len(all))
		if len(ours) < 5 {
			t.Errorf("by %s only %v answered, of %v", way, ours, all)
		}
	}
}

// apiStops: west's whole control plane is powered off while its service is asked for. What
// is known goes on, and a condition in east says that it may be old, until it is back.
func apiStops(t *testing.T, l *lab) {
	synced := func() string {
		return l.kubectl(t, "east", "get", "linkedcluster", "west", "-o", `jsonpath={range .status.conditions[?(@.type=="ServicesSynced")]}{.status} {.message}{end}`)
	}
	stop := l.load(t, l.loads(t))
	time.Sleep(2 * time.Second)
	l.run(t, time.Minute, "lab", "node", "kill", "--name", l.name, "west").must(t)
	on := sync.OnceFunc(func() { l.run(t, time.Minute, "lab", "node", "start", "--name", l.name, "west").must(t) })
	t.Cleanup(on)
	stale := eventually(t, 30*time.Second, "a condition says that services may be old", func() bool {
		return strings.HasPrefix(synced(), "False the mirrored services are kept as they were last seen")
	})
	time.Sleep(8 * time.Second) // longer than any answer of DNS is kept
	on()
	eventually(t, time.Minute, "west's API is back", func() bool {
		return l.operator(t, time.Minute, "kubectl", "--context", "west", "get", "--raw", "/readyz").code == 0
	})
	back := eventually(t, time.Minute, "the condition says that all is known", func() bool { return strings.HasPrefix(synced(), "True ") })
	t.Logf("stale %.1f s after the API's end, in order %.1f s after it was back", stale.Seconds(), back.Seconds())
	stop()
}
