package machine

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/prometheus/procfs"

	"github.com/sdn-tunnel/sdn-tunnel/internal/lab/underlay"
)

// ErrRunning says that a machine is up already.
var ErrRunning = errors.New("machine is running")

// Start boots the machine. initCommand is this program's own command that calls
// Init; the machine's folder is added as its last argument. Start returns when the
// machine's root is in place and its services are being started.
func (s *Spec) Start(initCommand []string) error {
	if pid, _ := s.Pid(); pid != 0 {
		return fmt.Errorf("%s: %w", s.Hostname, ErrRunning)
	}
	if err := s.save(); err != nil {
		return fmt.Errorf("machine %s: %w", s.Hostname, err)
	}
	// What an earlier boot left would look to the kubelet like containers.
	if err := removeGroups(s.Cgroup); err != nil {
		return err
	}
	log, err := os.OpenFile(filepath.Join(s.LogDir(), "init.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	cmd := exec.Command(initCommand[0], append(initCommand[1:len(initCommand):len(initCommand)], s.Dir)...)
	cmd.Stdout, cmd.Stderr, cmd.Dir = log, log, "/"
	cmd.ExtraFiles = []*os.File{w}
	cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LANG=C.UTF-8"}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Setsid:     true,
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWUTS | syscall.CLONE_NEWPID | syscall.CLONE_NEWIPC,
	}
	group, err := Into(s.Cgroup, cmd)
	if err != nil {
		return err
	}
	defer group.Close()
	err = underlay.InPath(s.NetNS, cmd.Start)
	_ = w.Close()
	if err != nil {
		return fmt.Errorf("start machine %s: %w", s.Hostname, err)
	}
	go func() { _ = cmd.Wait() }() // reaps it if it ends while we live
	if err := s.savePid(cmd.Process.Pid); err != nil {
		return err
	}
	return s.await(r)
}

// await reads what the init says of its boot: nothing is a success.
func (s *Spec) await(r io.Reader) error {
	said, err := io.ReadAll(r)
	if err != nil {
		return fmt.Errorf("machine %s: %w", s.Hostname, err)
	}
	if msg := strings.TrimSpace(string(said)); msg != "ready" {
		return fmt.Errorf("machine %s did not boot: %s (see %s)", s.Hostname, msg, filepath.Join(s.LogDir(), "init.log"))
	}
	return nil
}

// PowerOff kills the machine's init, and with it everything in the machine. It
// returns when all of it has ended. A machine that is off already is no error.
func (s *Spec) PowerOff(wait time.Duration) error {
	pid, err := s.Pid()
	if err != nil {
		return err
	}
	if pid != 0 {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("power off %s: %w", s.Hostname, err)
		}
	}
	deadline := time.Now().Add(wait)
	for time.Now().Before(deadline) {
		if pid, _ := s.Pid(); pid == 0 {
			_ = os.Remove(s.pidFile())
			return nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	return fmt.Errorf("power off %s: its init %d is still there after %s", s.Hostname, pid, wait)
}

// Exec is a command that runs args inside the machine.
func (s *Spec) Exec(args ...string) (*exec.Cmd, error) {
	pid, err := s.Pid()
	if err != nil {
		return nil, err
	}
	if pid == 0 {
		return nil, fmt.Errorf("machine %s is off", s.Hostname)
	}
	enter := []string{"--target", fmt.Sprint(pid), "--mount", "--uts", "--ipc", "--net", "--pid", "--"}
	return exec.Command("nsenter", append(enter, args...)...), nil
}

// Pid is the process number of the machine's init, 0 when it is off.
func (s *Spec) Pid() (int, error) {
	b, err := os.ReadFile(s.pidFile())
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	var pid int
	var started string
	// A file half-written by a crash is of no machine: the control group still knows.
	if n, _ := fmt.Sscan(string(b), &pid, &started); n < 2 || !lives(pid, started) {
		return 0, nil
	}
	return pid, nil
}

func lives(pid int, started string) bool {
	now, err := startTime(pid)
	return err == nil && now == started
}

func (s *Spec) savePid(pid int) error {
	started, err := startTime(pid)
	if err != nil {
		return fmt.Errorf("machine %s ended at once: see %s", s.Hostname, s.LogDir())
	}
	return os.WriteFile(s.pidFile(), fmt.Appendf(nil, "%d %s\n", pid, started), 0o644)
}

// startTime is when a process began, in ticks since the machine did, which tells it from a
// later one with the same number; an error says that there is none, or only its remains.
func startTime(pid int) (string, error) {
	p, err := procfs.NewProc(pid)
	if err != nil {
		return "", err
	}
	s, err := p.Stat()
	if err != nil {
		return "", err
	}
	if s.State == "Z" || s.State == "X" {
		return "", os.ErrProcessDone
	}
	return strconv.FormatUint(s.Starttime, 10), nil
}
