package runlock

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// State is what there is to know of the locks that one keeper keeps.
type State struct {
	// Until is the machine's uptime (uptime.Now) up to which they can be relied on.
	Until time.Duration `json:"until"`
	// Lost says that they are lost, and how; empty while they are not.
	Lost string `json:"lost,omitempty"`
}

// Note is where a keeper writes for the modules of its run.
type Note struct {
	file string
	last State
}

// NewNote makes the note of this process for a run, and removes those of runs that are over.
func NewNote(run Run, s State) (*Note, error) {
	dir := folder()
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, fmt.Errorf("make the folder of notes on locks: %w", err)
	}
	if !ours(dir) {
		return nil, fmt.Errorf("the folder %s is to be this user's alone: remove it", dir)
	}
	sweep(dir)
	n := &Note{file: filepath.Join(dir, fmt.Sprintf("%s-%d.json", run.key(), os.Getpid()))}
	return n, n.put(s)
}

// Write says how the locks are now.
func (n *Note) Write(s State) error {
	if s == n.last {
		return nil
	}
	return n.put(s)
}

// put replaces the file at once: nobody reads half of it.
func (n *Note) put(s State) error {
	text, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("encode the note on the locks: %w", err)
	}
	fresh := n.file + ".new"
	if err := os.WriteFile(fresh, text, 0o600); err != nil {
		return fmt.Errorf("write the note on the locks: %w", err)
	}
	if err := os.Rename(fresh, n.file); err != nil {
		return fmt.Errorf("write the note on the locks: %w", err)
	}
	n.last = s
	return nil
}

// Remove is for the run's end.
func (n *Note) Remove() { _ = os.Remove(n.file) }

// folder is a user's own, in the folder for what need not last.
func folder() string {
	return filepath.Join(os.TempDir(), fmt.Sprintf("sdn-tunnel-locks-%d", os.Getuid()))
}

// ours tells whether nobody else can write into a folder.
func ours(dir string) bool {
	info, err := os.Lstat(dir)
	if err != nil || !info.IsDir() || info.Mode().Perm()&0o077 != 0 {
		return false
	}
	s, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(s.Uid) == os.Getuid()
}

func (r Run) key() string { return fmt.Sprintf("%d-%s", r.PID, r.start) }

// sweep removes the notes of runs that are over.
func sweep(dir string) {
	files, _ := filepath.Glob(filepath.Join(dir, "*.json*"))
	for _, f := range files {
		fields := strings.Split(filepath.Base(f), "-")
		if pid, err := strconv.Atoi(fields[0]); err == nil && len(fields) == 3 && started(pid) != fields[1] {
			_ = os.Remove(f)
		}
	}
}

// states are those of all keepers of a run.
func (r Run) states() []State {
	dir := folder()
	if !ours(dir) {
		return nil // a keeper would have refused it
	}
	files, _ := filepath.Glob(filepath.Join(dir, r.key()+"-*.json"))
	var all []State
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			continue // removed meanwhile
		}
		var s State
		if err := json.Unmarshal(text, &s); err != nil {
			s.Lost = fmt.Sprintf("the note on the locks of this run, %s, cannot be read: %v", f, err)
		}
		all = append(all, s)
	}
	return all
}
