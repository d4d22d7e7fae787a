package machine

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

// Spec is all that a machine is made from.
type Spec struct {
	Hostname string `json:"hostname"`
	NetNS    string `json:"netns"`  // path of the network namespace
	Dir      string `json:"dir"`    // the machine's own folder on the host
	Cgroup   string `json:"cgroup"` // path below the mount: what the machine sees as its root

	// Keep lists folders that outlive a power-off: each is backed by Dir/fs.
	Keep []string `json:"keep"`
	// Share lists host paths that the machine sees, source to target.
	Share map[string]string `json:"share,omitempty"`
	// Files are written at each boot, path to content.
	Files map[string]string `json:"files,omitempty"`

	Services []Service `json:"services"`
}

// Service is a program that the machine's init keeps running.
type Service struct {
	Name string   `json:"name"`
	Args []string `json:"args"`
	Env  []string `json:"env,omitempty"`
	// Before lists commands that are run, one after another, before each start.
	Before [][]string `json:"before,omitempty"`
	// After lists paths that must exist before the first command is run.
	After []string `json:"after,omitempty"`
}

func (s *Spec) specFile() string { return filepath.Join(s.Dir, "machine.json") }
func (s *Spec) pidFile() string  { return filepath.Join(s.Dir, "init.pid") }

// LogDir is where each service's output goes, a file a service.
func (s *Spec) LogDir() string { return filepath.Join(s.Dir, "log") }

func (s *Spec) save() error {
	if err := os.MkdirAll(s.LogDir(), 0o755); err != nil {
		return err
	}
	b, err := json.MarshalIndent(s, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(s.specFile(), b, 0o600)
}

// Load reads the Spec of the machine whose folder is dir.
func Load(dir string) (*Spec, error) {
	s := &Spec{Dir: dir}
	b, err := os.ReadFile(s.specFile())
	if err != nil {
		return nil, fmt.Errorf("machine in %s: %w", dir, err)
	}
	if err := json.Unmarshal(b, s); err != nil {
		return nil, fmt.Errorf("machine in %s: %w", dir, err)
	}
	return s, nil
}
