package wg

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

// Files beside the key while it is replaced.
const (
	nextFile = keyFile + ".next" // the successor, before it is in use
	oldFile  = keyFile + ".old"  // the former one, until the peers answer to the new one
)

// Keys are the node's private key and, while it is replaced, the one before or after it.
// Each step is on the disk before it counts, so that a crash at any point leaves a key
// with which the next process goes on.
type Keys struct {
	dir string

	mu      sync.Mutex
	current PrivateKey
	since   time.Time
}

// OpenKeys reads the node's key from dir, or makes one there. What a crash left of a
// former key, or of a successor that was being destroyed, is destroyed.
func OpenKeys(dir string) (*Keys, error) {
	current, err := LoadOrCreateKey(dir)
	if err != nil {
		return nil, err
	}
	k := &Keys{dir: dir, current: current}
	info, err := os.Stat(k.path(keyFile))
	if err != nil {
		return nil, fmt.Errorf("read the node's key: %w", err)
	}
	k.since = info.ModTime()
	next, err := readKey(k.path(nextFile))
	if errors.Is(err, errNoKey) || err == nil && next.Public() == current.Public() {
		if err := k.Drop(); err != nil {
			return nil, err
		}
	}
	return k, k.Forget()
}

func (k *Keys) path(name string) string { return filepath.Join(k.dir, name) }

// Current is the key in use, and since when it is.
func (k *Keys) Current() (PrivateKey, time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.current, k.since
}

// Pending tells whether there is a successor that is not in use yet: an earlier process
// ended before it was.
func (k *Keys) Pending() bool {
	_, err := os.Stat(k.path(nextFile))
	return err == nil
}

// Next is the successor; it is made if there is none.
func (k *Keys) Next() (PrivateKey, error) {
	path := k.path(nextFile)
	next, err := readKey(path)
	if errors.Is(err, fs.ErrNotExist) {
		return createKey(k.dir, path)
	}
	if err != nil {
		return PrivateKey{}, fmt.Errorf("read the node's next key: %w; delete it for another", err)
	}
	return next, nil
}

// Switch puts the successor in the key's place, in one step. The former key stays aside
// until Forget or Back.
func (k *Keys) Switch() error {
	next, err := k.Next()
	if err != nil {
		return err
	}
	return k.replace(next, nextFile, oldFile)
}

// Back undoes Switch, and destroys the key that was in use in between.
func (k *Keys) Back() error {
	former, err := k.Former()
	if err != nil {
		return err
	}
	if err := k.replace(former, oldFile, nextFile); err != nil {
		return err
	}
	return k.Drop()
}

// Former is the key before, while it is kept.
func (k *Keys) Former() (PrivateKey, error) {
	former, err := readKey(k.path(oldFile))
	if err != nil {
		return PrivateKey{}, fmt.Errorf("read the node's former key: %w", err)
	}
	return former, nil
}

// errNoKey: what the file holds cannot be a key.
var errNoKey = errors.New("not a WireGuard key")

func readKey(path string) (PrivateKey, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return PrivateKey{}, err
	}
	k, err := wgtypes.ParseKey(strings.TrimSpace(string(text)))
	if err != nil || k == (wgtypes.Key{}) {
		return PrivateKey{}, fmt.Errorf("%s: %w", path, errNoKey)
	}
	return keep(k), nil
}

// replace gives the current key's file the name aside and puts the file from in its place.
func (k *Keys) replace(by PrivateKey, from, aside string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := time.Now()
	err := os.Chtimes(k.path(from), now, now)
	if err == nil {
		err = DestroyKey(k.path(aside)) // of an earlier time
	}
	if err == nil {
		err = os.Link(k.path(keyFile), k.path(aside))
	}
	if err == nil {
		err = os.Rename(k.path(from), k.path(keyFile))
	}
	if err == nil {
		err = syncDir(k.dir)
	}
	if err != nil {
		return fmt.Errorf("replace the node's key: %w", err)
	}
	k.current, k.since = by, now
	return nil
}

// Forget destroys the former key, if it is still there.
func (k *Keys) Forget() error { return DestroyKey(k.path(oldFile)) }

// Drop destroys a successor that is not to be used.
func (k *Keys) Drop() error { return DestroyKey(k.path(nextFile)) }

// DestroyKey overwrites a key's file, has that written to the disk, and removes it; no
// file is no error. A file that has another name, too, is that of a key in use, which a
// crash left in the middle of Switch or Back: it only loses this name. What a file system
// or a disk keeps of earlier contents is beyond it.
func DestroyKey(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("destroy %s: %w", path, err)
	}
	info, err := f.Stat()
	if err == nil && links(info) == 1 {
		_, err = f.Write(make([]byte, info.Size()))
	}
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Remove(path)
	}
	if err == nil {
		err = syncDir(filepath.Dir(path))
	}
	if err != nil {
		return fmt.Errorf("destroy %s: %w", path, err)
	}
	return nil
}

// links is how many names a file has.
func links(info fs.FileInfo) int {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(stat.Nlink)
	}
	return 1
}
