package cli

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/sdn-tunnel/sdn-tunnel/internal/apitest"
	"github.com/sdn-tunnel/sdn-tunnel/internal/kubeaccess"
)

// TestKubectl: the commands of remedies are for the cluster that the inventory means.
func TestKubectl(t *testing.T) {
	t.Setenv("KUBECONFIG", "/etc/kube/both.yaml")
	for want, args := range map[string]kubeaccess.Args{
		"kubectl": {},
		"kubectl --context default/api-east:6443/me":     {Context: "default/api-east:6443/me"},
		"kubectl --context east":                         {Kubeconfig: "/etc/kube/both.yaml", Context: "east"},
		"kubectl --kubeconfig /etc/east --context a":     {Kubeconfig: "/etc/east", Context: "a"},
		`kubectl --kubeconfig '/etc/it'\''s east'`:       {Kubeconfig: "/etc/it's east"},
		"kubectl --server https://api.east.example:6443": {URL: "https://api.east.example:6443", Username: "me", Password: "secret"},
	} {
		if got := kubectl(args); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

// TestDiagnoseExitCodes: what is not understood, or cannot be read, is 2, a fault is 1.
func TestDiagnoseExitCodes(t *testing.T) {
	s := apitest.Start(t)
	east := s.Kubeconfig(t, s.Config)
	alone, both := inventoryOf(t, map[string]string{"east": east}), inventoryOf(t, map[string]string{"east": east, "west": kubeconfig(t)})
	for _, c := range []struct {
		name string
		args []string
		code int
		says string
	}{
		{"no such format", []string{"-i", alone, "-o", "xml"}, 2, "table, json or yaml"},
		{"one word", []string{"-i", alone, "east/shop/web-0"}, 2, "nothing for the whole mesh"},
		{"no pod's name", []string{"-i", alone, "web-0", "west/shop/db-0"}, 2, "CLUSTER/NAMESPACE/NAME"},
		{"no such cluster", []string{"-i", alone, "north/shop/web-0", "east/shop/db-0"}, 2, `cluster "north" is not in the inventory`},
		{"a cluster that does not answer", []string{"-i", both, "--timeout", "2s", "west/shop/web-0", "east/shop/db-0"}, 2, "cluster west: its API cannot be read"},
		{"a port out of range", []string{"-i", alone, "--port", "70000"}, 2, "--port 70000"},
		{"UDP without port", []string{"-i", alone, "--udp"}, 2, "which --port"},
		{"no such pods", []string{"-i", alone, "east/shop/web-0", "east/shop/db-0"}, 1, "there is none"},
		{"not deployed", []string{"-i", alone}, 1, "not deployed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			out, err := run(t, append([]string{"diagnose"}, c.args...)...)
			if code := ExitCode(err, false); code != c.code || err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("exit %d with %v, want %d with %q\n%s", code, err, c.code, c.says, out)
			}
		})
	}
}

// TestDiagnoseFormats: JSON and YAML have the finding.
func TestDiagnoseFormats(t *testing.T) {
	s := apitest.Start(t)
	alone := inventoryOf(t, map[string]string{"east": s.Kubeconfig(t, s.Config)})
	for _, format := range []string{"json", "yaml"} {
		out, err := run(t, "diagnose", "-i", alone, "-o", format)
		if code := ExitCode(err, false); code != 1 {
			t.Errorf("%s: exit %d", format, code)
		}
		if format == "json" {
			var d struct{ First struct{ Code string } }
			if err := json.Unmarshal([]byte(out), &d); err != nil || d.First.Code != "not-deployed" {
				t.Errorf("%v: %s", err, out)
			}
		} else if !strings.Contains(out, "code: not-deployed") {
			t.Errorf("%s", out)
		}
	}
}
