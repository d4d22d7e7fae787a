package lab

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"github.com/sdn-tunnel/sdn-tunnel/internal/lab/layout"
	"github.com/sdn-tunnel/sdn-tunnel/internal/lab/machine"
	"github.com/sdn-tunnel/sdn-tunnel/internal/lab/tools"
)

// StateRoot holds a folder per instance.
const StateRoot = "/var/lib/sdn-tunnel-lab"

const cgroupRoot = "sdn-tunnel-lab"

// patience is how long one step of a lab may take before it is called failed. Most need
// seconds; a machine whose disk or processors are busy with other work needs more.
const patience = 2 * time.Minute

// ErrNone says that there is no such lab.
var ErrNone = errors.New("there is no such lab")

// Lab is one instance: its plan and where its parts are.
type Lab struct {
	*layout.Lab
	// Say gets a line for each step; it may be called from several goroutines.
	Say func(format string, args ...any)

	source string // root of the source tree
	tools  tools.Set
	began  time.Time
}

// Open finds the instance that is up, or half up, by its name.
func Open(name string) (*Lab, error) {
	dir := filepath.Join(StateRoot, name)
	b, err := os.ReadFile(filepath.Join(dir, "lab.json"))
	if err != nil {
		return nil, absent(name, dir, err)
	}
	var c saved
	if err := json.Unmarshal(b, &c); err != nil {
		return nil, fmt.Errorf("%s/lab.json: %w: lab down removes it", dir, err)
	}
	l, err := layout.New(c.Config)
	if err != nil {
		return nil, err
	}
	return &Lab{Lab: l, tools: tools.Set{Dir: c.Tools}, Say: func(string, ...any) {}}, nil
}

// absent says why a lab cannot be opened, and what to do.
func absent(name, dir string, err error) error {
	switch _, there := os.Stat(dir); {
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("lab %s: %w: labs are root's", name, err)
	case errors.Is(err, os.ErrNotExist) && there == nil:
		return fmt.Errorf("lab %s: its making ended before it was recorded: sdn-tunnel lab down --name %[1]s removes what there is", name)
	case errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("lab %s: %w: sdn-tunnel lab up --name %[1]s makes it", name, ErrNone)
	}
	return fmt.Errorf("lab %s: %w", name, err)
}

// saved is what a later command must know of an instance.
type saved struct {
	layout.Config
	Tools string
}

func (l *Lab) save() error {
	b, err := json.MarshalIndent(saved{l.Config, l.tools.Dir}, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(l.path("lab.json"), b, 0o644)
}

func (l *Lab) path(parts ...string) string {
	return filepath.Join(append([]string{l.StateDir}, parts...)...)
}

// KubeconfigPath is the file of the admin's access to all clusters.
func (l *Lab) KubeconfigPath() string { return l.path("kubeconfig") }

// InventoryPath is the file of the Ansible inventory.
func (l *Lab) InventoryPath() string { return l.path("inventory", "hosts.yml") }

// SSHKeyPath is the file of the key that the nodes' sshd accepts for root.
func (l *Lab) SSHKeyPath() string { return l.path("ssh", "id_ed25519") }

// self is the copy of this program that the lab's machines run: it stays as it is
// when the program is built again.
func (l *Lab) self() string { return l.path("bin", "sdn-tunnel") }

func (l *Lab) selfCommand(args ...string) []string {
	return append([]string{l.self(), "lab"}, args...)
}

func (l *Lab) controlPlaneDir(c layout.Cluster) string { return l.path("clusters", c.Name) }
func (l *Lab) nodeDir(n layout.Node) string            { return l.path("nodes", n.Name) }
func (l *Lab) cgroup(machine string) string            { return filepath.Join(cgroupRoot, l.Name, machine) }

// NodeMachine loads a node's machine.
func (l *Lab) NodeMachine(name string) (*machine.Spec, error) {
	_, n, ok := l.Node(name)
	if !ok {
		return nil, fmt.Errorf("lab %s has no node %q: see sdn-tunnel lab status", l.Name, name)
	}
	return machine.Load(l.nodeDir(n))
}

// ControlPlaneMachine loads a cluster's control plane's machine.
func (l *Lab) ControlPlaneMachine(name string) (*machine.Spec, error) {
	c, ok := l.Cluster(name)
	if !ok {
		return nil, fmt.Errorf("lab %s has no cluster %q: see sdn-tunnel lab status", l.Name, name)
	}
	return machine.Load(l.controlPlaneDir(c))
}

var moduleLine = regexp.MustCompile(`(?m)^module github\.com/sdn-tunnel/sdn-tunnel$`)

// findSource walks up from each start to the root of the source tree, whose modules
// pin the lab's tools.
func findSource(starts ...string) (string, error) {
	for _, dir := range starts {
		for dir != "" {
			if b, err := os.ReadFile(filepath.Join(dir, "go.mod")); err == nil && moduleLine.Match(b) {
				return dir, nil
			}
			if parent := filepath.Dir(dir); parent != dir {
				dir = parent
			} else {
				break
			}
		}
	}
	return "", fmt.Errorf("the lab builds its programs from the source tree of sdn-tunnel: run it in a checkout")
}

// sourceTree looks from the working folder and from the program's own.
func sourceTree() (string, error) {
	wd, err := os.Getwd()
	if err != nil {
		return "", err
	}
	exe, err := os.Executable()
	if err != nil {
		return "", err
	}
	return findSource(wd, filepath.Dir(exe))
}
