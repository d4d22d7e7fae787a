package playbook

import (
	"context"
	"errors"
	"io"
	"os"
	osexec "os/exec"
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
	dir string
	env []string
	cmd *process
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
	p := &process{Cmd: cmd}
	cmd.Cancel = p.interrupt
	s.cmd = p
	return p
}

// process is an exec.Cmd whose end is remembered.
type process struct {
	*osexec.Cmd

	mu    sync.Mutex
	kill  *time.Timer
	ended bool
	err   error
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
