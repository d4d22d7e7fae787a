package lab

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/client-go/tools/clientcmd"

	"github.com/sdn-tunnel/sdn-tunnel/internal/golden"
	"github.com/sdn-tunnel/sdn-tunnel/internal/lab/layout"
	"github.com/sdn-tunnel/sdn-tunnel/internal/lab/pki"
)

// newLab is a lab of two clusters in a folder of the test.
func newLab(t *testing.T) *Lab {
	t.Helper()
	plan, err := layout.New(layout.Config{Name: "lab", Clusters: 2, Nodes: 2, SDNMode: layout.ModeNetworkPolicy, StateDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	return &Lab{Lab: plan}
}

// checkGolden compares text with a file of testdata, in which $STATE is the lab's folder.
func checkGolden(t *testing.T, l *Lab, name, text string) {
	t.Helper()
	golden.Check(t, name, strings.ReplaceAll(text, l.StateDir, "$STATE"))
}

func TestInventory(t *testing.T) {
	l := newLab(t)
	if err := l.writeInventory(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(l.InventoryPath())
	if err != nil {
		t.Fatal(err)
	}
	checkGolden(t, l, "hosts.yml", string(text))
}

// TestKubeconfig merges what each control plane got, and nothing is left to a file.
func TestKubeconfig(t *testing.T) {
	l := newLab(t)
	for _, c := range l.Clusters {
		one, err := kubeconfig(c.Name, c.APIURL(), []byte("authority of "+c.Name), pki.Pair{Cert: []byte("certificate"), Key: []byte("key")})
		if err != nil {
			t.Fatal(err)
		}
		folder := filepath.Join(l.controlPlaneDir(c), "pki")
		if err := os.MkdirAll(folder, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(folder, "admin.kubeconfig"), one, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.mergeKubeconfigs(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(l.KubeconfigPath())
	if err != nil {
		t.Fatal(err)
	}
	checkGolden(t, l, "kubeconfig", string(text))
	merged, err := clientcmd.Load(text)
	if err != nil {
		t.Fatal(err)
	}
	if got := merged.Contexts["west"]; got == nil || merged.Clusters[got.Cluster].Server != "https://192.168.60.10:6443" {
		t.Errorf("context west: %+v", got)
	}
}

func TestSSHKnowsEveryNode(t *testing.T) {
	l := newLab(t)
	if err := l.writeSSH(); err != nil {
		t.Fatal(err)
	}
	known, err := os.ReadFile(l.path("ssh", "known_hosts"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range l.Clusters {
		for _, n := range c.Nodes {
			if !strings.Contains(string(known), n.Address.String()+","+n.Name+" ssh-ed25519 ") {
				t.Errorf("known_hosts lacks %s:\n%s", n.Name, known)
			}
		}
	}
	if st, err := os.Stat(l.SSHKeyPath()); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("the users' key: %v, %v; want mode 0600", st, err)
	}
}

func TestFindSource(t *testing.T) {
	root := t.TempDir()
	deep := filepath.Join(root, "tree", "internal", "lab")
	if err := os.MkdirAll(deep, 0o700); err != nil {
		t.Fatal(err)
	}
	write := func(dir, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, "go.mod"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(filepath.Join(root, "tree"), "// a comment\nmodule github.com/sdn-tunnel/sdn-tunnel\n\ngo 1.26\n")
	write(deep, "module example.com/another\n")
	for name, starts := range map[string][]string{
		"from below another module": {deep},
		"from the root itself":      {filepath.Join(root, "tree")},
		"from the second start":     {root, deep},
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := findSource(starts...); err != nil || got != filepath.Join(root, "tree") {
				t.Errorf("found %q, %v", got, err)
			}
		})
	}
	if got, err := findSource(root); err == nil {
		t.Errorf("found %q outside the source tree", got)
	}
}

func TestLacking(t *testing.T) {
	without := func(names ...string) func(string) (string, error) {
		return func(p string) (string, error) {
			for _, n := range names {
				if n == p {
					return "", errors.New("not found")
				}
			}
			return "/usr/bin/" + p, nil
		}
	}
	if err := lacking(without()); err != nil {
		t.Errorf("nothing is missing: %v", err)
	}
	err := lacking(without("ovs-vswitchd", "ovs-vsctl", "nft"))
	if err == nil || err.Error() != "the lab needs nft, ovs-vsctl, ovs-vswitchd, not found in PATH: on Debian, apt install nftables openvswitch-switch" {
		t.Errorf("got %v", err)
	}
}

func TestAbsentLabsAreTold(t *testing.T) {
	dir := t.TempDir()
	none := absent("x", filepath.Join(dir, "none"), os.ErrNotExist)
	if !errors.Is(none, ErrNone) || !strings.Contains(none.Error(), "lab up --name x") {
		t.Errorf("no lab: %v", none)
	}
	if half := absent("x", dir, os.ErrNotExist); errors.Is(half, ErrNone) || !strings.Contains(half.Error(), "lab down --name x") {
		t.Errorf("a lab without a record: %v", half)
	}
	if denied := absent("x", dir, os.ErrPermission); !strings.Contains(denied.Error(), "root") {
		t.Errorf("no permission: %v", denied)
	}
}

func TestTarName(t *testing.T) {
	for ref, want := range map[string]string{
		agentImage + "v1.2.3": "agent.tar", controllerImage + "dev": "controller.tar", testAppImage + "dev": "test-app.tar",
	} {
		if got := tarName(ref); got != want {
			t.Errorf("%s: %s, want %s", ref, got, want)
		}
	}
}
