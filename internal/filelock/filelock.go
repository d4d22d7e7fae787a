// Package filelock lets one process at a time do what is done once for all of them, such
// as filling a cache. The lock is the kernel's and ends with its holder, however that
// ends; the file stays and means nothing.
package filelock

import (
	"fmt"
	"os"
	"syscall"
)

// Lock waits until it has the lock on a file, which is made if it is not there.
func Lock(name string) (unlock func(), err error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return func() { _ = f.Close() }, nil
}
