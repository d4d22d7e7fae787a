package manifests

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

func values() Values {
	return Values{
		CoreDNSImage: "localhost/coredns:1", MetalLBControllerImage: "localhost/controller:1", MetalLBSpeakerImage: "localhost/speaker:1",
		DNSAddress: netip.MustParseAddr("172.30.0.10"),
		PoolFirst:  netip.MustParseAddr("192.168.50.200"), PoolLast: netip.MustParseAddr("192.168.50.250"),
	}
}

func TestRender(t *testing.T) {
	objects, err := Render(values())
	if err != nil {
		t.Fatal(err)
	}
	have := map[string]*unstructured.Unstructured{}
	for _, o := range objects {
		have[o.GetKind()+" "+o.GetNamespace()+"/"+o.GetName()] = o
	}
	for _, tc := range []struct{ object, want string }{
		{"Deployment metallb-system/controller", "localhost/controller:1"},
		{"DaemonSet metallb-system/speaker", "localhost/speaker:1"},
	} {
		o := have[tc.object]
		if o == nil {
			t.Errorf("no %s", tc.object)
			continue
		}
		containers, _, _ := unstructured.NestedSlice(o.Object, "spec", "template", "spec", "containers")
		if c := containers[0].(map[string]any); c["image"] != tc.want || c["imagePullPolicy"] != "Never" {
			t.Errorf("%s runs %v, pulled %v; want %s, Never", tc.object, c["image"], c["imagePullPolicy"], tc.want)
		}
	}
	var pool bool
	for _, o := range objects {
		addresses, _, _ := unstructured.NestedStringSlice(o.Object, "spec", "addresses")
		pool = pool || o.GetKind() == "IPAddressPool" && len(addresses) == 1 && addresses[0] == "192.168.50.200-192.168.50.250"
	}
	if !pool {
		t.Error("no pool of the cluster's addresses")
	}
}

// Namespaces come before what is in them, so that one pass makes all.
func TestNamespacesComeFirst(t *testing.T) {
	objects, err := Render(values())
	if err != nil {
		t.Fatal(err)
	}
	made := map[string]bool{"": true, "kube-system": true, "default": true}
	for _, o := range objects {
		if o.GetKind() == "Namespace" {
			made[o.GetName()] = true
		}
		if !made[o.GetNamespace()] {
			t.Errorf("%s %s comes before its namespace %s", o.GetKind(), o.GetName(), o.GetNamespace())
		}
	}
}

func TestReadFolder(t *testing.T) {
	dir := t.TempDir()
	if _, err := readFolder(dir); err == nil || !strings.Contains(err.Error(), dir) {
		t.Errorf("an empty folder: %v", err)
	}
	file := filepath.Join(dir, "two.yaml")
	if err := os.WriteFile(file, []byte("{apiVersion: v1, kind: A, metadata: {name: a}}\n---\n---\n{apiVersion: v1, kind: B, metadata: {name: b}}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := readFolder(dir); err != nil || len(got) != 2 {
		t.Errorf("%d objects, %v; want 2", len(got), err)
	}
	if err := os.WriteFile(file, []byte("kind: [\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := readFolder(dir); err == nil || !strings.Contains(err.Error(), "two.yaml") {
		t.Errorf("a broken file: %v", err)
	}
}
