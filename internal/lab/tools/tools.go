package tools

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/sdn-tunnel/sdn-tunnel/internal/filelock"
)

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
func (b Builder) Ensure(ctx context.Context) (Set, error) { return b.ensure(ctx, lab) }

// KubeRouter gives the path of kube-router in the same way. It is apart from what the lab
// needs: whoever does not ask for it does not wait for it.
func (b Builder) KubeRouter(ctx context.Context) (string, error) {
	set, err := b.ensure(ctx, extra)
	return filepath.Join(set.Bin(), "kube-router"), err
}

func (b Builder) ensure(ctx context.Context, of bundle) (Set, error) {
	if err := NeedGo(); err != nil {
		return Set{}, err
	}
	key, err := b.key(ctx, of)
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
	unlock, err := filelock.Lock(filepath.Join(cache, "lock"))
	if err != nil {
		return Set{}, fmt.Errorf("lock of the lab's tools: %w", err)
	}
	defer unlock()
	if _, err := os.Stat(set.Dir); err == nil {
		return set, nil // another process built it meanwhile
	}
	b.say("tools: building %d programs in %s; the first time takes about %s on 2 cores", len(of.tools), set.Dir, of.takes)
	return set, b.build(ctx, of, set.Dir)
}

// build makes the set in a folder beside dir and renames it when it is complete.
func (b Builder) build(ctx context.Context, of bundle, dir string) error {
	if slices.ContainsFunc(of.tools, func(t tool) bool { return t.cgo }) {
		if err := needs(ctx); err != nil {
			return err
		}
	}
	start := time.Now()
	tmp := dir + ".tmp"
	if err := os.RemoveAll(tmp); err != nil {
		return fmt.Errorf("half-built tools: %w", err)
	}
	for i, t := range of.tools {
		at := time.Now()
		if err := b.buildTool(ctx, t, filepath.Join(tmp, "bin", t.name)); err != nil {
			return err
		}
		b.say("tools: %2d of %d: %s (%.0f s)", i+1, len(of.tools), t.name, time.Since(at).Seconds())
	}
	for _, a := range of.assets {
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

// NeedGo says whether there is a Go to build with.
func NeedGo() error {
	if _, err := exec.LookPath("go"); err != nil {
		return errors.New("the lab builds its programs with Go, and there is no go in PATH: https://go.dev/dl has the version that go.mod names")
	}
	return nil
}

// needs says what is missing to build the tools with. All are Go programs; runc alone
// is built with C, against libseccomp.
func needs(ctx context.Context) error {
	var missing []string
	if _, err := exec.LookPath("gcc"); err != nil {
		missing = append(missing, "gcc")
	}
	if _, err := exec.LookPath("pkg-config"); err != nil {
		missing = append(missing, "pkg-config", "libseccomp-dev")
	} else if exec.CommandContext(ctx, "pkg-config", "--exists", "libseccomp").Run() != nil {
		missing = append(missing, "libseccomp-dev")
	}
	if len(missing) > 0 {
		return fmt.Errorf("runc cannot be built here: on Debian, apt install %s", strings.Join(missing, " "))
	}
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
