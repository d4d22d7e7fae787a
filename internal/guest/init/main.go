// Command init is process 1 of a guest (package guest): it loads the modules that the
// shares need, mounts the host's files under an overlay in memory, runs the job's
// commands one after the other and powers off.
//
// What it does goes to the console, so that a guest that hangs says where.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sdn-tunnel/sdn-tunnel/internal/guest/job"
)

func main() {
	if err := work(); err != nil {
		say("failed: %v", err)
	}
	unix.Sync()
	if err := unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF); err != nil {
		say("power off: %v", err)
	}
}

// say writes to the console.
func say(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "init: "+format+"\n", args...)
}

func work() error {
	if err := mountRoot(); err != nil {
		return err
	}
	text, err := os.ReadFile(filepath.Join(job.Share, job.File))
	if err != nil {
		return fmt.Errorf("read the job: %w", err)
	}
	var j job.Job
	if err := json.Unmarshal(text, &j); err != nil {
		return fmt.Errorf("read the job: %w", err)
	}
	if err := bindModules(j); err != nil {
		return err
	}
	if err := os.Setenv("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"); err != nil {
		return err
	}
	if out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
		return fmt.Errorf("set lo up: %w: %s", err, out)
	}
	copyUp(j.Hot)
	port, err := openPort()
	if err != nil {
		return err
	}
	outcomes, err := os.Create(filepath.Join(job.Share, job.Outcomes))
	if err != nil {
		return fmt.Errorf("outcomes: %w", err)
	}
	for _, c := range j.Commands {
		say("running %s", c.Name)
		o := run(c, port)
		say("%s: exit %d after %v %s", c.Name, o.Exit, o.Took.Round(time.Millisecond), o.Error)
		endRest()
		if err := json.NewEncoder(outcomes).Encode(o); err != nil {
			return fmt.Errorf("outcomes: %w", err)
		}
	}
	return errors.Join(outcomes.Close(), port.Close())
}

// openPort opens the virtio port of the output; there is no udev to give it a name.
func openPort() (*os.File, error) {
	names, err := filepath.Glob("/sys/class/virtio-ports/*/name")
	if err != nil {
		return nil, err
	}
	for _, n := range names {
		if text, err := os.ReadFile(n); err == nil && strings.TrimSpace(string(text)) == job.Port {
			return os.OpenFile(filepath.Join("/dev", filepath.Base(filepath.Dir(n))), os.O_WRONLY, 0)
		}
	}
	return nil, fmt.Errorf("no virtio port %q among %v", job.Port, names)
}

// aged makes the guest look as if it had been up for a while: ovs-vswitchd 3.1 counts no
// processor, and so handles no packet, when the monotonic clock is below 10 s.
var aged = []string{"unshare", "--fork", "--time", "--monotonic", "1000", "--boottime", "1000", "--kill-child=KILL", "--"}

func run(c job.Command, out *os.File) job.Outcome {
	o := job.Outcome{Name: c.Name, Exit: -1}
	args := slices.Concat(aged, c.Args)
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = c.Dir, c.Env, out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	began := time.Now()
	if err := cmd.Start(); err != nil {
		o.Error = err.Error()
		return o
	}
	if c.Timeout > 0 {
		timer := time.AfterFunc(c.Timeout, func() {
			o.TimedOut = true
			hang(cmd.Process.Pid)
		})
		defer timer.Stop()
	}
	err := cmd.Wait()
	o.Took, o.Exit = time.Since(began), cmd.ProcessState.ExitCode()
	if exit := (*exec.ExitError)(nil); err != nil && (!errors.As(err, &exit) || o.Exit < 0) {
		o.Error = err.Error()
	}
	return o
}

// endRest ends all that a command has left running: everything but this process, which
// is the parent of all orphans and the one that has to reap them.
func endRest() {
	_ = unix.Kill(-1, unix.SIGKILL)
	for {
		if _, err := unix.Wait4(-1, nil, 0, nil); err != nil && !errors.Is(err, unix.EINTR) {
			return // ECHILD: none is left
		}
	}
}

// hang has a process that did not end tell where it is (a Go program prints its
// goroutines on SIGQUIT, the kernel its blocked tasks on the console), and ends it.
func hang(group int) {
	say("time is up; blocked tasks:")
	_ = os.WriteFile("/proc/sysrq-trigger", []byte("w"), 0)
	_ = unix.Kill(-group, unix.SIGQUIT)
	time.Sleep(5 * time.Second)
	_ = unix.Kill(-group, unix.SIGKILL)
}
