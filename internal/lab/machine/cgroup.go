package machine

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const cgroupMount = "/sys/fs/cgroup"

// unified is where the cgroup2 hierarchy is mounted: alone, or beside version 1.
func unified() (string, error) {
	for _, dir := range []string{cgroupMount, filepath.Join(cgroupMount, "unified")} {
		if _, err := os.Stat(filepath.Join(dir, "cgroup.procs")); err == nil {
			if _, err := os.Stat(filepath.Join(dir, "cgroup.controllers")); err == nil {
				return dir, nil
			}
		}
	}
	return "", fmt.Errorf("no cgroup2 hierarchy at %[1]s or %[1]s/unified: mount one (mount -t cgroup2 none DIR)", cgroupMount)
}

// openGroup makes the group and opens it for clone3's CLONE_INTO_CGROUP.
func openGroup(path string) (*os.File, error) {
	root, err := unified()
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(root, path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("control group: %w", err)
	}
	return os.Open(dir)
}

// Into has a command start in the control group path, so that KillAll ends it and what it
// starts. The group is to be closed when the command has been started.
func Into(path string, cmd *exec.Cmd) (group io.Closer, err error) {
	f, err := openGroup(path)
	if err != nil {
		return nil, err
	}
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, int(f.Fd())
	return f, nil
}

// joinVersion1 moves the calling process into the group of the same path in every
// version 1 hierarchy, where the host has those.
func joinVersion1(path string) error {
	mounts, err := version1()
	if err != nil {
		return err
	}
	for _, mount := range mounts {
		if err := joinHierarchy(mount, path); err != nil {
			return fmt.Errorf("control group: %w", err)
		}
	}
	return nil
}

// version1 lists the mounts of version 1 hierarchies.
func version1() ([]string, error) {
	marks, err := filepath.Glob(filepath.Join(cgroupMount, "*", "cgroup.clone_children"))
	if err != nil {
		return nil, err
	}
	var mounts []string
	for _, m := range marks {
		dir := filepath.Dir(m)
		if info, err := os.Lstat(dir); err == nil && info.IsDir() { // not a link such as cpu
			mounts = append(mounts, dir)
		}
	}
	return mounts, nil
}

// mountGroups mounts the hierarchies again below root: in a control group namespace
// their roots are then the machine's own groups, and nothing above can be seen.
func mountGroups(root string) error {
	old, err := version1()
	if err != nil {
		return err
	}
	at := root + cgroupMount
	if err := unix.Unmount(at, unix.MNT_DETACH); err != nil {
		return fmt.Errorf("control groups: %w", err)
	}
	if len(old) == 0 {
		return mountUnified(at)
	}
	if err := unix.Mount("tmpfs", at, "tmpfs", 0, "mode=755"); err != nil {
		return fmt.Errorf("control groups: %w", err)
	}
	for _, mount := range old {
		name := filepath.Base(mount)
		dir, options := filepath.Join(at, name), name
		if name == "systemd" {
			options = "none,name=systemd"
		}
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
		if err := unix.Mount("cgroup", dir, "cgroup", 0, options); err != nil {
			return fmt.Errorf("control groups of %s: %w", name, err)
		}
	}
	dir := filepath.Join(at, "unified")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	return mountUnified(dir)
}

// mountUnified mounts cgroup2 and moves this process into a child of its root, which
// then may hand controllers down to the containers' groups.
func mountUnified(dir string) error {
	if err := unix.Mount("cgroup2", dir, "cgroup2", 0, ""); err != nil {
		return fmt.Errorf("control groups, version 2: %w", err)
	}
	own := filepath.Join(dir, "init")
	if err := os.Mkdir(own, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return os.WriteFile(filepath.Join(own, "cgroup.procs"), []byte("0"), 0o644)
}

func joinHierarchy(mount, path string) error {
	dir := mount
	for _, part := range strings.Split(path, "/") {
		parent := dir
		dir = filepath.Join(dir, part)
		if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
		for _, key := range []string{"cpuset.cpus", "cpuset.mems"} { // a new cpuset has none
			value, err := os.ReadFile(filepath.Join(parent, key))
			if err != nil {
				continue
			}
			if err := os.WriteFile(filepath.Join(dir, key), value, 0o644); err != nil {
				return err
			}
		}
	}
	return os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte("0"), 0o644)
}

// KillAll ends every process in the control group path and below, waits until they
// are gone, and removes the groups from every hierarchy. Nothing there is no error.
func KillAll(path string, wait time.Duration) error {
	root, err := unified()
	if err != nil {
		return err
	}
	deadline := time.Now().Add(wait)
	for {
		pids, err := members(filepath.Join(root, path))
		if err != nil {
			return err
		}
		if len(pids) == 0 {
			break
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("processes %v of %s did not end in %s", pids, path, wait)
		}
		for _, pid := range pids {
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
				return fmt.Errorf("kill %d: %w", pid, err)
			}
		}
		time.Sleep(20 * time.Millisecond)
	}
	return removeGroups(path)
}

// members lists the processes of a group and all groups below it.
func members(dir string) ([]int, error) {
	var pids []int
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		if err != nil || d.Name() != "cgroup.procs" {
			return err
		}
		b, err := os.ReadFile(p)
		if errors.Is(err, syscall.ENODEV) || errors.Is(err, os.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		for _, f := range strings.Fields(string(b)) {
			if pid, err := strconv.Atoi(f); err == nil && pid > 0 {
				pids = append(pids, pid)
			}
		}
		return nil
	})
	return pids, err
}

// removeGroups removes the group, children first, wherever a hierarchy has it.
func removeGroups(path string) error {
	mounts, err := filepath.Glob(filepath.Join(cgroupMount, "*"))
	if err != nil {
		return err
	}
	var errs []error
	for _, m := range append(mounts, cgroupMount) {
		var dirs []string
		err := filepath.WalkDir(filepath.Join(m, path), func(p string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				dirs = append(dirs, p)
			}
			return nil
		})
		if err != nil {
			errs = append(errs, err)
		}
		for i := len(dirs) - 1; i >= 0; i-- {
			if err := rmdir(dirs[i]); err != nil {
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}

// rmdir retries while the kernel still holds a group whose processes just ended.
func rmdir(dir string) error {
	var err error
	for range 1000 {
		err = syscall.Rmdir(dir)
		if err == nil || errors.Is(err, syscall.ENOENT) {
			return nil
		}
		if !errors.Is(err, syscall.EBUSY) {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	return fmt.Errorf("remove control group %s: %w", dir, err)
}

// RemoveIfEmpty removes a group that has no children from every hierarchy.
func RemoveIfEmpty(path string) error {
	dirs, err := filepath.Glob(filepath.Join(cgroupMount, "*", path))
	if err != nil {
		return err
	}
	for _, dir := range append(dirs, filepath.Join(cgroupMount, path)) {
		entries, err := os.ReadDir(dir)
		if err != nil || slices.ContainsFunc(entries, fs.DirEntry.IsDir) {
			continue
		}
		if err := rmdir(dir); err != nil {
			return err
		}
	}
	return nil
}
