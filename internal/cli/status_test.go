package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	sdntunnel "github.com/sdn-tunnel/sdn-tunnel"
	"github.com/sdn-tunnel/sdn-tunnel/api/v1alpha1"
	"github.com/sdn-tunnel/sdn-tunnel/internal/apitest"
)

// inventoryOf is an inventory of clusters by the paths of their kubeconfigs.
func inventoryOf(t *testing.T, kubeconfigs map[string]string) string {
	t.Helper()
	if _, err := exec.LookPath("ansible-playbook"); err != nil {
		t.Skip("needs ansible-playbook in PATH")
	}
	text := "clusters:\n  hosts:\n"
	for name, path := range kubeconfigs {
		text += fmt.Sprintf("    %s: {kubeconfig: %s}\n", name, path)
	}
	path := filepath.Join(t.TempDir(), "hosts.yml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// status is what the tests read of `status -o json`.
type status struct {
	OK       bool `json:"ok"`
	Clusters []struct {
		Name     string `json:"name"`
		Health   string `json:"health"`
		Error    string `json:"error"`
		Problems []struct{ Object, Message string }
	} `json:"clusters"`
}

// TestStatusExitCodes: 1 where something is wrong, 2 where that cannot be known, and what
// could be read is shown all the same.
func TestStatusExitCodes(t *testing.T) {
	s := apitest.Start(t)
	east := s.Kubeconfig(t, s.Config)
	alone, both := inventoryOf(t, map[string]string{"east": east}), inventoryOf(t, map[string]string{"east": east, "west": kubeconfig(t)})
	for _, c := range []struct {
		name string
		args []string
		code int
		says string
	}{
		{"not deployed", []string{"-i", alone}, ExitFailed, "sdn-tunnel is not deployed there"},
		{"one does not answer", []string{"-i", both}, ExitBlind, "1 of 2 clusters could not be read"},
		{"one does not answer, YAML", []string{"-i", both, "-o", "yaml"}, ExitBlind, "health: unknown"},
		{"bad format", []string{"-i", alone, "-o", "xml"}, ExitBlind, ""},
		{"no inventory", []string{"-i", "/nowhere"}, ExitBlind, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			out, err := run(t, append([]string{"status"}, c.args...)...)
			if code := ExitCode(err, false); code != c.code || !strings.Contains(out, c.says) {
				t.Errorf("exit code %d, want %d: %v\n%s", code, c.code, err, out)
			}
		})
	}
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"-i", both, "--nodes"}, 0, "</svg>"},
		{[]string{"-i", both, "-o", "mermaid"}, 0, ":::unknown"},
		{[]string{"-i", inventoryOf(t, map[string]string{"west": kubeconfig(t)})}, ExitBlind, ""},
		{[]string{"-i", both, "-o", "png"}, ExitBlind, ""},
	} {
		out, err := run(t, append([]string{"graph"}, c.args...)...)
		if code := ExitCode(err, false); code != c.code || !strings.Contains(out, c.says) {
			t.Errorf("graph %v: exit code %d, want %d: %v\n%s", c.args, code, c.code, err, out)
		}
	}
	archive := filepath.Join(t.TempDir(), "a.tar.gz")
	for _, c := range []struct {
		inventory string
		code      int
	}{{both, ExitFailed}, {both, ExitFailed}, {inventoryOf(t, map[string]string{"west": kubeconfig(t)}), ExitFailed}} { // the file is there
		if out, err := run(t, "gather", "-i", c.inventory, "-o", archive); ExitCode(err, false) != c.code {
			t.Errorf("gather: %v\n%s", err, out)
		}
	}
	if err := os.Remove(archive); err != nil {
		t.Error(err)
	}
	if out, err := run(t, "gather", "-i", alone, "-o", archive); err != nil || out != archive+"\n" {
		t.Errorf("gather: %v: %s", err, out)
	}
	if _, err := run(t, "gather", "-i", inventoryOf(t, map[string]string{"west": kubeconfig(t)}), "-o", archive+"2"); ExitCode(err, false) != ExitBlind {
		t.Errorf("gather of nothing: %v", err)
	}
	if _, err := os.Stat(archive + "2"); err == nil {
		t.Error("gather leaves an archive of nothing")
	}
	out, err := run(t, "status", "-i", both, "-o", "json")
	var got status
	if json.Unmarshal([]byte(out), &got) != nil || got.OK || len(got.Clusters) != 2 || got.Clusters[0].Error != "" || got.Clusters[1].Error == "" {
		t.Errorf("%v: %s", err, out)
	}
	if strings.Contains(out, "\x1b") {
		t.Error("colour where there is no terminal")
	}
}

// TestStatusWatches: a change is a further line, and an interrupt no failure.
func TestStatusWatches(t *testing.T) {
	s := apitest.Start(t)
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	admin, err := client.New(s.Config, client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	inv := inventoryOf(t, map[string]string{"east": s.Kubeconfig(t, s.Config)})
	r, w := io.Pipe()
	app := New(sdntunnel.Files(), nil)
	app.Writer, app.ErrWriter = w, io.Discard
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		done <- app.RunContext(ctx, []string{"sdn-tunnel", "status", "-i", inv, "--watch", "-o", "json"})
	}()
	lines := json.NewDecoder(r)
	until := func(what string) {
		t.Helper()
		for {
			var got status
			if err := lines.Decode(&got); err != nil {
				t.Fatal(err)
			}
			if text := fmt.Sprint(got); strings.Contains(text, what) {
				return
			}
		}
	}
	until("not deployed")
	n := &v1alpha1.TunnelNode{ObjectMeta: metav1.ObjectMeta{Name: "east.one"}, Spec: v1alpha1.TunnelNodeSpec{Cluster: "east", Node: "one"}}
	if err := admin.Create(ctx, n); err != nil {
		t.Fatal(err)
	}
	until("TunnelNode east.one its agent has said nothing yet")
	cancel()
	go func() { _, _ = io.Copy(io.Discard, r) }()
	if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("ended with %v", err)
	}
}

// TestGatherRefusesAnArchiveThatIsThere before it reads the inventory, which is broken here;
// and what it began for an inventory that it cannot read is gone.
func TestGatherRefusesAnArchiveThatIsThere(t *testing.T) {
	dir := t.TempDir()
	broken, archive := filepath.Join(dir, "hosts.yml"), filepath.Join(dir, "is-there.tar.gz")
	for _, file := range []string{broken, archive} {
		if err := os.WriteFile(file, []byte("clusters: ["), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := run(t, "gather", "-i", broken, "-o", archive); !errors.Is(err, fs.ErrExist) || !strings.Contains(err.Error(), "--output: ") {
		t.Errorf("an archive that is there: %v", err)
	}
	if text, err := os.ReadFile(archive); err != nil || string(text) != "clusters: [" {
		t.Errorf("it was written to: %q, %v", text, err)
	}
	fresh := filepath.Join(dir, "new.tar.gz")
	if _, err := run(t, "gather", "-i", broken, "-o", fresh); ExitCode(err, false) != ExitBlind {
		t.Errorf("a broken inventory: %v", err)
	}
	if _, err := os.Stat(fresh); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an archive of nothing is left: %v", err)
	}
}
