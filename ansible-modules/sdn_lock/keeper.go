package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sdn-tunnel/sdn-tunnel/ansible-modules/internal/module"
	"github.com/sdn-tunnel/sdn-tunnel/ansible-modules/internal/runlock"
	"github.com/sdn-tunnel/sdn-tunnel/internal/deploylock"
)

const (
	keepMode = "keep"
	// releaseAgain is the pause before a release that failed is tried again.
	releaseAgain = 500 * time.Millisecond
)

// order is what the module has its keeper do, over a pipe: it is in no file and no
// command line. Passwords are apart, as a module.Secret shows itself to nobody.
type order struct {
	Args     Args
	Password []string
	Watch    int // the process whose end ends it
}

func passwords(args Args) []string {
	out := make([]string, len(args.Members))
	for i, m := range args.Members {
		out[i] = m.Access.Password.Reveal()
	}
	return out
}

// answer is what the keeper says once it holds the locks, or could not take them.
type answer struct {
	Error   string
	Missing []string
}

// startKeeper starts this program anew, in a session of its own: it outlives the module,
// and also a run that is killed with all its processes.
func startKeeper(ctx context.Context, o order) (got answer, err error) {
	self, err := os.Executable()
	if err != nil {
		return got, fmt.Errorf("start what keeps the lock: %w", err)
	}
	in, err := json.Marshal(o)
	if err != nil {
		return got, fmt.Errorf("start what keeps the lock: %w", err)
	}
	cmd := exec.Command(self, keepMode) //nolint:noctx // it is to outlive this call
	cmd.Stdin = strings.NewReader(string(in))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return got, fmt.Errorf("start what keeps the lock: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return got, fmt.Errorf("start what keeps the lock: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = cmd.Process.Signal(syscall.SIGTERM) })
	defer stop()
	if err := json.NewDecoder(out).Decode(&got); err != nil {
		return got, fmt.Errorf("what keeps the lock ended without a word: %w", errors.Join(err, cmd.Wait()))
	}
	return got, cmd.Process.Release()
}

// keep is the keeper: it reads an order, answers, and holds the locks until the watched
// process ends. It returns the exit code.
func keep(in io.Reader, out io.WriteCloser) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	var o order
	if err := json.NewDecoder(in).Decode(&o); err != nil {
		return 1
	}
	for i := range o.Args.Members {
		o.Args.Members[i].Access.Password = module.Secret(o.Password[i])
	}
	watched, err := unix.PidfdOpen(o.Watch, 0)
	if err != nil {
		return say(out, answer{Error: fmt.Sprintf("watch ansible-playbook (process %d): %v", o.Watch, err)})
	}
	defer unix.Close(watched)
	all, err := acquire(ctx, o.Args, deploylock.Me(o.Args.Verb))
	defer func() {
		// After that time it gives way by itself.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Duration(o.Args.Duration)*time.Second)
		defer cancel()
		all.release(ctx)
	}()
	if err != nil {
		return say(out, answer{Error: err.Error()})
	}
	if len(all.missing) == len(all.locks) {
		return say(out, answer{Missing: all.missing})
	}
	note, err := all.note(o.Watch)
	if err != nil {
		return say(out, answer{Error: err.Error()})
	}
	if code := say(out, answer{Missing: all.missing}); code != 0 {
		note.Remove()
		return code
	}
	all.hold(ctx, watched, note)
	return 0
}

// note is where the run's modules see how the locks are.
func (h *held) note(pid int) (*runlock.Note, error) {
	run, err := runlock.Of(pid)
	if err != nil {
		return nil, err
	}
	return runlock.NewNote(run, h.state(nil))
}

// state is what the run's modules are told.
func (h *held) state(lost error) runlock.State {
	s := runlock.State{}
	s.Until, _ = h.locks.Until()
	if lost != nil {
		s.Lost = lost.Error()
	}
	return s
}

// errEnded is what keeps the locks having been ended before the run was.
var errEnded = errors.New("what kept the locks of this run was ended; this run was stopped, so that no two change a cluster at the same time: run this again, which takes up what is there")

// hold renews the locks until the watched process ends, and notes how they are. A lock that
// is lost, or was not renewed in time, is for the modules to stop at; one that can be renewed
// after all was nobody else's meanwhile.
func (h *held) hold(ctx context.Context, watched int, note *runlock.Note) {
	for !ended(ctx, watched, time.Second) {
		// Without the note the modules see no later time, and stop.
		_ = note.Write(h.state(h.locks.Tend(ctx)))
	}
	if ctx.Err() != nil {
		_ = note.Write(h.state(errEnded))
		return
	}
	note.Remove()
}

// say answers, and closes the pipe.
func say(out io.WriteCloser, a answer) int {
	if err := errors.Join(json.NewEncoder(out).Encode(a), out.Close()); err != nil || a.Error != "" {
		return 1
	}
	return 0
}

// ended waits for the end of a process, or for ctx, at most for a while.
func ended(ctx context.Context, pidfd int, wait time.Duration) bool {
	for end := time.Now().Add(wait); ctx.Err() == nil && time.Now().Before(end); {
		fds := []unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}
		n, err := unix.Poll(fds, int(min(time.Until(end), time.Second).Milliseconds())+1)
		if n > 0 || err != nil && !errors.Is(err, unix.EINTR) {
			return true
		}
	}
	return ctx.Err() != nil
}
