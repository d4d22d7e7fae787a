// Package nettest has what tests of the data plane share: namespaces that go with the test,
// servers in them that tell who asks, and clients that ask. Only tests import it.
package nettest

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Sh runs a line of sh(1), which must succeed, and gives what it printed.
func Sh(tb testing.TB, format string, args ...any) string {
	tb.Helper()
	line := fmt.Sprintf(format, args...)
	out, err := exec.Command("sh", "-c", line).CombinedOutput()
	if err != nil {
		tb.Fatalf("%s: %v\n%s", line, err, out)
	}
	return string(out)
}

// Namespace makes a network namespace of that name and gives its path.
func Namespace(tb testing.TB, name string) (path string) {
	tb.Helper()
	if os.Geteuid() != 0 {
		tb.Skip("needs root: makes network namespaces")
	}
	Sh(tb, "ip netns add %s && ip -n %[1]s link set lo up", name)
	tb.Cleanup(func() { Sh(tb, "ip netns del %s", name) })
	return filepath.Join("/run/netns", name)
}

// Eventually waits until ok, at most for the time given, and tells how long that took. What
// counts is when ok is asked: what its answer takes does not.
func Eventually(tb testing.TB, within time.Duration, what string, ok func() bool) time.Duration {
	tb.Helper()
	for began := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		asked := time.Since(began)
		if ok() {
			return asked
		}
		if asked > within {
			tb.Fatalf("%s: not within %s", what, within)
		}
	}
}

// Place is where something runs: a namespace.
type Place interface {
	Do(what func() error) error
}

// Serve answers on TCP and UDP port 8080 of the addresses of a place: each line or datagram
// by who answers and who is seen to ask.
func Serve(tb testing.TB, in Place, addresses ...string) {
	tb.Helper()
	err := in.Do(func() error {
		for _, a := range addresses {
			l, err := net.Listen("tcp4", a+":8080")
			if err != nil {
				return err
			}
			u, err := net.ListenPacket("udp4", a+":8080")
			if err != nil {
				return err
			}
			tb.Cleanup(func() { l.Close(); u.Close() })
			go serveTCP(l, a)
			go serveUDP(u, a)
		}
		return nil
	})
	if err != nil {
		tb.Fatal(err)
	}
}

func serveTCP(l net.Listener, a string) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			for lines := bufio.NewScanner(c); lines.Scan(); {
				host, _, _ := net.SplitHostPort(c.RemoteAddr().String())
				fmt.Fprintf(c, "%s %s\n", a, host)
			}
		}()
	}
}

func serveUDP(u net.PacketConn, a string) {
	b := make([]byte, 2000)
	for {
		_, from, err := u.ReadFrom(b)
		if err != nil {
			return
		}
		host, _, _ := net.SplitHostPort(from.String())
		_, _ = u.WriteTo([]byte(a+" "+host+"\n"), from)
	}
}

// Client asks servers from a place.
type Client struct {
	From Place
	// Wait is how long a connection may take.
	Wait time.Duration
}

// Conn is a client's connection.
type Conn struct {
	net.Conn
	in *bufio.Reader
}

// Dial connects from an address of the client to port 80, or that given.
func (c Client) Dial(network, from, to string) (*Conn, error) {
	if !strings.Contains(to, ":") {
		to += ":80"
	}
	d := net.Dialer{Timeout: c.Wait, LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	if network == "udp4" {
		d.LocalAddr = &net.UDPAddr{IP: net.ParseIP(from)}
	}
	var conn net.Conn
	err := c.From.Do(func() (err error) {
		conn, err = d.Dial(network, to)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &Conn{conn, bufio.NewReader(conn)}, nil
}

// Once connects, asks once, and tells who answered; the client must be seen as what it is.
func (c Client) Once(tb testing.TB, network, from, to string) string {
	tb.Helper()
	conn, err := c.Dial(network, from, to)
	if err != nil {
		tb.Fatalf("%s from %s to %s: %v", network, from, to, err)
	}
	defer conn.Close()
	server, client, err := conn.Ask()
	if err != nil {
		tb.Fatalf("%s from %s to %s: %v", network, from, to, err)
	}
	if client != from {
		tb.Errorf("%s from %s to %s: the server saw %s", network, from, to, client)
	}
	return server
}

// Ask sends a line and gives who answered and who was seen to ask.
func (c *Conn) Ask() (server, client string, err error) { return c.AskWithin(5 * time.Second) }

// AskWithin is Ask that waits for the answer no longer than that.
func (c *Conn) AskWithin(wait time.Duration) (server, client string, err error) {
	if err := c.SetDeadline(time.Now().Add(wait)); err != nil {
		return "", "", err
	}
	if _, err := io.WriteString(c, "who\n"); err != nil {
		return "", "", err
	}
	line, err := c.in.ReadString('\n')
	if err != nil {
		return "", "", err
	}
	server, client, _ = strings.Cut(strings.TrimSpace(line), " ")
	return server, client, nil
}
