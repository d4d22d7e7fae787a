package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"text/template"
	"time"
)

// pod is one running pod of the tests.
type pod struct{ name, address, pid string }

var namespaces = []string{"open", "isolated"}

// pods starts the tests' pods in both clusters and waits for them.
func (l *lab) pods(t *testing.T) {
	t.Helper()
	text, err := os.ReadFile("testdata/pods.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	err = template.Must(template.New("pods").Parse(string(text))).Execute(&b,
		map[string]any{"Namespaces": namespaces, "Image": "localhost/sdn-tunnel/test-app:dev"})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "pods.yaml")
	if err := os.WriteFile(file, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range clusters {
		l.kubectl(t, c, "apply", "-f", file)
	}
	for _, c := range clusters {
		for _, ns := range namespaces {
			l.kubectl(t, c, "-n", ns, "rollout", "status", "daemonset/app", "--timeout=90s")
		}
	}
}

// removePods takes the tests' pods away again.
func (l *lab) removePods(t *testing.T) {
	t.Helper()
	for _, c := range clusters {
		l.kubectl(t, c, append([]string{"delete", "namespace", "--ignore-not-found"}, namespaces...)...)
	}
}

// pod finds the pod of a namespace on a node, and a process of it.
func (l *lab) pod(t *testing.T, namespace, node string) pod {
	t.Helper()
	cluster, _, _ := strings.Cut(node, "-")
	out := l.kubectl(t, cluster, "-n", namespace, "get", "pods", "--field-selector", "spec.nodeName="+node,
		"-o", "jsonpath={.items[0].metadata.name} {.items[0].status.podIP}")
	f := strings.Fields(out)
	if len(f) != 2 {
		t.Fatalf("pod of %s on %s: %q", namespace, node, out)
	}
	r := l.node(t, node, fmt.Sprintf(`for p in $(pgrep -x test-app); do
		nsenter -t $p -n ip -4 -o addr show dev eth0 | grep -q ' %s/' && echo $p && exit; done; exit 1`, f[1]))
	r.must(t)
	return pod{name: f[0], address: f[1], pid: strings.TrimSpace(r.out)}
}

// ping tells whether from, a pod on node, reaches an address.
func (l *lab) ping(t *testing.T, node string, from pod, address string) bool {
	t.Helper()
	return l.node(t, node, "nsenter -t "+from.pid+" -n ping -q -c 2 -i 0.2 -W 1 "+address).code == 0
}

// policy: an isolated namespace still gets the replies to what it asks, and still
// refuses what the SDN's policy refuses.
func policy(t *testing.T, l *lab, mode string) {
	l.pods(t)
	if mode == "networkpolicy" {
		for _, c := range clusters {
			l.kubectl(t, c, "apply", "-f", filepath.Join(l.root, "internal/e2e/testdata/isolate.yaml"))
		}
	}
	open, isolated := l.pod(t, "open", "east-1"), l.pod(t, "isolated", "east-1")
	remote, remoteIsolated := l.pod(t, "open", "west-1"), l.pod(t, "isolated", "west-1")
	if !l.ping(t, "east-1", open, remote.address) {
		t.Error("open -> remote open: no answer")
	}
	if !l.ping(t, "east-1", isolated, remote.address) {
		t.Error("isolated -> remote open: no answer, though replies are not refused by policy")
	}
	if mode == "networkpolicy" {
		eventually(t, 10*time.Second, "open -> remote isolated is refused", func() bool {
			return !l.ping(t, "east-1", open, remoteIsolated.address)
		})
	}
	// A pod cannot send with the address of another.
	r := l.node(t, "east-1", "nsenter -t "+open.pid+" -n sh -c 'ip addr add "+isolated.address+"/32 dev lo && "+
		"ping -q -c 2 -i 0.2 -W 1 -I "+isolated.address+" "+remote.address+"; rc=$?; ip addr del "+isolated.address+"/32 dev lo; exit $rc'")
	if r.code == 0 {
		t.Error("a pod got answers under the address of another")
	}
}

// between selects what passes between the clusters' segments: what stays inside one, as
// the SDN's own vxlan does, is that cluster's.
const between = "not (src net 192.168.50.0/24 and dst net 192.168.50.0/24) and not (src net 192.168.60.0/24 and dst net 192.168.60.0/24)"

// capture records what passes between the clusters' segments until it is called.
func (l *lab) capture(t *testing.T) (stop func() string) {
	t.Helper()
	cmd := exec.Command("nsenter", "--net=/run/netns/"+l.name+"-router",
		"tcpdump", "-i", "any", "-nn", "-t", "-l", "not arp and not tcp port 6443 and not tcp port 22 and "+between)
	var out bytes.Buffer
	cmd.Stdout = &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(500 * time.Millisecond)
	return func() string {
		time.Sleep(500 * time.Millisecond)
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Wait()
		return out.String()
	}
}

// auditMark gives how far each cluster's audit log is.
func (l *lab) auditMark(t *testing.T) map[string]int64 {
	t.Helper()
	mark := map[string]int64{}
	for _, c := range clusters {
		st, err := os.Stat(l.auditLog(c))
		if err != nil {
			t.Fatal(err)
		}
		mark[c] = st.Size()
	}
	return mark
}

func (l *lab) auditLog(cluster string) string {
	return filepath.Join(l.StateDir, "clusters", cluster, "log", "audit.log")
}

// writesSince gives the requests of administrators that changed something since mark.
func (l *lab) writesSince(t *testing.T, mark map[string]int64) []string {
	t.Helper()
	var writes []string
	for c, at := range mark {
		data, err := os.ReadFile(l.auditLog(c))
		if err != nil {
			t.Fatal(err)
		}
		for line := range bytes.Lines(data[at:]) {
			var e struct {
				Verb       string `json:"verb"`
				RequestURI string `json:"requestURI"`
				Stage      string `json:"stage"`
				User       struct {
					Username string   `json:"username"`
					Groups   []string `json:"groups"`
				} `json:"user"`
			}
			if err := json.Unmarshal(line, &e); err != nil {
				continue // a line that is being written
			}
			switch e.Verb {
			case "create", "update", "patch", "delete", "deletecollection":
			default:
				continue
			}
			if strings.Contains(e.RequestURI, "dryRun=All") || strings.HasPrefix(e.User.Username, "system:") ||
				strings.Contains(e.RequestURI, "selfsubject") {
				continue
			}
			writes = append(writes, fmt.Sprintf("%s: %s %s %s", c, e.User.Username, e.Verb, e.RequestURI))
		}
	}
	return writes
}
