package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// withoutWest is the inventory of both clusters, with an API of west that nobody serves.
const withoutWest = `
clusters:
  vars: {ansible_connection: local, kubeconfig: "{{.east.Kubeconfig}}"}
  hosts:
    east: {kube_context: east}
    west: {kubeconfig: "{{.west.Kubeconfig}}"}
`

// apiAway: with the API of west away every verb names it, and a remedy; none changes
// anything in either cluster. All at once: each waits for the same answer.
func apiAway(t *testing.T, l *lab) {
	access := l.access(t)
	away := access["west"]
	away.Kubeconfig = l.unserved(t, "west")
	access["west"] = away
	inventory := l.inventoryOf(t, withoutWest, access)
	mark := l.auditMark(t)
	var verbs sync.WaitGroup
	for _, v := range []struct {
		args []string
		code int
	}{
		{[]string{"plan"}, 1},
		{[]string{"deploy"}, 2},
		{[]string{"deploy", "--check"}, 2},
		{[]string{"verify"}, 1},
		{[]string{"teardown", "--yes"}, 2},
		{[]string{"status"}, 2},
		{[]string{"graph"}, 0}, // of what can be read
		{[]string{"gather", "-o", filepath.Join(t.TempDir(), "gathered.tar.gz")}, 1},
	} {
		verbs.Go(func() {
			r := l.tunnel(t, 2*time.Minute, append(v.args, "-i", inventory)...)
			verb := strings.Join(v.args, " ")
			t.Logf("%s: exit %d after %.1f s", verb, r.code, r.took.Seconds())
			said := r.out + r.diag
			if r.code != v.code || !strings.Contains(said, "west") || !strings.Contains(said, "connection refused") {
				t.Errorf("%s: exit %d, want %d and a word on west:\n%s", verb, r.code, v.code, tail(said, 30))
			}
			if v.code != 0 && !strings.Contains(said, "check ") {
				t.Errorf("%s: no remedy:\n%s", verb, tail(said, 30))
			}
		})
	}
	verbs.Wait()
	if writes := l.writesSince(t, mark); len(writes) > 0 {
		t.Errorf("something was changed:\n%s", strings.Join(writes, "\n"))
	}
}

// apiGoes: it goes away in the middle of a deploy, which says so. What is done by then
// stays, and is as good as any beginning for the next deploy.
func apiGoes(t *testing.T, l *lab) {
	nft := func(command string) {
		l.operator(t, time.Minute, "nft", command).must(t)
	}
	cut := false
	said, play, err := l.deployUntil(t, "Controller", func(*os.Process) {
		nft("table inet cut { chain output { type filter hook output priority 0; ip daddr 192.168.60.10 tcp dport 6443 reject with tcp reset; }; }")
		cut = true
	})
	if cut {
		nft("delete table inet cut")
	}
	t.Logf("ended in %q: %v", play, err)
	for _, want := range []string{"cluster west: ", "192.168.60.10:6443", "== What was changed so far, and stays", "== To go on:"} {
		if err == nil || !strings.Contains(said, want) {
			t.Errorf("%v; the message does not say %q:\n%s", err, want, tail(said, 30))
		}
	}
	l.released(t)
}

// unserved is a kubeconfig of a cluster with an address where nobody listens.
func (l *lab) unserved(t *testing.T, cluster string) string {
	t.Helper()
	text := l.kubectl(t, cluster, "config", "view", "--minify", "--flatten", "--raw")
	const server = "https://192.168.60.10:6443"
	if !strings.Contains(text, server) {
		t.Fatalf("no server %s in the kubeconfig of %s", server, cluster)
	}
	file := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(text, server, "https://127.0.0.1:6443")), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
