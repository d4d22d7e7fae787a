package filelock

import (
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestLock: the second one waits for the first.
func TestLock(t *testing.T) {
	name := filepath.Join(t.TempDir(), "lock")
	unlock, err := Lock(name)
	if err != nil {
		t.Fatal(err)
	}
	var free atomic.Bool
	second := make(chan error)
	go func() {
		unlock, err := Lock(name)
		if err == nil {
			unlock()
		}
		if !free.Load() {
			t.Error("two have the lock")
		}
		second <- err
	}()
	time.Sleep(50 * time.Millisecond)
	free.Store(true)
	unlock()
	if err := <-second; err != nil {
		t.Error(err)
	}
}

func TestNoFolder(t *testing.T) {
	name := filepath.Join(t.TempDir(), "none", "lock")
	if _, err := Lock(name); err == nil || !strings.Contains(err.Error(), name) {
		t.Errorf("got %v", err)
	}
}
