package machine

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// overlaid are the host's folders that a machine sees through a writable layer of
// its own; merged are those that a usr-merged host has as links.
var (
	overlaid = []string{"/etc", "/usr", "/opt", "/var/lib/dpkg", "/var/lib/apt", "/var/cache"}
	merged   = []string{"/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"}
	empty    = []string{"/run/netns", "/run/lock", "/tmp", "/var/tmp", "/home", "/srv", "/mnt", "/media", "/root", "/var/lib", "/var/log"}
	// masked sysctls hold for the whole kernel, and kubelet writes them.
	masked = []string{"kernel/panic", "kernel/panic_on_oops", "vm/overcommit_memory", "vm/panic_on_oom", "kernel/keys/root_maxkeys", "kernel/keys/root_maxbytes"}
)

// enterRoot makes the machine's root and moves the calling process into it.
func (s *Spec) enterRoot() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	root := filepath.Join(s.Dir, "root")
	if err := os.MkdirAll(root, 0o755); err != nil {
		return err
	}
	if err := unix.Mount("tmpfs", root, "tmpfs", 0, "mode=755"); err != nil {
		return fmt.Errorf("root: %w", err)
	}
	if err := s.fill(root); err != nil {
		return err
	}
	if err := pivot(root); err != nil {
		return err
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SHARED, ""); err != nil {
		return fmt.Errorf("share mounts: %w", err)
	}
	if err := mask(); err != nil {
		return err
	}
	return s.writeFiles()
}

func (s *Spec) fill(root string) error {
	for _, dir := range empty {
		if err := os.MkdirAll(root+dir, 0o755); err != nil {
			return err
		}
	}
	for _, dir := range []string{"/tmp", "/var/tmp"} {
		if err := os.Chmod(root+dir, 0o1777); err != nil {
			return err
		}
	}
	if err := os.Symlink("/run", root+"/var/run"); err != nil {
		return err
	}
	if err := s.overlays(root); err != nil {
		return err
	}
	for _, dir := range []string{"/dev", "/sys"} {
		if err := bind(dir, root+dir); err != nil {
			return err
		}
	}
	if err := mountGroups(root); err != nil {
		return err
	}
	for _, dir := range s.Keep {
		if err := os.MkdirAll(filepath.Join(s.Dir, "fs", dir), 0o755); err != nil {
			return err
		}
		if err := bind(filepath.Join(s.Dir, "fs", dir), root+dir); err != nil {
			return err
		}
	}
	for from, to := range s.Share {
		if err := bind(from, root+to); err != nil {
			return err
		}
	}
	if err := os.Mkdir(root+"/proc", 0o555); err != nil {
		return err
	}
	return unix.Mount("proc", root+"/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "")
}

func (s *Spec) overlays(root string) error {
	lower := overlaid
	for _, dir := range merged {
		target, err := os.Readlink(dir)
		switch {
		case err == nil:
			if err := os.Symlink(target, root+dir); err != nil {
				return err
			}
		case !errors.Is(err, os.ErrNotExist):
			lower = append(lower[:len(lower):len(lower)], dir)
		}
	}
	for _, dir := range lower {
		if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
			continue
		}
		layer := filepath.Join(s.Dir, "overlay", strings.ReplaceAll(dir[1:], "/", "-"))
		upper, work := filepath.Join(layer, "upper"), filepath.Join(layer, "work")
		for _, d := range []string{upper, work, root + dir} {
			if err := os.MkdirAll(d, 0o755); err != nil {
				return err
			}
		}
		options := fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", dir, upper, work)
		if err := unix.Mount("overlay", root+dir, "overlay", 0, options); err != nil {
			return fmt.Errorf("overlay %s: %w", dir, err)
		}
	}
	return nil
}

func bind(from, to string) error {
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	if info.IsDir() {
		err = os.MkdirAll(to, 0o755)
	} else if err = os.MkdirAll(filepath.Dir(to), 0o755); err == nil {
		err = os.WriteFile(to, nil, 0o644)
	}
	if err != nil {
		return err
	}
	if err := unix.Mount(from, to, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("bind %s: %w", to, err)
	}
	return nil
}

// pivot makes root the root and lets go of the old one.
func pivot(root string) error {
	if err := unix.Chdir(root); err != nil {
		return err
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("pivot root: %w", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("let go of the host's root: %w", err)
	}
	return unix.Chdir("/")
}

// mask covers kernel-wide sysctls with plain files of the same content.
func mask() error {
	if err := os.MkdirAll("/run/sysctl", 0o755); err != nil {
		return err
	}
	for _, key := range masked {
		value, err := os.ReadFile("/proc/sys/" + key)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		file := "/run/sysctl/" + strings.ReplaceAll(key, "/", ".")
		if err := os.WriteFile(file, value, 0o644); err != nil {
			return err
		}
		if err := unix.Mount(file, "/proc/sys/"+key, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("mask %s: %w", key, err)
		}
	}
	return nil
}

func (s *Spec) writeFiles() error {
	for path, content := range s.Files {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		mode := os.FileMode(0o644)
		if strings.HasSuffix(path, ".key") || strings.HasSuffix(path, ".kubeconfig") {
			mode = 0o600
		}
		if err := os.WriteFile(path, []byte(content), mode); err != nil {
			return err
		}
	}
	return nil
}
