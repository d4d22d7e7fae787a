package playbook

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	osexec "os/exec"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/apenella/go-ansible/v2/pkg/execute/exec"
	"github.com/apenella/go-ansible/v2/pkg/execute/result"
)

// killDelay is how long a cancelled ansible-playbook may take to end by itself.
const killDelay = 5 * time.Second

// starter starts ansible-playbook in a session of its own, so that a cancel reaches all
// of its children and no child asks the terminal behind the caller's back. It is
// go-ansible's Executabler; environment and folder are set here because go-ansible
// prints those it knows of in its errors.
type starter struct {
	dir, private string
	env          []string
	cmd          *process
}

// Command is part of go-ansible's interface.
func (s *starter) Command(name string, arg ...string) exec.Cmder {
	return s.CommandContext(context.Background(), name, arg...)
}

// CommandContext is part of go-ansible's interface.
func (s *starter) CommandContext(ctx context.Context, name string, arg ...string) exec.Cmder {
	cmd := osexec.CommandContext(ctx, name, arg...)
	cmd.Dir = s.dir
	cmd.Env = append(os.Environ(), s.env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	p := &process{Cmd: cmd, private: s.private}
	cmd.Cancel = p.interrupt
	s.cmd = p
	return p
}

// process is an exec.Cmd whose end is remembered.
type process struct {
	*osexec.Cmd

	guard   io.WriteCloser // held open as long as this program lives
	private string         // folder that the guard removes

	mu    sync.Mutex
	kill  *time.Timer
	ended bool
	err   error
}

// guarding waits on its standard input for the end of the program that started it, and ends
// the group of processes that it is given, and removes the folder with their variables,
// unless it was told before that all is well. A
// parent-death signal would not do: it ends when a thread does, and reaches one process.
const guarding = `read -r well || { kill -s KILL -- "-$1"; rm -rf -- "$2"; }`

// Start also starts a guard: if this program is killed, so are ansible-playbook and all of
// its children.
func (p *process) Start() error {
	if err := p.Cmd.Start(); err != nil {
		return err
	}
	// The guard is in no group that is killed.
	guard := osexec.Command("/bin/sh", "-c", guarding, "sh", strconv.Itoa(p.Process.Pid), p.private) //nolint:noctx // it ends with this program
	guard.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	in, err := guard.StdinPipe()
	if err == nil {
		err = guard.Start()
	}
	if err != nil {
		_ = syscall.Kill(-p.Process.Pid, syscall.SIGKILL)
		return errors.Join(fmt.Errorf("start what guards ansible-playbook: %w", err), p.Cmd.Wait())
	}
	p.guard = in
	go func() { _ = guard.Wait() }()
	return nil
}

// interrupt asks the whole group to end, and makes it end a little later.
func (p *process) interrupt() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		return os.ErrProcessDone
	}
	group := -p.Process.Pid
	p.kill = time.AfterFunc(killDelay, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if !p.ended {
			_ = syscall.Kill(group, syscall.SIGKILL)
		}
	})
	return syscall.Kill(group, syscall.SIGINT)
}

// Wait never reports a failing exit code to go-ansible, whose error would repeat the
// command; the caller asks exitCode.
func (p *process) Wait() error {
	err := p.Cmd.Wait()
	_, _ = io.WriteString(p.guard, "well\n")
	_ = p.guard.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended, p.err = true, err
	if p.kill != nil {
		p.kill.Stop()
		_ = syscall.Kill(-p.Process.Pid, syscall.SIGKILL) // children that outlived the interrupt
	}
	return nil
}

// exitCode is ansible-playbook's; negative if it was killed or never ran.
func (p *process) exitCode() int {
	if p == nil || p.ProcessState == nil {
		return -1
	}
	return p.ProcessState.ExitCode()
}

// copyOutput is go-ansible's output handler: bytes as they come.
type copyOutput struct{}

// Print is part of go-ansible's interface.
func (copyOutput) Print(_ context.Context, r io.Reader, w io.Writer, _ ...result.OptionsFunc) error {
	_, err := io.Copy(w, r)
	if errors.Is(err, os.ErrClosed) {
		return nil
	}
	return err
}
