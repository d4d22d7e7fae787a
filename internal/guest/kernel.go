package guest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/sdn-tunnel/sdn-tunnel/internal/filelock"
)

// Kernel is a kernel in the cache.
type Kernel struct {
	Release string // as uname -r gives it
	Image   string // file of the ELF kernel
	Modules string // folder that holds a folder Release of modules
}

// metapackage depends on the kernel that Debian maintains at the moment.
const metapackage = "linux-image-amd64"

// kernelPackage is a Debian package of a kernel in one version.
type kernelPackage struct{ name, version string }

func (p kernelPackage) release() string { return strings.TrimPrefix(p.name, "linux-image-") }

// key names the package in the cache.
func (p kernelPackage) key() string { return p.release() + "_" + p.version }

var dependsKernel = regexp.MustCompile(`(?m)^Depends:.*\b(linux-image-\S+) \(= ([^)]+)\)`)

// parsePackage reads what apt-cache show says of the metapackage.
func parsePackage(show string) (kernelPackage, error) {
	m := dependsKernel.FindStringSubmatch(show)
	if m == nil {
		return kernelPackage{}, fmt.Errorf("package %s depends on no kernel", metapackage)
	}
	return kernelPackage{m[1], m[2]}, nil
}

// cacheDir is where kernels are kept, beside the lab's tools.
func cacheDir() (string, error) {
	user, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("cache for the guest's kernel: %w; set HOME or XDG_CACHE_HOME", err)
	}
	return filepath.Join(user, "sdn-tunnel", "kernel"), nil
}

// FindKernel gives the kernel that Debian has now, from the cache or from the mirror.
// Where there is no mirror it gives an earlier one from the cache. say gets a line for
// each step that takes long.
func FindKernel(ctx context.Context, say func(format string, args ...any)) (Kernel, error) {
	cache, err := cacheDir()
	if err != nil {
		return Kernel{}, err
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return Kernel{}, fmt.Errorf("cache for the guest's kernel: %w", err)
	}
	unlock, err := filelock.Lock(filepath.Join(cache, "lock"))
	if err != nil {
		return Kernel{}, fmt.Errorf("lock of the guest's kernel: %w", err)
	}
	defer unlock()
	p, err := current(ctx)
	if err == nil {
		dir := filepath.Join(cache, p.key())
		if _, statErr := os.Stat(dir); statErr == nil {
			return cached(dir, p.release()), nil
		}
		say("kernel: fetching %s %s", p.name, p.version)
		p, err = fetchFresh(ctx, cache, p)
		if err == nil {
			return cached(filepath.Join(cache, p.key()), p.release()), nil
		}
	}
	if k, ok := newest(cache); ok && ctx.Err() == nil {
		say("kernel: the current one cannot be had (%v); taking %s from the cache", err, k.Release)
		return k, nil
	}
	return Kernel{}, err
}

func cached(dir, release string) Kernel {
	return Kernel{Release: release, Image: filepath.Join(dir, "vmlinux"), Modules: filepath.Join(dir, "lib", "modules")}
}

// newest is the latest complete kernel in the cache.
func newest(cache string) (Kernel, bool) {
	images, err := filepath.Glob(filepath.Join(cache, "*_*", "vmlinux"))
	if err != nil || len(images) == 0 {
		return Kernel{}, false
	}
	latest := slices.MaxFunc(images, func(a, b string) int {
		x, errX := os.Stat(a)
		y, errY := os.Stat(b)
		if errX != nil || errY != nil {
			return 0
		}
		return x.ModTime().Compare(y.ModTime())
	})
	dir := filepath.Dir(latest)
	release, _, _ := strings.Cut(filepath.Base(dir), "_")
	return cached(dir, release), true
}

// current asks apt which kernel the metapackage stands for.
func current(ctx context.Context) (kernelPackage, error) {
	out, err := command(ctx, "", "apt-cache", "show", "--no-all-versions", metapackage)
	if err != nil {
		return kernelPackage{}, fmt.Errorf("find Debian's kernel: %w (apt-get update)", err)
	}
	return parsePackage(out)
}

// fetchFresh fetches the package. A version that has left the mirror, since the machine's
// lists are old, is looked up again.
func fetchFresh(ctx context.Context, cache string, p kernelPackage) (kernelPackage, error) {
	err := fetch(ctx, cache, p)
	if err == nil || ctx.Err() != nil {
		return p, err
	}
	if _, updateErr := command(ctx, "", "apt-get", "update", "-qq"); updateErr != nil {
		return p, errors.Join(err, updateErr)
	}
	if p, err = current(ctx); err != nil {
		return p, err
	}
	return p, fetch(ctx, cache, p)
}

// fetch downloads and unpacks a kernel into the cache, whole or not at all.
func fetch(ctx context.Context, cache string, p kernelPackage) error {
	tmp, err := os.MkdirTemp(cache, "fetch-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	if _, err := command(ctx, tmp, "apt-get", "download", "-qq", p.name+"="+p.version); err != nil {
		return fmt.Errorf("download %s %s: %w", p.name, p.version, err)
	}
	debs, err := filepath.Glob(filepath.Join(tmp, "*.deb"))
	if err != nil || len(debs) != 1 {
		return fmt.Errorf("download %s %s: got %d files", p.name, p.version, len(debs))
	}
	root := filepath.Join(tmp, "root")
	for _, args := range [][]string{
		{"dpkg-deb", "-x", debs[0], root},
		{"depmod", "-b", root, p.release()},
	} {
		if _, err := command(ctx, tmp, args[0], args[1:]...); err != nil {
			return fmt.Errorf("unpack %s: %w", p.name, err)
		}
	}
	packed, err := os.ReadFile(filepath.Join(root, "boot", "vmlinuz-"+p.release()))
	if err != nil {
		return err
	}
	elf, err := unpack(packed)
	if err != nil {
		return fmt.Errorf("%s: %w", p.name, err)
	}
	if err := os.WriteFile(filepath.Join(root, "vmlinux"), elf, 0o644); err != nil {
		return err
	}
	for _, unused := range []string{"boot", "usr"} {
		if err := os.RemoveAll(filepath.Join(root, unused)); err != nil {
			return err
		}
	}
	return os.Rename(root, filepath.Join(cache, p.key()))
}

// command runs a program to its end; its error output is part of the error.
func command(ctx context.Context, dir, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	out, err := cmd.Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		err = fmt.Errorf("%w: %s", err, strings.TrimSpace(string(exit.Stderr)))
	}
	if err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	return string(out), nil
}
