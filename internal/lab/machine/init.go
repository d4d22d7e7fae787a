package machine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// stage marks the second half of Init, which runs in the machine's own control group
// namespace.
const stage = "SDN_TUNNEL_LAB_MACHINE"

// Init is what process 1 of a machine does: it makes the machine's root, starts
// the services and keeps them running, until it is told to stop or killed. The
// machine's folder comes from Start, which also waits on file descriptor 3.
func Init(dir string) error {
	if os.Getpid() != 1 {
		return errors.New("a machine's init runs only as process 1 of its own namespace: use lab up")
	}
	told := os.NewFile(3, "boot")
	s, err := Load(dir)
	if err == nil && os.Getenv(stage) == "" {
		err = s.enterGroups()
	} else if err == nil {
		syscall.CloseOnExec(3)
		err = s.boot()
	}
	if err != nil {
		_, _ = fmt.Fprintln(told, err)
		return err
	}
	_, _ = fmt.Fprintln(told, "ready")
	_ = told.Close()

	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	newSupervisor(s).run(ctx)
	return nil
}

// enterGroups joins the machine's control groups, makes them the root of a namespace
// and starts Init again in it: a namespace is a thread's own until it runs a program.
func (s *Spec) enterGroups() error {
	if err := joinVersion1(s.Cgroup); err != nil {
		return err
	}
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWCGROUP); err != nil {
		return fmt.Errorf("control group namespace: %w", err)
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	return syscall.Exec(self, os.Args, append(os.Environ(), stage+"=up"))
}

func (s *Spec) boot() error {
	if err := os.Unsetenv(stage); err != nil {
		return err
	}
	if err := syscall.Sethostname([]byte(s.Hostname)); err != nil {
		return fmt.Errorf("host name: %w", err)
	}
	syscall.Umask(0o022)
	return s.enterRoot()
}

// supervisor starts services and is told of the end of every process below it.
type supervisor struct {
	spec *Spec
	log  *slog.Logger

	mu    sync.Mutex // held over a start and its entry in ended
	ended map[int]chan syscall.WaitStatus
}

func newSupervisor(s *Spec) *supervisor {
	return &supervisor{
		spec:  s,
		log:   slog.New(slog.NewTextHandler(os.Stderr, nil)),
		ended: map[int]chan syscall.WaitStatus{},
	}
}

// run keeps all services up until ctx ends, then ends every process.
func (v *supervisor) run(ctx context.Context) {
	go v.reap()
	var wg sync.WaitGroup
	for _, svc := range v.spec.Services {
		wg.Add(1)
		go func() {
			defer wg.Done()
			v.keep(ctx, svc)
		}()
	}
	<-ctx.Done()
	_ = syscall.Kill(-1, syscall.SIGTERM)
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(5 * time.Second):
	}
}

// keep runs one service again and again, slower when it fails at once.
func (v *supervisor) keep(ctx context.Context, svc Service) {
	pause := 200 * time.Millisecond
	for ctx.Err() == nil {
		began := time.Now()
		v.waitFor(ctx, svc.After)
		status, err := v.once(ctx, svc)
		if ctx.Err() != nil {
			return
		}
		v.log.Warn("service ended", "service", svc.Name, "status", describe(status), "err", err)
		if time.Since(began) > 10*time.Second {
			pause = 200 * time.Millisecond
		}
		sleep(ctx, pause)
		pause = min(2*pause, 5*time.Second)
	}
}

// once runs the commands before the service, then the service to its end.
func (v *supervisor) once(ctx context.Context, svc Service) (syscall.WaitStatus, error) {
	out, err := os.OpenFile(v.spec.LogDir()+"/"+svc.Name+".log", os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return 0, err
	}
	defer out.Close()
	for _, args := range append(svc.Before[:len(svc.Before):len(svc.Before)], svc.Args) {
		exited, err := v.start(args, svc.Env, out)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", args[0], err)
		}
		status := <-exited
		if status != 0 || ctx.Err() != nil {
			return status, nil
		}
	}
	return 0, nil
}

func (v *supervisor) start(args, env []string, out *os.File) (<-chan syscall.WaitStatus, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	null, err := os.Open(os.DevNull)
	if err != nil {
		return nil, err
	}
	defer null.Close()
	path, err := exec.LookPath(args[0])
	if err != nil {
		return nil, err
	}
	p, err := os.StartProcess(path, args, &os.ProcAttr{
		Dir:   "/",
		Env:   append(os.Environ(), env...),
		Files: []*os.File{null, out, out},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		return nil, err
	}
	ch := make(chan syscall.WaitStatus, 1)
	v.ended[p.Pid] = ch
	return ch, p.Release()
}

// reap waits for every child, the machine's orphans included.
func (v *supervisor) reap() {
	child := make(chan os.Signal, 1)
	signal.Notify(child, syscall.SIGCHLD)
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
		if pid <= 0 {
			if err != syscall.EINTR {
				<-child
			}
			continue
		}
		v.mu.Lock()
		if ch, ok := v.ended[pid]; ok {
			ch <- status
			delete(v.ended, pid)
		}
		v.mu.Unlock()
	}
}

func (v *supervisor) waitFor(ctx context.Context, paths []string) {
	for _, p := range paths {
		for ctx.Err() == nil {
			if _, err := os.Stat(p); err == nil {
				break
			}
			sleep(ctx, 50*time.Millisecond)
		}
	}
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

func describe(s syscall.WaitStatus) string {
	if s.Signaled() {
		return s.Signal().String()
	}
	return fmt.Sprint("exit ", s.ExitStatus())
}
