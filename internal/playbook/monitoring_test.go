package playbook

import (
	"encoding/json"
	"os"
	osexec "os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sdn-tunnel/sdn-tunnel/internal/apitest"
)

// operator has the definitions that the role is tried with.
const operator = "github.com/prometheus-operator/prometheus-operator@v0.85.0"

// definitions are the operator's own.
func definitions(t *testing.T) (files []string) {
	t.Helper()
	download := func() ([]byte, error) { return osexec.Command("go", "mod", "download", "-json", operator).Output() }
	out, err := download()
	for tries := 1; err != nil && tries < 3; tries++ {
		time.Sleep(5 * time.Second) // it comes from a server that may be busy
		out, err = download()
	}
	if err != nil {
		t.Fatalf("download %s: %v\n%s", operator, err, out)
	}
	var module struct{ Dir string }
	if err := json.Unmarshal(out, &module); err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{"podmonitors", "prometheusrules", "servicemonitors"} {
		files = append(files, filepath.Join(module.Dir, "example", "prometheus-operator-crd", "monitoring.coreos.com_"+kind+".yaml"))
	}
	return files
}

// monitoringPlay runs the role on a cluster.
const monitoringPlay = `
- hosts: localhost
  connection: local
  gather_facts: false
  tasks:
    - name: Role
      ansible.builtin.include_role: {name: monitoring}
      vars: {monitoring_cluster: east, monitoring_access: {kubeconfig: "{{ kubeconfig }}"}}
`

// monitored tries the role on one cluster.
type monitored struct {
	kubeconfig, play string
	client           client.Client
}

func newMonitored(t *testing.T, crds ...string) monitored {
	t.Helper()
	if _, err := osexec.LookPath("ansible-playbook"); err != nil {
		t.Skip("needs ansible-playbook in PATH")
	}
	s := apitest.Start(t, crds...)
	m := monitored{kubeconfig: s.Kubeconfig(t, s.Config), play: filepath.Join(t.TempDir(), "play.yml"), client: s.Client(t, corev1.AddToScheme)}
	if err := os.WriteFile(m.play, []byte(monitoringPlay), 0o600); err != nil {
		t.Fatal(err)
	}
	namespace := &corev1.Namespace{}
	namespace.Name = "sdn-tunnel"
	if err := m.client.Create(t.Context(), namespace); err != nil {
		t.Fatal(err)
	}
	return m
}

// run gives what Ansible said.
func (m monitored) run(t *testing.T, args ...string) (string, error) {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	cmd := osexec.CommandContext(t.Context(), "ansible-playbook", append([]string{"-i", "localhost,", m.play, "-e", "kubeconfig=" + m.kubeconfig}, args...)...)
	cmd.Env = append(os.Environ(), "ANSIBLE_ROLES_PATH="+filepath.Join(root, "roles"), "ANSIBLE_LIBRARY="+filepath.Join(root, "playbooks", "library"),
		"ANSIBLE_LOCALHOST_WARNING=False", "ANSIBLE_INVENTORY_UNPARSED_WARNING=False")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// made are the names of all that there is, by kind.
func (m monitored) made(t *testing.T) (all string) {
	t.Helper()
	for _, kind := range []string{"PodMonitor", "PrometheusRule", "ServiceMonitor"} {
		list := &unstructured.UnstructuredList{}
		list.SetAPIVersion("monitoring.coreos.com/v1")
		list.SetKind(kind + "List")
		if err := m.client.List(t.Context(), list); err != nil {
			t.Fatal(err)
		}
		for _, o := range list.Items {
			if o.GetDeletionTimestamp() != nil {
				continue // nothing here collects garbage
			}
			all += kind + "/" + o.GetName() + " "
		}
	}
	maps := &corev1.ConfigMapList{}
	if err := m.client.List(t.Context(), maps, client.InNamespace("sdn-tunnel"), client.MatchingLabels{"grafana_dashboard": "1"}); err != nil {
		t.Fatal(err)
	}
	for _, c := range maps.Items {
		if c.DeletionTimestamp != nil {
			continue
		}
		if !json.Valid([]byte(c.Data["sdn-tunnel.json"])) {
			t.Errorf("the dashboard is no JSON: %.80s", c.Data["sdn-tunnel.json"])
		}
		all += "ConfigMap/" + c.Name
	}
	return all
}

// TestMonitoring: with the operator's definitions monitors, rules and the dashboard are made,
// once, with all that the rules have; and they go again.
func TestMonitoring(t *testing.T) {
	m := newMonitored(t, definitions(t)...)
	const scraped = "PodMonitor/sdn-tunnel-agent PodMonitor/sdn-tunnel-controller PrometheusRule/sdn-tunnel ServiceMonitor/sdn-tunnel-dns ConfigMap/sdn-tunnel-dashboard"
	for _, step := range []struct {
		what, says, made string
		args             []string
	}{
		{"check mode tells and writes nothing", "changed=1", "", []string{"--check"}},
		{"agents that only the node reaches are left out", "changed=1", strings.TrimPrefix(scraped, "PodMonitor/sdn-tunnel-agent "), nil},
		{"agents that are open are scraped", "changed=1", scraped, []string{"-e", "agent_metrics_address=0.0.0.0:9655"}},
		{"twice changes nothing", "changed=0", scraped, []string{"-e", "agent_metrics_address=0.0.0.0:9655"}},
		{"it is taken away", "changed=1", "", []string{"-e", `{"monitoring": false}`}},
	} {
		out, err := m.run(t, step.args...)
		if err != nil || !strings.Contains(out, step.says) {
			t.Fatalf("%s: %v\n%s", step.what, err, out)
		}
		if got := m.made(t); got != step.made {
			t.Errorf("%s: there is %s", step.what, got)
		}
		if step.made != scraped {
			continue
		}
		rule := &unstructured.Unstructured{}
		rule.SetAPIVersion("monitoring.coreos.com/v1")
		rule.SetKind("PrometheusRule")
		if err := m.client.Get(t.Context(), client.ObjectKey{Namespace: "sdn-tunnel", Name: "sdn-tunnel"}, rule); err != nil {
			t.Fatal(err)
		}
		if text, _ := rule.MarshalJSON(); !strings.Contains(string(text), "The node {{ $labels.instance }} has no peer") {
			t.Errorf("the rules are %.300s", text)
		}
	}
}

// TestMonitoringWithoutOperator: where there is none nothing is made, and that is said; who
// asks for it is told what is missing.
func TestMonitoringWithoutOperator(t *testing.T) {
	m := newMonitored(t)
	for _, check := range []string{"--check", "--diff"} {
		out, err := m.run(t, check)
		if err != nil || !strings.Contains(out, "changed=0") || !strings.Contains(strings.Join(strings.Fields(out), " "), "does not have PodMonitor of monitoring.coreos.com/v1") {
			t.Errorf("%v\n%s", err, out)
		}
	}
	if out, err := m.run(t, "-e", "monitoring=true"); err == nil || !strings.Contains(out, "PodMonitor") {
		t.Errorf("%v\n%s", err, out)
	}
	if out, err := m.run(t, "-e", "monitoring=false"); err != nil || !strings.Contains(out, "changed=0") {
		t.Errorf("%v\n%s", err, out)
	}
}
