package apitest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// process is one program that the test started.
type process struct {
	name string
	pid  int
	done chan struct{}
}

// start runs a program with its output in logFile. The program gets SIGKILL when
// the thread that started it ends; so that thread is kept until the program ends.
func start(logFile, program string, args ...string) (*process, error) {
	out, err := os.OpenFile(logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the log of %s: %w", program, err)
	}
	cmd := exec.Command(program, args...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	p := &process{name: program, done: make(chan struct{})}
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(p.done)
		defer out.Close()
		err := cmd.Start()
		if err == nil {
			p.pid = cmd.Process.Pid
		}
		started <- err
		if err == nil {
			_ = cmd.Wait() // it is killed in the end; its log says more
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", program, err)
	}
	return p, nil
}

// stop ends the program and waits until it is gone.
func (p *process) stop() {
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		select {
		case <-p.done:
			return
		default:
		}
		_ = syscall.Kill(p.pid, signal)
		select {
		case <-p.done:
			return
		case <-time.After(3 * time.Second):
		}
	}
	<-p.done
}

// until calls ok each 100 ms until it returns no error, the program ends or ctx does.
func (p *process) until(ctx context.Context, ok func(context.Context) error) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ok(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-p.done:
			return fmt.Errorf("%s ended before it was ready: %w", p.name, err)
		case <-ctx.Done():
			return fmt.Errorf("%s was not ready in time: %w", p.name, err)
		case <-tick.C:
		}
	}
}

// FreePorts returns n ports of 127.0.0.1 that nothing has now, neither by TCP nor by UDP, and
// that it gives to nobody else while this process lives: a server that is stopped finds its
// port free when it is started again. They are below those that Linux gives to sockets that
// name none (net.ipv4.ip_local_port_range, from 32768 on).
func FreePorts(n int) ([]uint16, error) {
	const lowest, highest, tries = 20_000, 32_000, 1000
	ports := make([]uint16, 0, n)
	var last error
	for range tries {
		if len(ports) == n {
			return ports, nil
		}
		port := uint16(lowest + rand.IntN(highest-lowest))
		if last = reserve(port); last == nil {
			ports = append(ports, port)
		}
	}
	return nil, fmt.Errorf("find %d free ports between %d and %d: %w", n, lowest, highest, last)
}

// reserve takes a port for this process, if nothing listens on it. What says so to other
// tests' processes is an abstract unix socket (unix(7)), which goes with this one.
func reserve(port uint16) error {
	taken, err := net.Listen("unix", fmt.Sprintf("@sdn-tunnel-test-port-%d", port))
	if err != nil {
		return err
	}
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(int(port)))
	stream, err := net.Listen("tcp", address)
	if err == nil {
		err = stream.Close()
	}
	if err == nil {
		var datagrams net.PacketConn
		if datagrams, err = net.ListenPacket("udp", address); err == nil {
			err = datagrams.Close()
		}
	}
	if err != nil {
		_ = taken.Close()
		return err
	}
	reserved.Lock()
	defer reserved.Unlock()
	reserved.sockets = append(reserved.sockets, taken)
	return nil
}

// reserved keeps the sockets of reserve from being closed as garbage.
var reserved struct {
	sync.Mutex
	sockets []net.Listener
}
