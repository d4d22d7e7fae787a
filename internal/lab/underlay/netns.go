package underlay

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

const (
	runDir = "/run/netns"
	// ourMount is there while runDir is a mount that was made here.
	ourMount = "/run/sdn-tunnel-lab.netns"
)

// Path is where a named network namespace is mounted.
func Path(name string) string { return filepath.Join(runDir, name) }

type namespace struct {
	*netlink.Handle
	handle netns.NsHandle
}

func open(name string) (*namespace, error) {
	ns, err := netns.GetFromName(name)
	if err != nil {
		return nil, fmt.Errorf("network namespace %s: %w", name, err)
	}
	h, err := netlink.NewHandleAt(ns)
	if err != nil {
		_ = ns.Close()
		return nil, fmt.Errorf("netlink in %s: %w", name, err)
	}
	return &namespace{Handle: h, handle: ns}, nil
}

func (n *namespace) close() {
	n.Close()
	_ = n.handle.Close()
}

// In runs f on a thread that is in the named network namespace. The thread ends
// with f, so that no other goroutine ever runs in that namespace.
func In(name string, f func() error) error { return InPath(Path(name), f) }

// InPath is In for a namespace file anywhere.
func InPath(path string, f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the runtime then ends the thread
		ns, err := netns.GetFromPath(path)
		if err != nil {
			done <- fmt.Errorf("network namespace %s: %w", path, err)
			return
		}
		defer ns.Close()
		if err := netns.Set(ns); err != nil {
			done <- fmt.Errorf("enter network namespace %s: %w", path, err)
			return
		}
		done <- f()
	}()
	return <-done
}

// addNamespaces makes namespaces in the folder where ip-netns(8) looks for them.
func addNamespaces(names []string) error {
	if err := mountRunDir(); err != nil {
		return fmt.Errorf("make %s a mount of its own: %w", runDir, err)
	}
	for _, name := range names {
		if err := addNamespace(name); err != nil {
			return err
		}
	}
	return nil
}

// mountRunDir makes the folder a shared mount, as ip-netns(8) does for the first namespace
// that it makes. Done by others later, that would cover our namespaces: they could not be
// removed any more.
func mountRunDir() error {
	if err := os.MkdirAll(runDir, 0o755); err != nil { //nolint:gosec // as ip-netns(8) makes it
		return err
	}
	const share = unix.MS_SHARED | unix.MS_REC
	if err := unix.Mount("", runDir, "", share, ""); !errors.Is(err, unix.EINVAL) {
		return err
	}
	if err := os.WriteFile(ourMount, nil, 0o600); err != nil {
		return err
	}
	if err := unix.Mount(runDir, runDir, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return err
	}
	return unix.Mount("", runDir, "", share, "")
}

// unmountRunDir undoes mountRunDir once nobody has a namespace there.
func unmountRunDir() error {
	if _, err := os.Stat(ourMount); err != nil {
		return nil //nolint:nilerr // it is not ours
	}
	if left, err := os.ReadDir(runDir); err != nil || len(left) > 0 {
		return err
	}
	if err := unix.Unmount(runDir, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("unmount %s: %w", runDir, err)
	}
	return os.Remove(ourMount)
}

// addNamespace makes a named, persistent network namespace with loopback up.
func addNamespace(name string) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		ns, err := netns.NewNamed(name)
		if err != nil {
			done <- fmt.Errorf("make network namespace %s: %w", name, err)
			return
		}
		done <- ns.Close()
	}()
	return <-done
}

// Remove deletes every network namespace of the instance; absent ones are no error.
// What is inside goes with the last process in it.
func Remove(instance string) error {
	entries, err := os.ReadDir(runDir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), instance+"-") {
			errs = append(errs, RemoveNamespace(e.Name()))
		}
	}
	return errors.Join(append(errs, unmountRunDir())...)
}

// RemoveNamespace deletes one network namespace; an absent one is no error.
func RemoveNamespace(name string) error {
	path := Path(name)
	err := unix.Unmount(path, unix.MNT_DETACH)
	if err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("unmount %s: %w", path, err)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
