package guest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/sdn-tunnel/sdn-tunnel/internal/guest/job"
)

// Guest is a machine that can be booted, again and again.
type Guest struct {
	Kernel      Kernel
	Init        string // file of the program of package guest/init
	Accelerator Accelerator
	Processors  int // with KVM; emulated, it has one
	MiB         int
	// Programs are copied into the guest's memory with their libraries. Each file that a
	// program opens on the share costs a few turns of the host: that adds up where
	// programs are run again and again. Those that are not installed are left out.
	Programs []string
}

const (
	// overhead is for boot and shutdown: 5 s, but on a busy machine a minute.
	overhead = 5 * time.Minute
	// slowdown is how many times longer than by its own clock an emulated guest may take.
	slowdown = 5
)

// limit is how long the guest may live by this machine's clock. A command that hangs is
// ended inside, earlier; this is for the guest's kernel.
func (g Guest) limit(commands []job.Command) time.Duration {
	var sum time.Duration
	for _, c := range commands {
		sum += c.Timeout
	}
	if g.Accelerator == Emulation {
		sum *= slowdown
	}
	return overhead + sum
}

// consoleLines is how much of the console is shown of a guest that gave no outcome.
const consoleLines = 60

// Run boots the guest, runs the commands in it one after the other, and returns what
// became of each. Their output goes to out as it comes; what they wrote to the folder
// job.Share/job.Out is in artifacts afterwards, if that is not empty. An error means that
// the guest did not do its job; outcomes then has what it did do.
func (g Guest) Run(ctx context.Context, commands []job.Command, out io.Writer, artifacts string) (outcomes []job.Outcome, err error) {
	dir, err := os.MkdirTemp("", "sdn-tunnel-guest-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := g.prepare(dir, commands); err != nil {
		return nil, fmt.Errorf("prepare the guest: %w", err)
	}
	limit := g.limit(commands)
	bounded, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("the guest did not end within %v", limit))
	defer cancel()
	ran := g.boot(bounded, dir, out)
	outcomes, err = readOutcomes(filepath.Join(dir, "share", job.Outcomes))
	if ran != nil || err != nil || len(outcomes) < len(commands) {
		err = g.explain(errors.Join(ran, err), dir, commands, outcomes)
	}
	if artifacts != "" {
		err = errors.Join(err, os.CopyFS(artifacts, os.DirFS(filepath.Join(dir, "share", job.Out))))
	}
	return outcomes, err
}

// prepare writes the guest's files.
func (g Guest) prepare(dir string, commands []job.Command) error {
	init, err := os.ReadFile(g.Init)
	if err != nil {
		return err
	}
	image, err := initrd(g.Kernel, init)
	if err != nil {
		return err
	}
	m := machine{}.in(dir)
	if err := os.MkdirAll(filepath.Join(m.share, job.Out), 0o755); err != nil {
		return err
	}
	text, err := json.Marshal(job.Job{Modules: g.Kernel.Modules, Release: g.Kernel.Release, Hot: files(g.Programs), Commands: commands})
	if err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile(filepath.Join(m.share, job.File), text, 0o644),
		os.WriteFile(m.initrd, image, 0o644),
		os.WriteFile(m.console, nil, 0o644),
	)
}

// boot runs QEMU to its end, which is the guest's.
func (g Guest) boot(ctx context.Context, dir string, out io.Writer) error {
	m := machine{accelerator: g.Accelerator, processors: g.Processors, mib: g.MiB, kernel: g.Kernel.Image}.in(dir)
	cmd := exec.CommandContext(ctx, program, m.arguments()...)
	var messages bytes.Buffer
	// A pipe, whatever out is: QEMU opens its standard output by name, and would cut a
	// file off. (Its stdio device takes the end of standard input for the end of all.)
	cmd.Stdout, cmd.Stderr = struct{ io.Writer }{out}, &messages
	// QEMU ends with this process, however that ends; an interrupt from a terminal is
	// for this process to pass on.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // Pdeathsig is about the thread that started the process
		defer runtime.UnlockOSThread()
		done <- cmd.Run()
	}()
	err := <-done
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, exec.ErrNotFound):
		return fmt.Errorf("%w; on Debian, apt install qemu-system-x86", err)
	case err != nil:
		return fmt.Errorf("%s: %w: %s", program, err, strings.TrimSpace(messages.String()))
	}
	return nil
}

func readOutcomes(file string) ([]job.Outcome, error) {
	text, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var all []job.Outcome
	for line := range strings.Lines(string(text)) {
		var o job.Outcome
		if err := json.Unmarshal([]byte(line), &o); err != nil {
			return all, fmt.Errorf("outcome %q: %w", line, err)
		}
		all = append(all, o)
	}
	return all, nil
}

// explain says how far the guest came, with the last lines of its console.
func (g Guest) explain(err error, dir string, commands []job.Command, outcomes []job.Outcome) error {
	where := "before its first command"
	if n := len(outcomes); n > 0 {
		where = "after " + outcomes[n-1].Name
	}
	if n := len(outcomes); n < len(commands) {
		where += ", at " + commands[n].Name
	}
	if err == nil {
		err = errors.New("it ended early")
	}
	console, readErr := os.ReadFile(machine{}.in(dir).console)
	if readErr != nil {
		return errors.Join(err, readErr)
	}
	return fmt.Errorf("guest with kernel %s (%s) stopped %s: %w; the end of its console:\n%s",
		g.Kernel.Release, g.Accelerator, where, err, tail(string(console), consoleLines))
}

// tail is the last lines of a text, each marked.
func tail(text string, lines int) string {
	all := strings.Split(strings.TrimSpace(strings.ReplaceAll(text, "\r", "")), "\n")
	if len(all) > lines {
		all = all[len(all)-lines:]
	}
	return "  | " + strings.Join(all, "\n  | ")
}
