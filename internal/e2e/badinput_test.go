package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"text/template"
	"time"
)

// labCluster is what the lab says of a cluster.
type labCluster struct {
	Name, API, OAuth, User, PasswordFile, CAFile string
	Kubeconfig, Password                         string
}

// access gives what inventories need, by cluster.
func (l *lab) access(t *testing.T) map[string]labCluster {
	t.Helper()
	r := l.run(t, time.Minute, "lab", "status", "--name", l.name, "-o", "json")
	r.must(t)
	var status struct {
		Kubeconfig string
		Clusters   []labCluster
	}
	if err := json.Unmarshal([]byte(r.out), &status); err != nil {
		t.Fatal(err)
	}
	found := map[string]labCluster{}
	for _, c := range status.Clusters {
		password, err := os.ReadFile(c.PasswordFile)
		if err != nil {
			t.Fatal(err)
		}
		c.Kubeconfig, c.Password = status.Kubeconfig, strings.TrimSpace(string(password))
		found[c.Name] = c
	}
	return found
}

// inventory writes an inventory from a template over the clusters.
func (l *lab) inventory(t *testing.T, text string) string {
	t.Helper()
	return l.inventoryOf(t, text, l.access(t))
}

// inventoryOf is inventory over other clusters than the lab's.
func (l *lab) inventoryOf(t *testing.T, text string, clusters map[string]labCluster) string {
	t.Helper()
	var b strings.Builder
	if err := template.Must(template.New("").Parse(text)).Execute(&b, clusters); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "hosts.yml")
	if err := os.WriteFile(file, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

const twoClusters = `
clusters:
  vars: {ansible_connection: local, kubeconfig: "{{.east.Kubeconfig}}"}
  hosts:
    east: {kube_context: east}
    west: {kube_context: west}
`

// badInput: each case stops before the first change and says cluster, field and remedy.
func badInput(t *testing.T, l *lab) {
	for _, c := range []struct {
		name, inventory string
		args            []string
		want            []string
	}{
		{name: "the same networks twice", inventory: `
clusters:
  vars: {ansible_connection: local, kubeconfig: "{{.east.Kubeconfig}}", kube_context: east}
  hosts: {east: {}, twin: {}}`,
			want: []string{"twin: podCIDRs[0]: 10.128.0.0/14 overlaps", "twin: serviceCIDRs[0]", "give one of the clusters other CIDRs"}},
		{name: "a name that is no DNS label", inventory: `
clusters:
  vars: {ansible_connection: local, kubeconfig: "{{.east.Kubeconfig}}"}
  hosts: {East_1: {kube_context: east}, west: {kube_context: west}}`,
			want: []string{"East_1", "name"}},
		{name: "an API server that does not answer", inventory: `
clusters:
  vars: {ansible_connection: local}
  hosts:
    east: {kubeconfig: "{{.east.Kubeconfig}}", kube_context: east}
    west: {url: "https://192.168.60.10:9999", username: admin, password: x}`,
			want: []string{"cluster west", "unreachable API server", "https://192.168.60.10:9999", "url"}},
		{name: "a wrong password", inventory: `
clusters:
  vars: {ansible_connection: local}
  hosts:
    east: {url: "{{.east.OAuth}}", username: admin, password: not-the-password, ca_file: "{{.east.CAFile}}"}
    west: {kubeconfig: "{{.east.Kubeconfig}}", kube_context: west}`,
			want: []string{"cluster east", "bad credentials", "username, password"}},
		{name: "a certificate that nobody vouches for", inventory: `
clusters:
  vars: {ansible_connection: local}
  hosts:
    east: {url: "{{.east.OAuth}}", username: admin, password: "{{.east.Password}}"}
    west: {kubeconfig: "{{.east.Kubeconfig}}", kube_context: west}`,
			want: []string{"cluster east", "untrusted certificate", "ca_file"}},
		{name: "a name given twice", inventory: `
all:
  vars:
    clusters:
      - {name: east, kubeconfig: "{{.east.Kubeconfig}}", context: east}
      - {name: east, kubeconfig: "{{.east.Kubeconfig}}", context: west}`,
			want: []string{"clusters[].name", "east, east", "give each cluster a name of its own"}},
		{name: "no cluster at all", inventory: "clusters: {hosts: {}}", want: []string{"names no clusters"}},
		{name: "a tunnel port of the SDN's", inventory: twoClusters, args: []string{"-e", "tunnel_port=4789"}, want: []string{"tunnel_port", "4789"}},
		{name: "a tunnel pool inside a pod network", inventory: twoClusters, args: []string{"-e", "tunnel_pool=10.130.0.0/16"},
			want: []string{"tunnel_pool", "overlaps the tunnel pool 10.130.0.0/16"}},
		{name: "static endpoints of some nodes only", inventory: twoClusters,
			args: []string{"-e", `{"service_type": "Static", "static_endpoints": {"east-1": "192.168.50.11", "nobody": "192.0.2.1"}}`},
			want: []string{"static_endpoints", "nobody", "west-1"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			out := l.refusedUntouched(t, l.inventory(t, c.inventory), c.args, c.want...)
			if strings.Contains(out, "not-the-password") {
				t.Error("the password is in the output")
			}
		})
	}
}

// refused: a deploy fails, and what it prints has all of want.
func (l *lab) refused(t *testing.T, inventory string, args []string, want ...string) (out string) {
	t.Helper()
	r := l.tunnel(t, 3*time.Minute, append([]string{"deploy", "-i", inventory}, args...)...)
	if r.code == 0 {
		t.Errorf("the deploy went through:\n%s", tail(r.out, 20))
	}
	for _, w := range want {
		if !strings.Contains(r.out, w) {
			t.Errorf("the message does not say %q:\n%s", w, tail(r.out, 40))
		}
	}
	t.Logf("said after %.1f s", r.took.Seconds())
	return r.out
}

// refusedUntouched is refused before anything was changed in any of the lab's clusters.
func (l *lab) refusedUntouched(t *testing.T, inventory string, args []string, want ...string) (out string) {
	t.Helper()
	mark := l.auditMark(t)
	out = l.refused(t, inventory, args, want...)
	if writes := l.writesSince(t, mark); len(writes) > 0 {
		t.Errorf("something was changed:\n%s", strings.Join(writes, "\n"))
	}
	return out
}

// userAndPassword: the list form of the inventory with OpenShift's login plans and
// verifies, and leaves no token behind.
func userAndPassword(t *testing.T, l *lab) {
	list := l.inventory(t, `
all:
  vars:
    clusters:
      - {name: east, url: "{{.east.OAuth}}", username: admin, password: "{{.east.Password}}", ca_file: "{{.east.CAFile}}"}
      - {name: west, url: "{{.west.OAuth}}", username: admin, password: "{{.west.Password}}", ca_file: "{{.west.CAFile}}"}
    tunnel_prot: 5555
`)
	r := l.tunnel(t, 2*time.Minute, "deploy", "-i", list, "--check", "--verbose")
	r.must(t)
	if !strings.Contains(unwrapped(r.out+r.diag), "did you mean tunnel_port?") {
		t.Errorf("no warning of an unknown variable:\n%s\n%s", tail(r.out, 20), tail(r.diag, 20))
	}
	l.tunnel(t, time.Minute, "plan", "-i", list).must(t)
	for name, c := range l.access(t) {
		if strings.Contains(r.out, c.Password) {
			t.Errorf("the password of %s is in the output", name)
		}
	}
}

// unwrapped undoes Ansible's line breaks in warnings.
func unwrapped(s string) string { return strings.Join(strings.Fields(s), " ") }
