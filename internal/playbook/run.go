package playbook

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	osexec "os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/apenella/go-ansible/v2/pkg/execute"
	ansible "github.com/apenella/go-ansible/v2/pkg/playbook"
)

//go:embed callback/sdn_tunnel_progress.py
var callback []byte

// callbackName is the plugin's name, and its file's without ".py".
const callbackName = "sdn_tunnel_progress"

// Exit codes of ansible-playbook that callers tell apart.
const (
	ExitHostsFailed = 2
	ExitUnreachable = 4
	ExitInterrupted = 99
)

// ErrNoAnsible says that ansible-playbook is not installed.
var ErrNoAnsible = errors.New("ansible-playbook is not installed: install ansible-core 2.14 or later")

// ExitError is a playbook that did not end well.
type ExitError struct {
	Playbook string
	Code     int
}

// Error names the playbook and Ansible's exit code.
func (e *ExitError) Error() string {
	return fmt.Sprintf("playbook %s failed (ansible-playbook exit code %d)", e.Playbook, e.Code)
}

// Run is one run of a playbook.
type Run struct {
	Tree Tree
	// Playbook is its name, e.g. deploy.
	Playbook string
	// Inventory is a file or folder.
	Inventory string
	// VarsFiles are files of variables; Vars are more, which win.
	VarsFiles []string
	Vars      map[string]any
	// VaultPasswordFile is passed on.
	VaultPasswordFile string
	Limit, Tags       string
	Check, Diff       bool
	// Verbosity is the number of v in Ansible's -vvv.
	Verbosity int
	Forks     int
	// Output gets Ansible's own output and errors.
	Output io.Writer
	// Progress is called with each event, in order.
	Progress func(Event)

	path string // of the playbook, in place of the tree's
}

// Do runs the playbook to its end. It returns an *ExitError with Ansible's exit code if
// that is not 0; when ctx ends, all processes are ended first.
func (r Run) Do(ctx context.Context) error {
	if _, err := osexec.LookPath("ansible-playbook"); err != nil {
		return ErrNoAnsible
	}
	private, err := os.MkdirTemp("", "sdn-tunnel-run-")
	if err != nil {
		return fmt.Errorf("make a private folder: %w", err)
	}
	defer os.RemoveAll(private)
	options, err := r.options(private)
	if err != nil {
		return err
	}
	fifo, stop, err := r.listen(private)
	if err != nil {
		return err
	}
	start := &starter{private: private, env: r.environment(private, fifo)}
	out := &lockedWriter{w: r.Output}
	err = execute.NewDefaultExecute(
		execute.WithCmd(ansible.NewAnsiblePlaybookCmd(
			ansible.WithPlaybooks(r.playbookPath()),
			ansible.WithPlaybookOptions(options),
		)),
		execute.WithExecutable(start),
		execute.WithOutput(copyOutput{}),
		execute.WithWrite(out),
		execute.WithWriteError(out),
	).Execute(ctx)
	stop()
	return r.outcome(ctx, start.cmd, err)
}

func (r Run) outcome(ctx context.Context, p *process, err error) error {
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("playbook %s: %w", r.Playbook, context.Cause(ctx))
	case p == nil || p.ProcessState == nil:
		return fmt.Errorf("playbook %s: ansible-playbook did not start: %w", r.Playbook, err)
	case p.exitCode() != 0:
		return &ExitError{Playbook: r.Playbook, Code: p.exitCode()}
	}
	return nil
}

func (r Run) playbookPath() string {
	if r.path != "" {
		return r.path
	}
	return filepath.Join(r.Tree.Dir, "playbooks", r.Playbook+".yml")
}

// options are the command line: paths, flags and no values of variables.
func (r Run) options(private string) (*ansible.AnsiblePlaybookOptions, error) {
	o := &ansible.AnsiblePlaybookOptions{
		Inventory: r.Inventory, Limit: r.Limit, Tags: r.Tags, Check: r.Check, Diff: r.Diff,
		VaultPasswordFile: r.VaultPasswordFile,
		VerboseV:          r.Verbosity == 1, VerboseVV: r.Verbosity == 2,
		VerboseVVV: r.Verbosity == 3, VerboseVVVV: r.Verbosity > 3,
	}
	if r.Forks > 0 {
		o.Forks = strconv.Itoa(r.Forks)
	}
	for _, file := range r.VarsFiles {
		o.ExtraVarsFile = append(o.ExtraVarsFile, "@"+file)
	}
	if len(r.Vars) == 0 {
		return o, nil
	}
	content, err := json.Marshal(r.Vars)
	if err != nil {
		return nil, fmt.Errorf("write the variables: %w", err)
	}
	file := filepath.Join(private, "vars.json")
	if err := os.WriteFile(file, content, 0o600); err != nil {
		return nil, fmt.Errorf("write the variables: %w", err)
	}
	o.ExtraVarsFile = append(o.ExtraVarsFile, "@"+file)
	return o, nil
}

// environment makes Ansible find roles, modules and the callback plugin, whatever
// ansible.cfg says; what the user's has besides stays in force.
func (r Run) environment(private, fifo string) []string {
	enabled := callbackName
	if more := os.Getenv("ANSIBLE_CALLBACKS_ENABLED"); more != "" {
		enabled += "," + more
	}
	env := []string{
		"ANSIBLE_CALLBACK_PLUGINS=" + joinPaths(private, os.Getenv("ANSIBLE_CALLBACK_PLUGINS")),
		"ANSIBLE_CALLBACKS_ENABLED=" + enabled,
		"SDN_TUNNEL_PROGRESS=" + fifo,
		"ANSIBLE_RETRY_FILES_ENABLED=0",
		"PYTHONUNBUFFERED=1",
	}
	if r.Tree.Dir != "" {
		env = append(env,
			"ANSIBLE_ROLES_PATH="+joinPaths(filepath.Join(r.Tree.Dir, "roles"), os.Getenv("ANSIBLE_ROLES_PATH")),
			"ANSIBLE_LIBRARY="+joinPaths(r.Tree.Library, os.Getenv("ANSIBLE_LIBRARY")))
	}
	return env
}

func joinPaths(first, rest string) string { return strings.TrimSuffix(first+":"+rest, ":") }

// listen puts the callback plugin in place and reads its events until stop is called.
func (r Run) listen(private string) (fifo string, stop func(), err error) {
	if err := os.WriteFile(filepath.Join(private, callbackName+".py"), callback, 0o600); err != nil {
		return "", nil, fmt.Errorf("write the callback plugin: %w", err)
	}
	fifo = filepath.Join(private, "progress")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		return "", nil, fmt.Errorf("make %s: %w", fifo, err)
	}
	// For reading and writing: opening does not wait, and there is no end of file
	// between two writers.
	pipe, err := os.OpenFile(fifo, os.O_RDWR, 0)
	if err != nil {
		return "", nil, fmt.Errorf("open %s: %w", fifo, err)
	}
	progress := r.Progress
	if progress == nil {
		progress = func(Event) {}
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = readEvents(pipe, progress)
	}()
	return fifo, func() {
		_, _ = io.WriteString(pipe, "\n"+endOfEvents)
		<-done
		_ = pipe.Close()
	}, nil
}

// lockedWriter lets standard output and errors share a writer.
type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lockedWriter) Write(p []byte) (int, error) {
	if l.w == nil {
		return len(p), nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}
