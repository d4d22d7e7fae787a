package files

import (
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

func TestKubeletConfiguration(t *testing.T) {
	text, err := Render("kubelet.yaml.tmpl", map[string]any{"Address": "192.168.50.11", "ClusterDNS": "172.30.0.10"})
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Kind, Address    string
		ClusterDNS       []string
		CrashLoopBackOff struct{ MaxContainerRestartPeriod string }
	}
	if err := yaml.Unmarshal([]byte(text), &got); err != nil {
		t.Fatalf("%v:\n%s", err, text)
	}
	if got.Kind != "KubeletConfiguration" || got.Address != "192.168.50.11" || len(got.ClusterDNS) != 1 || got.CrashLoopBackOff.MaxContainerRestartPeriod != "2s" {
		t.Errorf("got %+v", got)
	}
}

func TestKubeProxyConfiguration(t *testing.T) {
	text, err := Render("kube-proxy.yaml.tmpl", map[string]any{"Name": "east-1", "Pods": "10.128.0.0/14"})
	if err != nil {
		t.Fatal(err)
	}
	var got struct{ Mode, HostnameOverride, ClusterCIDR string }
	if err := yaml.Unmarshal([]byte(text), &got); err != nil || got.Mode != "nftables" || got.HostnameOverride != "east-1" || got.ClusterCIDR != "10.128.0.0/14" {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestContainerdUsesTheLabsPause(t *testing.T) {
	text, err := Render("containerd.toml.tmpl", map[string]any{"PauseImage": "localhost/pause:1", "Tools": "/cache/bin"})
	if err != nil || !strings.Contains(text, `"localhost/pause:1"`) && !strings.Contains(text, `'localhost/pause:1'`) {
		t.Errorf("%v:\n%s", err, text)
	}
}

// A value that a template asks for and does not get is an error, not "<no value>".
func TestMissingValuesAndFilesAreErrors(t *testing.T) {
	for _, name := range []string{"kubelet.yaml.tmpl", "kube-proxy.yaml.tmpl", "containerd.toml.tmpl", "hosts.yml.tmpl", "none.tmpl"} {
		if text, err := Render(name, map[string]any{}); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v\n%s", name, err, text)
		}
	}
}
