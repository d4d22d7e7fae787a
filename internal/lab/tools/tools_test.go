package tools

import (
	"os"
	"path/filepath"
	"testing"
)

func source(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../../../lab/tools")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestKeyFollowsThePins(t *testing.T) {
	b := Builder{Source: source(t)}
	one, err := b.key(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if two, err := b.key(t.Context()); err != nil || one != two {
		t.Fatalf("keys %s and %s, %v, want equal ones", one, two, err)
	}
	dir := filepath.Join(t.TempDir(), "lab", "tools")
	if err := os.CopyFS(dir, os.DirFS(b.Source)); err != nil {
		t.Fatal(err)
	}
	for _, f := range []string{"go.mod", "go.sum"} {
		data, err := os.ReadFile(filepath.Join(source(t), "../..", f))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "../..", f), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	b.Source = dir
	if same, err := b.key(t.Context()); err != nil || same != one {
		t.Fatalf("key of a copy is %s, %v, want %s", same, err, one)
	}
	sum := filepath.Join(dir, "node", "go.sum")
	if err := os.WriteFile(sum, []byte("changed\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if other, err := b.key(t.Context()); err != nil || other == one {
		t.Fatalf("key after a change is %s, %v, want another than %s", other, err, one)
	}
}

func TestKubernetesIsToldItsVersion(t *testing.T) {
	b := Builder{Source: source(t)}
	version, err := b.pinned(".", kubernetes)
	if err != nil {
		t.Fatal(err)
	}
	flags, err := b.ldflags(tool{module: ".", pkg: kubernetes + "/cmd/kubelet"})
	want := "-s -w -X k8s.io/component-base/version.gitVersion=" + version
	if err != nil || flags[:len(want)] != want {
		t.Fatalf("ldflags %q, %v, want them to begin with %q", flags, err, want)
	}
}

func TestAMissingPinIsNamed(t *testing.T) {
	if _, err := (Builder{Source: source(t)}).pinned(".", "example.com/none"); err == nil {
		t.Fatal("no error")
	}
}
