package tools

import (
	"os"
	"path/filepath"
	"strings"
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
	one, err := b.key(t.Context(), lab)
	if err != nil {
		t.Fatal(err)
	}
	if two, err := b.key(t.Context(), lab); err != nil || one != two {
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
	if same, err := b.key(t.Context(), lab); err != nil || same != one {
		t.Fatalf("key of a copy is %s, %v, want %s", same, err, one)
	}
	sum := filepath.Join(dir, "node", "go.sum")
	if err := os.WriteFile(sum, []byte("changed\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if other, err := b.key(t.Context(), lab); err != nil || other == one {
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

func TestWithoutGo(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	if _, err := (Builder{Source: source(t), Cache: t.TempDir()}).Ensure(t.Context()); err == nil || !strings.Contains(err.Error(), "go.dev/dl") {
		t.Errorf("got %v, want where to get Go", err)
	}
	if err := needs(t.Context()); err == nil || !strings.Contains(err.Error(), "apt install gcc pkg-config libseccomp-dev") {
		t.Errorf("got %v, want the packages that runc's build needs", err)
	}
}

func TestASetThatIsThereIsNotBuilt(t *testing.T) {
	b := Builder{Source: source(t), Cache: t.TempDir(), Progress: func(s string) { t.Error("said " + s) }}
	key, err := b.key(t.Context(), lab)
	if err != nil {
		t.Fatal(err)
	}
	want := filepath.Join(b.Cache, key)
	if err := os.Mkdir(want, 0o700); err != nil {
		t.Fatal(err)
	}
	if set, err := b.Ensure(t.Context()); err != nil || set.Dir != want {
		t.Errorf("got %s, %v; want %s", set.Dir, err, want)
	}
}

func TestAssetsAreCopied(t *testing.T) {
	b, dst := Builder{Source: source(t)}, t.TempDir()
	for _, a := range assets {
		if a.module != "../.." {
			continue // its module is in the cache only where the tools were built
		}
		if err := b.copyAsset(t.Context(), a, dst); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(filepath.Join(dst, "002_hostsubnets.crd.yaml")); err != nil {
		t.Error(err)
	}
	missing := asset{name: "none", module: "../..", path: "github.com/openshift/api", files: []string{"none/*.yaml"}}
	if err := b.copyAsset(t.Context(), missing, dst); err == nil || !strings.Contains(err.Error(), "none/*.yaml") {
		t.Errorf("a pattern without a file: %v", err)
	}
}
