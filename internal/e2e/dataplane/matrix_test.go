package dataplane

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sdn-tunnel/sdn-tunnel/internal/tunnelns"
)

// heals is how soon a path that has become narrower must carry everything again.
const heals = 5 * time.Second

// underlays are those of the matrix: all links alike, a path narrower than the nodes know,
// and clusters that differ.
var underlays = []underlay{
	{east: 1280, west: 1280, path: 1280},
	{east: 1400, west: 1400, path: 1400},
	{east: 1500, west: 1500, path: 1500},
	{east: 9000, west: 9000, path: 9000},
	{east: 9000, west: 9000, path: 1500},
	{east: 9000, west: 9000, path: 1280},
	{east: 9000, west: 1500, path: 1500},
}

// testMTU has everything pass over every underlay, with ICMP and without, whatever TCP's
// ends believe of the path.
func testMTU(t *testing.T, w *world) {
	for _, p := range []string{"west-1", "east-1"} {
		w.pod(p, open).measure(t)
	}
	for _, u := range underlays {
		t.Run(u.String(), func(t *testing.T) { u.test(t, w.with(t)) })
	}
	w.with(t).set(usual)
}

func (u underlay) test(t *testing.T, w *world) {
	w.set(u)
	for _, muted := range []bool{false, true} {
		said := map[bool]string{false: "ICMP passes", true: "ICMP is dropped"}[muted]
		w.dropICMP(muted)
		w.forget()
		for _, c := range u.datagrams(w) {
			got, err := fit(c.from, c.to)
			if err != nil || got != c.fits {
				t.Errorf("%s: UDP, not to be fragmented, from %s: packets of %d bytes pass, %v; want %d", said, c.what, got, err, c.fits)
			}
		}
		w.transfers(t, said+", clamped")
	}
	w.withoutClamp(func() {
		for _, muted := range []bool{true, false} {
			w.dropICMP(muted)
			w.forget()
			w.transfers(t, fmt.Sprintf("ICMP dropped: %v, not clamped", muted))
		}
	})
}

// flow is one way through the mesh, and what it carries.
type flow struct {
	what string
	from tunnelns.Namespace
	to   *pod
	fits int
}

// datagrams are the ways of the matrix. A sender is told what its own tunnel carries, and
// what the other end's pods take.
func (u underlay) datagrams(w *world) []flow {
	east, west := w.node("east-1"), w.node("west-1")
	there := min(u.podMTU(east), tunnelMTU(u.east), u.podMTU(west))
	back := min(u.podMTU(west), tunnelMTU(u.west), u.podMTU(east))
	a, b := w.pod("east-1", open), w.pod("west-1", open)
	return []flow{
		{"pod", a.network(), b, there},
		{"remote pod", b.network(), a, back},
		{"isolated pod", w.pod("east-2", isolated).network(), b, there},
		{"node", east.network(), b, there},
		{"pod, to a service", a.network(), w.service("west-1"), there},
	}
}

// transfers has TCP carry something from pods and a node to a pod, and to its service.
func (w *world) transfers(t *testing.T, said string) {
	t.Helper()
	to := w.pod("west-1", open)
	for _, c := range []flow{
		{what: "pod", from: w.pod("east-1", open).network(), to: to},
		{what: "isolated pod", from: w.pod("east-2", isolated).network(), to: to},
		{what: "node", from: w.node("east-1").network(), to: to},
		{what: "pod, to a service", from: w.pod("east-1", open).network(), to: w.service("west-1")},
	} {
		if took, err := exchange(c.from, c.to); err != nil {
			t.Errorf("%s: TCP from %s: %v after %v", said, c.what, err, took)
		}
	}
}

const (
	measurePort  = 8081
	transferPort = 8082
	// amount is what TCP carries each way; it is many packets on the widest path.
	amount = 64 << 10
)

// measure answers, in the pod, each datagram with its length, and each connection with as
// much as it brings.
func (p *pod) measure(t *testing.T) {
	t.Helper()
	var udp net.PacketConn
	var tcp net.Listener
	err := p.network().Do(func() (err error) {
		if udp, err = net.ListenPacket("udp4", netip.AddrPortFrom(p.ip, measurePort).String()); err != nil {
			return err
		}
		tcp, err = net.Listen("tcp4", netip.AddrPortFrom(p.ip, transferPort).String())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	group.Go(func() {
		for buffer := make([]byte, 1<<16); ; {
			n, from, err := udp.ReadFrom(buffer)
			if err != nil {
				return
			}
			_, _ = udp.WriteTo([]byte(strconv.Itoa(n)), from)
		}
	})
	group.Go(func() {
		for {
			conn, err := tcp.Accept()
			if err != nil {
				return
			}
			group.Go(func() { _, _ = both(conn) })
		}
	})
	t.Cleanup(func() { udp.Close(); tcp.Close(); group.Wait() })
}

// fit sends datagrams that must not be fragmented, as large as the sender's kernel takes
// them, until one is answered, and gives the size of its packet. Each must either arrive
// or be refused with an error.
func fit(from tunnelns.Namespace, to *pod) (size int, err error) {
	const headers = 28 // of IPv4 and UDP
	err = from.Do(func() error {
		c, err := net.Dial("udp4", netip.AddrPortFrom(to.ip, measurePort).String())
		if err != nil {
			return err
		}
		defer c.Close()
		conn := c.(*net.UDPConn)
		for range 4 {
			if size, err = pathMTU(conn); err != nil {
				return err
			}
			if err := conn.SetDeadline(time.Now().Add(2 * time.Second)); err != nil {
				return err
			}
			_, err = conn.Write(make([]byte, size-headers))
			answer := make([]byte, 8)
			n := 0
			if err == nil {
				n, err = conn.Read(answer)
			}
			switch {
			case err == nil && string(answer[:n]) != strconv.Itoa(size-headers):
				return fmt.Errorf("%d bytes arrived as %s", size-headers, answer[:n])
			case err == nil:
				return nil
			case !errors.Is(err, unix.EMSGSIZE):
				return fmt.Errorf("lost silently: %w", err)
			}
		}
		return fmt.Errorf("still too big: %w", err)
	})
	return size, err
}

// pathMTU is what the sender's kernel believes of the path; its packets say "do not
// fragment" from then on.
func pathMTU(conn *net.UDPConn) (mtu int, err error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, err
	}
	inner := raw.Control(func(fd uintptr) {
		if err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DO); err == nil {
			mtu, err = unix.GetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_MTU)
		}
	})
	return mtu, errors.Join(err, inner)
}

// exchange sends the amount both ways at once over one connection.
func exchange(from tunnelns.Namespace, to *pod) (took time.Duration, err error) {
	began := time.Now()
	var conn net.Conn
	err = from.Do(func() (err error) {
		conn, err = net.DialTimeout("tcp4", netip.AddrPortFrom(to.ip, transferPort).String(), heals)
		return err
	})
	if err == nil {
		_, err = both(conn)
	}
	return time.Since(began), err
}

// both sends and receives the amount, and closes the connection.
func both(conn net.Conn) (int64, error) {
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(heals)); err != nil {
		return 0, err
	}
	sent := make(chan error, 1)
	go func() {
		_, err := conn.Write(make([]byte, amount))
		sent <- err
	}()
	n, err := io.CopyN(io.Discard, conn, amount)
	return n, errors.Join(err, <-sent)
}

// shrinking are ways in which a path becomes narrower while something is on it. The pods'
// own MTU stays: the SDN sets it when a pod starts.
var shrinking = []struct {
	what string
	to   underlay
}{
	{"the path, to 1280", underlay{east: 1500, west: 1500, path: 1280, pods: podMTU}},
	{"the nodes' links of one cluster, to 1400", underlay{east: 1400, west: 1500, path: 1400, pods: podMTU}},
	{"all links, to 1280", underlay{east: 1280, west: 1280, path: 1280, pods: podMTU}},
}

// testShrinks has TCP connections go on while the underlay, which drops ICMP, becomes
// narrower.
func testShrinks(t *testing.T, w *world) {
	w.dropICMP(true)
	for _, s := range shrinking {
		t.Run(s.what, func(t *testing.T) {
			w := w.with(t)
			east, west := w.pod("east-1", open), w.pod("west-1", open)
			streams := []*stream{startStream(t, east, west), startStream(t, west, east)}
			for _, s := range streams {
				s.await(t, time.Now())
			}
			began := time.Now()
			w.set(s.to)
			for _, s := range streams {
				s.await(t, time.Now().Add(time.Second/2))
				if gap := s.end(); gap > heals {
					t.Errorf("nothing came for %v; want at most %v", gap, heals)
				} else {
					t.Logf("longest gap %v", gap)
				}
			}
			t.Logf("all agents followed after %v at most", time.Since(began))
			w.set(usual)
		})
	}
	w.with(t).dropICMP(false)
}

// stream is a connection on which full packets flow at a moderate pace.
type stream struct {
	stop context.CancelFunc
	done sync.WaitGroup

	mu   sync.Mutex
	last time.Time
	gap  time.Duration
}

func startStream(t *testing.T, from, to *pod) *stream {
	t.Helper()
	var listener net.Listener
	var out net.Conn
	err := to.network().Do(func() (err error) {
		listener, err = net.Listen("tcp4", netip.AddrPortFrom(to.ip, 0).String())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	err = from.network().Do(func() (err error) {
		out, err = net.DialTimeout("tcp4", listener.Addr().String(), patience)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	in, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	s := &stream{last: time.Now()}
	s.stop = func() { cancel(); in.Close(); out.Close(); s.done.Wait() }
	s.done.Go(func() {
		for ; ctx.Err() == nil; time.Sleep(10 * time.Millisecond) {
			_, _ = out.Write(make([]byte, 8<<10))
		}
	})
	s.done.Go(func() {
		for buffer := make([]byte, 1<<16); ; {
			if _, err := in.Read(buffer); err != nil {
				return
			}
			s.mu.Lock()
			s.gap, s.last = max(s.gap, time.Since(s.last)), time.Now()
			s.mu.Unlock()
		}
	})
	t.Cleanup(s.stop)
	return s
}

// await waits until something has come after a moment.
func (s *stream) await(t *testing.T, moment time.Time) {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		s.mu.Lock()
		last := s.last
		s.mu.Unlock()
		if last.After(moment) {
			return
		}
	}
	t.Fatalf("nothing comes any more for %v", patience)
}

// end is the longest time without anything.
func (s *stream) end() time.Duration {
	s.stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.gap
}
