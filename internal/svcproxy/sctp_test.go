package svcproxy

import (
	"bufio"
	"fmt"
	"net"
	"net/netip"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sdn-tunnel/sdn-tunnel/internal/kerneltest"
)

// TestKernelSCTP: SCTP is balanced like TCP; the server sees the client's own address.
func TestKernelSCTP(t *testing.T) {
	kerneltest.Need(t, "sctp")
	w := newWorld(t)
	servers := []string{"10.132.0.1", "10.132.0.2"}
	for _, a := range servers {
		w.serveSCTP(t, a)
	}
	w.part.Replace(nil)
	w.part.Set(mirror("web", vip, 0, servers...))
	apply(t, w.part)
	seen := map[string]int{}
	for range 20 {
		seen[w.onceSCTP(t, vip)]++
	}
	for _, a := range servers { // one of them is left out once in 500,000 runs
		if seen[a+" "+clientIP] == 0 {
			t.Errorf("not balanced with source kept: %v", seen)
		}
	}
}

func sctpSocket(address string, port int) (fd int, to *unix.SockaddrInet4, err error) {
	fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, unix.IPPROTO_SCTP)
	return fd, &unix.SockaddrInet4{Port: port, Addr: netip.MustParseAddr(address).As4()}, err
}

// serveSCTP greets whoever connects to port 8080 of the address by who answers and who is
// seen to ask.
func (w *world) serveSCTP(t *testing.T, address string) {
	t.Helper()
	err := w.Remote.Do(func() error {
		fd, at, err := sctpSocket(address, 8080)
		if err != nil {
			return err
		}
		t.Cleanup(func() { _, _ = unix.Shutdown(fd, unix.SHUT_RDWR), unix.Close(fd) })
		if err := unix.Bind(fd, at); err != nil {
			return err
		}
		if err := unix.Listen(fd, 10); err != nil {
			return err
		}
		go func() {
			for {
				c, from, err := unix.Accept(fd)
				if err != nil {
					return
				}
				client := net.IP(from.(*unix.SockaddrInet4).Addr[:])
				_, _ = unix.Write(c, fmt.Appendf(nil, "%s %s\n", address, client))
				unix.Close(c)
			}
		}()
		return nil
	})
	if err != nil {
		t.Fatalf("serve SCTP on %s: %v", address, err)
	}
}

func (w *world) onceSCTP(t *testing.T, to string) (greeting string) {
	t.Helper()
	err := w.Pod.Do(func() error {
		fd, at, err := sctpSocket(to, 80)
		if err != nil {
			return err
		}
		f := os.NewFile(uintptr(fd), "sctp")
		defer f.Close()
		if err := unix.Connect(fd, at); err != nil {
			return err
		}
		in := bufio.NewScanner(f)
		in.Scan()
		greeting = in.Text()
		return in.Err()
	})
	if err != nil {
		t.Fatalf("SCTP to %s: %v", to, err)
	}
	return greeting
}
