package tunnelns

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Namespace is a network namespace known by the path of its file. The zero value is
// the one that the process itself runs in.
type Namespace struct{ path string }

// At is the namespace whose file (a bind mount of nsfs) is at path.
func At(path string) Namespace { return Namespace{path: path} }

// Own is the namespace of the process.
func Own() Namespace { return Namespace{} }

// Path is the namespace's file; empty for the process's own.
func (n Namespace) Path() string { return n.path }

// String names the namespace in errors.
func (n Namespace) String() string {
	if n.path == "" {
		return "the node's network namespace"
	}
	return "network namespace " + filepath.Base(n.path)
}

// Exists tells whether the file is there and is a namespace; the name of a namespace
// whose mount is gone (after a boot) is an ordinary empty file.
func (n Namespace) Exists() bool {
	if n.path == "" {
		return true
	}
	var fs unix.Statfs_t
	return unix.Statfs(n.path, &fs) == nil && fs.Type == unix.NSFS_MAGIC
}

// Do runs fn with its thread in the namespace. What fn makes there (sockets, child
// processes, netlink handles) belongs to that namespace. fn must not start goroutines
// that count on it. A thread that cannot be brought back is thrown away.
func (n Namespace) Do(fn func() error) error {
	done := make(chan error, 1)
	if n.path == "" {
		// Not on the caller's thread, which may be in another namespace by a Do around
		// this one; such a thread is that goroutine's alone.
		go func() { done <- fn() }()
	} else {
		go func() { done <- n.do(fn) }()
	}
	return <-done
}

// do runs on a goroutine of its own: when that ends while still locked, the runtime
// ends its thread with it.
func (n Namespace) do(fn func() error) error {
	runtime.LockOSThread()
	origin, err := netns.Get()
	if err != nil {
		return fmt.Errorf("open this thread's network namespace: %w", err)
	}
	defer origin.Close()
	target, err := netns.GetFromPath(n.path)
	if err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("open %v: %w", n, err)
	}
	defer target.Close()
	if err := netns.Set(target); err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("enter %v: %w", n, err)
	}
	err = fn()
	if netns.Set(origin) == nil {
		runtime.UnlockOSThread()
	}
	return err
}

// Netlink opens a route netlink handle in the namespace; the caller closes it.
func (n Namespace) Netlink() (h *netlink.Handle, err error) {
	err = n.Do(func() error {
		h, err = netlink.NewHandle(unix.NETLINK_ROUTE)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("open netlink in %v: %w", n, err)
	}
	return h, nil
}

// with runs fn with a netlink handle of the namespace.
func (n Namespace) with(fn func(*netlink.Handle) error) error {
	h, err := n.Netlink()
	if err != nil {
		return err
	}
	defer h.Close()
	return fn(h)
}

// Create makes a new namespace and binds it to the path, so that it lives on when
// nothing runs in it. A container needs the folder mounted with Bidirectional
// propagation; otherwise the node never sees the mount.
func (n Namespace) Create() error {
	if err := os.MkdirAll(filepath.Dir(n.path), 0o755); err != nil {
		return fmt.Errorf("make the folder of %v: %w", n, err)
	}
	f, err := os.OpenFile(n.path, os.O_CREATE|os.O_RDONLY, 0o444)
	if err != nil {
		return fmt.Errorf("make the file of %v: %w", n, err)
	}
	f.Close()
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends in the new namespace
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			done <- fmt.Errorf("make %v: %w (CAP_SYS_ADMIN is needed)", n, err)
			return
		}
		self := fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid())
		if err := unix.Mount(self, n.path, "", unix.MS_BIND, ""); err != nil {
			done <- fmt.Errorf("bind %v to %s: %w", n, n.path, err)
			return
		}
		done <- nil
	}()
	if err := <-done; err != nil {
		return errors.Join(err, os.Remove(n.path))
	}
	// A mount makes no inotify event; this one lets WhileSame look again.
	now := time.Now()
	_ = os.Chtimes(filepath.Dir(n.path), now, now)
	return nil
}

// Remove takes the name away; the kernel destroys the namespace with its last user.
func (n Namespace) Remove() error {
	for n.Exists() { // more than once if somebody stacked mounts on it
		if err := unix.Unmount(n.path, unix.MNT_DETACH); err != nil {
			return fmt.Errorf("unmount %v: %w", n, err)
		}
	}
	if err := os.Remove(n.path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove the file of %v: %w", n, err)
	}
	return nil
}
