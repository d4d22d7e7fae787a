package kuberouter

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/sdn-tunnel/sdn-tunnel/internal/tunnelns"
)

// endGrace is how long kube-router may take to end when it is told to.
const endGrace = 2 * time.Second

// arguments are kube-router's: the proxy of services alone, without what it would do or
// listen on besides. An endpoint that goes keeps its connections for a while (graceful).
func arguments(api string) []string {
	return []string{
		"--master=http://" + api,
		"--run-service-proxy=true", "--run-router=false", "--run-firewall=false", "--run-loadbalancer=false",
		"--enable-cni=false", "--enable-ipv6=false", "--auto-mtu=false",
		"--health-port=0", "--metrics-port=0",
		"--ipvs-graceful-termination=true", "--ipvs-graceful-period=10m",
		"--v=0",
	}
}

// program runs one kube-router in a namespace, from its start to its end.
type program struct {
	path      string
	namespace tunnelns.Namespace
	node      string
	log       *slog.Logger
}

// run starts the program and waits for its end. When ctx ends the program is told to end,
// and killed if it does not. It ends with this process, however that ends: the kernel
// kills it when the thread that started it goes, which stays until then.
func (p program) run(ctx context.Context, api string) error {
	told := &tail{log: p.log}
	err := p.namespace.Do(func() error {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		cmd := exec.CommandContext(ctx, p.path, arguments(api)...)
		cmd.Env = []string{"NODE_NAME=" + p.node, "PATH=" + os.Getenv("PATH")}
		cmd.Stdout, cmd.Stderr = told, told
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
		cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
		cmd.WaitDelay = endGrace
		return cmd.Run()
	})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("start %s: %w; the agent's image has to have it", p.path, err)
	}
	if err == nil {
		err = errors.New("it ended by itself")
	}
	if last := told.last(); last != "" {
		return fmt.Errorf("%w: %s", err, last)
	}
	return err
}

// tail passes on what kube-router says, line by line, and keeps the last complaint.
type tail struct {
	log *slog.Logger

	mu   sync.Mutex
	rest strings.Builder
	bad  string
}

// longestLine bounds a line that is kept.
const longestLine = 300

// Write is called with what kube-router writes.
func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for lines := bufio.NewReader(strings.NewReader(string(b))); ; {
		line, err := lines.ReadString('\n')
		if room := longestLine - t.rest.Len(); room > 0 {
			t.rest.WriteString(strings.TrimRight(line, "\n")[:min(room, len(strings.TrimRight(line, "\n")))])
		}
		if errors.Is(err, io.EOF) {
			return len(b), nil
		}
		t.line(t.rest.String())
		t.rest.Reset()
	}
}

// line judges one by the letter that klog begins it with.
func (t *tail) line(text string) {
	level := slog.LevelDebug
	switch {
	case text == "":
		return
	case strings.HasPrefix(text, "W"), strings.HasPrefix(text, "I"):
	default: // E, F, a panic, or what is said before there is a log
		level = slog.LevelWarn
		if !strings.HasPrefix(t.bad, "F") && !strings.HasPrefix(t.bad, "panic:") {
			t.bad = text
		}
	}
	t.log.Log(context.Background(), level, "kube-router says", "line", text)
}

func (t *tail) last() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.bad
}
