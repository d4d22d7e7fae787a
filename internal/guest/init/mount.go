package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sdn-tunnel/sdn-tunnel/internal/guest/job"
)

type mount struct {
	source, target, kind string
	flags                uintptr
	options              string
}

func (m mount) do() error {
	if err := os.MkdirAll(m.target, 0o755); err != nil {
		return fmt.Errorf("mount %s: %w", m.target, err)
	}
	if err := unix.Mount(m.source, m.target, m.kind, m.flags, m.options); err != nil {
		return fmt.Errorf("mount %s (%s) at %s: %w", m.source, m.kind, m.target, err)
	}
	return nil
}

const share9p = "trans=virtio,version=9p2000.L,msize=512000"

// mountRoot makes the host's files, under an overlay in memory, the root.
func mountRoot() error {
	for _, m := range []mount{
		{"proc", "/proc", "proc", 0, ""},
		{"sysfs", "/sys", "sysfs", 0, ""},
		{"devtmpfs", "/dev", "devtmpfs", 0, ""},
	} {
		if err := m.do(); err != nil {
			return err
		}
	}
	if err := loadModules(); err != nil {
		return err
	}
	const root = "/new"
	for _, m := range []mount{
		{job.HostTag, "/lower", "9p", unix.MS_RDONLY, share9p + ",cache=loose"},
		{"tmpfs", "/rw", "tmpfs", 0, "size=75%,mode=755"},
	} {
		if err := m.do(); err != nil {
			return err
		}
	}
	for _, dir := range []string{"/rw/upper", "/rw/work"} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
	}
	for _, m := range []mount{
		{"overlay", root, "overlay", 0, "lowerdir=/lower,upperdir=/rw/upper,workdir=/rw/work,metacopy=off"},
		{"/proc", root + "/proc", "", unix.MS_MOVE, ""},
		{"/sys", root + "/sys", "", unix.MS_MOVE, ""},
		{"/dev", root + "/dev", "", unix.MS_MOVE, ""},
		{job.ShareTag, root + job.Share, "9p", 0, share9p},
		{"tmpfs", root + "/run", "tmpfs", 0, "mode=755"},
		{"devpts", root + "/dev/pts", "devpts", 0, "gid=5,mode=620,ptmxmode=666"},
		{"tmpfs", root + "/dev/shm", "tmpfs", 0, "mode=1777"},
		{"cgroup2", root + "/sys/fs/cgroup", "cgroup2", 0, ""},
	} {
		if err := m.do(); err != nil {
			return err
		}
	}
	if err := os.Chdir(root); err != nil {
		return err
	}
	if err := unix.Mount(".", "/", "", unix.MS_MOVE, ""); err != nil {
		return fmt.Errorf("make %s the root: %w", root, err)
	}
	if err := unix.Chroot("."); err != nil {
		return fmt.Errorf("make %s the root: %w", root, err)
	}
	return os.Chdir("/")
}

// loadModules loads what the initrd has, in the order of its names.
func loadModules() error {
	files, err := filepath.Glob("/modules/*.ko")
	if err != nil {
		return err
	}
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		err = unix.FinitModule(int(f.Fd()), "", 0)
		f.Close()
		if err != nil {
			return fmt.Errorf("load %s: %w", strings.TrimSuffix(filepath.Base(name), ".ko"), err)
		}
	}
	return nil
}

// bindModules puts the guest's modules where modprobe looks for them.
func bindModules(j job.Job) error {
	target := filepath.Join("/usr/lib/modules", j.Release)
	return mount{filepath.Join(j.Modules, j.Release), target, "", unix.MS_BIND, ""}.do()
}

// copyUp takes files into the overlay's upper layer, in memory: the overlay copies a file
// when it is opened for writing. It only saves time: what fails is left.
func copyUp(files []string) {
	for _, name := range files {
		if f, err := os.OpenFile(name, os.O_RDWR, 0); err == nil {
			f.Close()
		}
	}
}
