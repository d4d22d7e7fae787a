package tools

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/mod/modfile"
)

// ldflags strips the program, and tells Kubernetes its version, which it has from
// nowhere else and which its API serves.
func (b Builder) ldflags(t tool) (string, error) {
	flags := "-s -w"
	if !strings.HasPrefix(t.pkg, kubernetes+"/") {
		return flags, nil
	}
	version, err := b.pinned(t.module, kubernetes)
	if err != nil {
		return "", err
	}
	parts := strings.SplitN(strings.TrimPrefix(version, "v"), ".", 3)
	const v = " -X k8s.io/component-base/version."
	return flags + v + "gitVersion=" + version + v + "gitMajor=" + parts[0] + v + "gitMinor=" + parts[1], nil
}

// pinned gives the version of a module in the go.mod of a folder of lab/tools.
func (b Builder) pinned(folder, path string) (string, error) {
	file := filepath.Join(b.Source, folder, "go.mod")
	data, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("pins of the lab's tools: %w", err)
	}
	mod, err := modfile.ParseLax(file, data, nil)
	if err != nil {
		return "", fmt.Errorf("pins of the lab's tools: %w", err)
	}
	for _, r := range mod.Require {
		if r.Mod.Path == path {
			return r.Mod.Version, nil
		}
	}
	return "", fmt.Errorf("%s does not require %s", file, path)
}

// key hashes everything that decides what is built.
func (b Builder) key(ctx context.Context, of bundle) (string, error) {
	h := sha256.New()
	folders := map[string]bool{}
	for _, t := range of.tools {
		folders[t.module] = true
		_, _ = fmt.Fprintf(h, "%+v\n", t)
	}
	for _, a := range of.assets {
		_, _ = fmt.Fprintf(h, "%+v\n", a)
		version, err := b.pinned(a.module, a.path)
		if err != nil {
			return "", err
		}
		_, _ = fmt.Fprintln(h, version)
	}
	for _, folder := range []string{".", "etcd", "kuberouter", "metallb", "node"} {
		if !folders[folder] {
			continue
		}
		for _, name := range []string{"go.mod", "go.sum"} {
			if err := hashFile(h, filepath.Join(b.Source, folder, name)); err != nil {
				return "", fmt.Errorf("pins of the lab's tools: %w; run from the source tree", err)
			}
		}
	}
	version, err := b.run(ctx, ".", nil, "env", "GOVERSION")
	if err != nil {
		return "", fmt.Errorf("the lab builds its tools with Go: %w", err)
	}
	_, _ = fmt.Fprintln(h, version, runtime.GOARCH)
	return fmt.Sprintf("%x", h.Sum(nil))[:16], nil
}

func hashFile(w io.Writer, name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(w, f)
	return err
}
