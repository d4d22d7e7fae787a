package tools

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/mod/modfile"
)

// tool is one program: a main package of one of the modules of lab/tools.
type tool struct {
	name    string
	module  string // folder in lab/tools
	pkg     string
	cgo     bool
	tags    string
	ldflags string
}

// asset is a set of files that a module carries, copied beside the programs.
type asset struct {
	name   string // folder in the cache
	module string // folder whose go.mod pins path; "../.." is the product's own
	path   string // module path
	files  []string
}

const kubernetes = "k8s.io/kubernetes"

var all = []tool{
	{name: "kube-apiserver", module: ".", pkg: kubernetes + "/cmd/kube-apiserver"},
	{name: "kube-controller-manager", module: ".", pkg: kubernetes + "/cmd/kube-controller-manager"},
	{name: "kube-scheduler", module: ".", pkg: kubernetes + "/cmd/kube-scheduler"},
	{name: "kube-proxy", module: ".", pkg: kubernetes + "/cmd/kube-proxy"},
	{name: "kubelet", module: ".", pkg: kubernetes + "/cmd/kubelet"},
	{name: "kubectl", module: ".", pkg: kubernetes + "/cmd/kubectl"},
	{name: "etcd", module: "etcd", pkg: "go.etcd.io/etcd/server/v3"},
	{name: "containerd", module: "node", pkg: "github.com/containerd/containerd/v2/cmd/containerd"},
	{name: "containerd-shim-runc-v2", module: "node", pkg: "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2"},
	{name: "ctr", module: "node", pkg: "github.com/containerd/containerd/v2/cmd/ctr"},
	{name: "runc", module: "node", pkg: "github.com/opencontainers/runc", cgo: true, tags: "seccomp"},
	{name: "host-local", module: "node", pkg: "github.com/containernetworking/plugins/plugins/ipam/host-local"},
	{name: "loopback", module: "node", pkg: "github.com/containernetworking/plugins/plugins/main/loopback"},
	{name: "coredns", module: "node", pkg: "github.com/coredns/coredns"},
	{name: "metallb-controller", module: "metallb", pkg: "go.universe.tf/metallb/controller"},
	{name: "metallb-speaker", module: "metallb", pkg: "go.universe.tf/metallb/speaker"},
}

var assets = []asset{
	{name: "metallb-crds", module: "metallb", path: "go.universe.tf/metallb", files: []string{"config/crd/bases/*.yaml"}},
	{name: "openshift-crds", module: "../..", path: "github.com/openshift/api", files: []string{
		"config/v1/zz_generated.crd-manifests/*_networks.crd.yaml",
		"network/v1/zz_generated.crd-manifests/*.yaml",
		"security/v1/zz_generated.crd-manifests/*.yaml",
		"operator/v1/zz_generated.crd-manifests/*_dnses.crd.yaml",
	}},
}

// Builder builds the tools.
type Builder struct {
	// Source is the folder lab/tools of the source tree.
	Source string
	// Cache is where sets of tools are kept; empty: sdn-tunnel/tools in the user's cache.
	Cache string
	// Progress gets one line for each step; nil: none.
	Progress func(string)
}

// Set is a complete set of tools.
type Set struct{ Dir string }

// Bin is the folder with the programs.
func (s Set) Bin() string { return filepath.Join(s.Dir, "bin") }

// Asset is the folder of a named set of files: "metallb-crds" or "openshift-crds".
func (s Set) Asset(name string) string { return filepath.Join(s.Dir, name) }

// Ensure gives the set that the pins ask for, building it if it is not in the cache.
// Several processes may call it at once; one builds, the others wait.
func (b Builder) Ensure(ctx context.Context) (Set, error) {
	key, err := b.key(ctx)
	if err != nil {
		return Set{}, err
	}
	cache := b.Cache
	if cache == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return Set{}, fmt.Errorf("cache for the lab's tools: %w; set HOME or XDG_CACHE_HOME", err)
		}
		cache = filepath.Join(user, "sdn-tunnel", "tools")
	}
	set := Set{filepath.Join(cache, key)}
	if _, err := os.Stat(set.Dir); err == nil {
		return set, nil
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return Set{}, fmt.Errorf("cache for the lab's tools: %w", err)
	}
	unlock, err := lock(filepath.Join(cache, "lock"))
	if err != nil {
		return Set{}, err
	}
	defer unlock()
	if _, err := os.Stat(set.Dir); err == nil {
		return set, nil // another process built it meanwhile
	}
	return set, b.build(ctx, set.Dir)
}

// build makes the set in a folder beside dir and renames it when it is complete.
func (b Builder) build(ctx context.Context, dir string) error {
	start := time.Now()
	tmp := dir + ".tmp"
	if err := os.RemoveAll(tmp); err != nil {
		return fmt.Errorf("half-built tools: %w", err)
	}
	for i, t := range all {
		at := time.Now()
		if err := b.buildTool(ctx, t, filepath.Join(tmp, "bin", t.name)); err != nil {
			return err
		}
		b.say("tools: %2d of %d: %s (%.0f s)", i+1, len(all), t.name, time.Since(at).Seconds())
	}
	for _, a := range assets {
		if err := b.copyAsset(ctx, a, filepath.Join(tmp, a.name)); err != nil {
			return err
		}
	}
	if err := os.Rename(tmp, dir); err != nil {
		return fmt.Errorf("complete the tools: %w", err)
	}
	b.say("tools: complete after %.0f s", time.Since(start).Seconds())
	return nil
}

func (b Builder) buildTool(ctx context.Context, t tool, out string) error {
	ldflags, err := b.ldflags(t)
	if err != nil {
		return err
	}
	cgo := "0"
	if t.cgo {
		cgo = "1"
	}
	if _, err := b.run(ctx, t.module, []string{"CGO_ENABLED=" + cgo}, "build", "-trimpath", "-buildvcs=false", "-mod=readonly",
		"-tags", t.tags, "-ldflags", ldflags, "-o", out, t.pkg); err != nil {
		return fmt.Errorf("build %s: %w", t.name, err)
	}
	return nil
}

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

func (b Builder) copyAsset(ctx context.Context, a asset, dst string) error {
	src, err := b.run(ctx, a.module, nil, "list", "-mod=readonly", "-m", "-f", "{{.Dir}}", a.path)
	if err != nil {
		return fmt.Errorf("%s: %w", a.name, err)
	}
	if src == "" {
		if _, err := b.run(ctx, a.module, nil, "mod", "download", a.path); err != nil {
			return fmt.Errorf("%s: %w", a.name, err)
		}
		if src, err = b.run(ctx, a.module, nil, "list", "-mod=readonly", "-m", "-f", "{{.Dir}}", a.path); err != nil {
			return fmt.Errorf("%s: %w", a.name, err)
		}
	}
	if err := os.MkdirAll(dst, 0o755); err != nil {
		return err
	}
	for _, pattern := range a.files {
		files, err := filepath.Glob(filepath.Join(src, pattern))
		if err != nil {
			return err
		}
		for _, f := range files {
			data, err := os.ReadFile(f)
			if err != nil {
				return fmt.Errorf("%s: %w", a.name, err)
			}
			if err := os.WriteFile(filepath.Join(dst, filepath.Base(f)), data, 0o644); err != nil {
				return fmt.Errorf("%s: %w", a.name, err)
			}
		}
	}
	return nil
}

// key hashes everything that decides what is built.
func (b Builder) key(ctx context.Context) (string, error) {
	h := sha256.New()
	folders := map[string]bool{}
	for _, t := range all {
		folders[t.module] = true
		_, _ = fmt.Fprintf(h, "%+v\n", t)
	}
	for _, a := range assets {
		_, _ = fmt.Fprintf(h, "%+v\n", a)
		version, err := b.pinned(a.module, a.path)
		if err != nil {
			return "", err
		}
		_, _ = fmt.Fprintln(h, version)
	}
	for _, folder := range []string{".", "etcd", "metallb", "node"} {
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
	defer f.Close() //nolint:errcheck // only read
	_, err = io.Copy(w, f)
	return err
}

// run calls the go command in a folder of lab/tools.
func (b Builder) run(ctx context.Context, folder string, env []string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = filepath.Join(b.Source, folder)
	cmd.Env = append(append(os.Environ(), "GOFLAGS=", "GOWORK=off"), env...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 5 * time.Second
	out, err := cmd.Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return "", fmt.Errorf("go %s: %w:\n%s", args[0], err, strings.TrimSpace(string(exit.Stderr)))
	}
	return strings.TrimSpace(string(out)), err
}

func (b Builder) say(format string, args ...any) {
	if b.Progress != nil {
		b.Progress(fmt.Sprintf(format, args...))
	}
}

// lock waits for an exclusive lock on a file; it is freed when its holder ends.
func lock(name string) (unlock func(), err error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("lock of the lab's tools: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("lock of the lab's tools: %w", err)
	}
	return func() { _ = f.Close() }, nil
}
