package dataplane

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/sdn-tunnel/sdn-tunnel/internal/lab/sdn/tables"
	"github.com/sdn-tunnel/sdn-tunnel/internal/tunnelns"
)

// BenchmarkKernelPath measures ways from a node or pod of one cluster to one of another.
// All are measured in one world, on one kernel, one after the other: `make bench` sets
// them in relation to raw WireGuard. Names are key=value, as benchstat likes them.
func BenchmarkKernelPath(b *testing.B) {
	w := newWorld(b, tables.NetworkPolicy, 2, 2)
	for _, n := range w.nodes {
		n.pods[0].serve(b)
	}
	w.warmUp()
	for _, l := range layouts {
		r := l.lay(w)
		for _, m := range measures {
			for range rounds { // each with sockets of its own
				b.Run("layout="+l.name+"/"+m.name, func(b *testing.B) { m.run(b, r) })
			}
		}
	}
}

// rounds is how often each is measured: how a connection fares differs from one to the
// next, more than the kernel's work does.
const rounds = 5

// route is what a layout leads from and to.
type route struct{ from, to end }

type end struct {
	in tunnelns.Namespace
	ip netip.Addr
}

// measures are what is measured of each layout. Both ends are in this process.
var measures = []struct {
	name string
	run  func(*testing.B, route)
}{
	{"TCP=1", func(b *testing.B, r route) { r.tcp(b, 1) }},
	{"TCP=4", func(b *testing.B, r route) { r.tcp(b, 4) }},
	{"UDP=64", func(b *testing.B, r route) { r.udp(b, 64) }},
	{"UDP=1200", func(b *testing.B, r route) { r.udp(b, 1200) }},
	{"latency", func(b *testing.B, r route) { r.latency(b) }},
}

// lost is how long nothing has come when a packet is taken for lost.
const lost = time.Minute

// connect opens a connection on the route, and gives both of its ends.
func (r route) connect(b *testing.B) (out, in net.Conn) {
	b.Helper()
	var listener net.Listener
	err := r.to.in.Do(func() (err error) {
		listener, err = net.Listen("tcp4", netip.AddrPortFrom(r.to.ip, 0).String())
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	defer listener.Close()
	err = r.from.in.Do(func() (err error) {
		dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: r.from.ip.AsSlice()}, Timeout: patience}
		out, err = dialer.DialContext(b.Context(), "tcp4", listener.Addr().String())
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	if in, err = listener.Accept(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { out.Close(); in.Close() })
	return out, in
}

// window bounds what a connection has under way, in bytes: with the kernel's default a
// single processor's queues overflow, and chance decides how often.
const window = 256 << 10

// tcp has some connections carry as much as they can, one way; an operation is a chunk
// that has arrived, on whichever of them.
func (r route) tcp(b *testing.B, connections int) {
	const chunk = 64 << 10
	err := r.to.in.Do(func() error {
		return os.WriteFile("/proc/sys/net/ipv4/tcp_rmem", fmt.Appendf(nil, "4096 %d %d", window/2, window), 0)
	})
	if err != nil {
		b.Fatal(err)
	}
	arrived, done := make(chan struct{}), make(chan struct{})
	defer close(done)
	for range connections {
		out, in := r.connect(b)
		go func() {
			for buffer := make([]byte, chunk); ; {
				if _, err := out.Write(buffer); err != nil {
					return
				}
			}
		}()
		go func() {
			for buffer := make([]byte, chunk); ; {
				if _, err := io.ReadFull(in, buffer); err != nil {
					return
				}
				select {
				case arrived <- struct{}{}:
				case <-done:
					return
				}
			}
		}()
	}
	for range 32 * connections { // the windows have opened by then
		<-arrived
	}
	b.SetBytes(chunk)
	for b.Loop() {
		<-arrived
	}
}

// sockets are two UDP sockets that know each other.
func (r route) sockets(b *testing.B) (from, to net.PacketConn) {
	b.Helper()
	open := func(e end) (conn net.PacketConn) {
		err := e.in.Do(func() (err error) {
			conn, err = net.ListenPacket("udp4", netip.AddrPortFrom(e.ip, 0).String())
			return err
		})
		if err == nil {
			err = conn.SetReadDeadline(time.Now().Add(lost))
		}
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { conn.Close() })
		return conn
	}
	return open(r.from), open(r.to)
}

// udp sends packets of a size, one way, with a few of them under way at any time, so that
// none is lost; an operation is a packet that has arrived.
func (r route) udp(b *testing.B, size int) {
	const underWay = 32
	from, to := r.sockets(b)
	credit, done := make(chan struct{}, underWay), make(chan struct{})
	defer close(done)
	for range underWay {
		credit <- struct{}{}
	}
	go func() {
		for buffer := make([]byte, size); ; {
			select {
			case <-credit:
			case <-done:
				return
			}
			if _, err := from.WriteTo(buffer, to.LocalAddr()); err != nil {
				return
			}
		}
	}()
	buffer := make([]byte, size)
	for b.Loop() {
		if _, _, err := to.ReadFrom(buffer); err != nil {
			b.Fatal(err)
		}
		credit <- struct{}{}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "packets/s")
}

// latency is the time that a small packet takes there and back.
func (r route) latency(b *testing.B) {
	from, to := r.sockets(b)
	go func() {
		for buffer := make([]byte, 64); ; {
			n, a, err := to.ReadFrom(buffer)
			if err != nil {
				return
			}
			if _, err := to.WriteTo(buffer[:n], a); err != nil {
				return
			}
		}
	}()
	buffer := make([]byte, 64)
	for b.Loop() {
		if _, err := from.WriteTo(buffer, to.LocalAddr()); err != nil {
			b.Fatal(err)
		}
		if _, _, err := from.ReadFrom(buffer); err != nil {
			b.Fatal(fmt.Errorf("no answer: %w", err))
		}
	}
}
