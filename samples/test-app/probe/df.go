package probe

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// pathRounds bounds how often the kernel may lower its idea of the path's MTU.
const pathRounds = 6

// maxPacket is the largest IPv4 packet; a loopback's MTU is larger.
const maxPacket = 65535

// df sends a packet as large as the path is said to carry, with Don't Fragment set.
// It starts with the interface's MTU; each "too big" that arrives lowers the kernel's
// path MTU (RFC 1191) and the next packet has that size. What passes must be exactly
// what the kernel believes in: a black hole, where larger packets vanish without a
// word, fails, and the largest size that does pass is searched for and reported.
func (p prober) df(ctx context.Context) Check {
	conn, err := (&net.Dialer{}).DialContext(ctx, "udp", p.hostPort)
	if err != nil {
		return Check{Detail: err.Error()}
	}
	defer conn.Close()
	d := dfProbe{conn: conn.(*net.UDPConn), v6: p.addr.Is6(), wait: max(p.timeout/10, 300*time.Millisecond)}
	if err := d.setDF(); err != nil {
		return Check{Detail: fmt.Sprintf("set Don't Fragment: %v", err)}
	}
	link, err := linkMTU(conn.LocalAddr())
	if err != nil {
		return Check{Detail: err.Error()}
	}
	p.result.LinkMTU = link

	size := min(link, maxPacket)
	for range pathRounds {
		path, err := d.pathMTU()
		if err != nil {
			return Check{Detail: fmt.Sprintf("read the path MTU: %v", err)}
		}
		size = min(size, path)
		if d.passes(ctx, size) {
			p.result.DFBytes = size
			return Check{OK: true, Detail: fmt.Sprintf("%d of %d bytes", size, link)}
		}
		if path, err = d.pathMTU(); err == nil && path < size {
			continue // a router said what fits
		}
		if d.passes(ctx, size) {
			p.result.DFBytes = size
			return Check{OK: true, Detail: fmt.Sprintf("%d of %d bytes, second try", size, link)}
		}
		if path, err = d.pathMTU(); err != nil || path >= size {
			break
		}
	}
	p.result.DFBytes = d.largest(ctx, size)
	return Check{Detail: fmt.Sprintf("packets of %d bytes vanish without an ICMP error; the largest that passes has %d", size, p.result.DFBytes)}
}

// dfProbe sends UDP packets of a given size on the wire.
type dfProbe struct {
	conn *net.UDPConn
	v6   bool
	wait time.Duration
	sent int
}

// header is the size of the IP and UDP headers.
func (d *dfProbe) header() int {
	if d.v6 {
		return 40 + 8
	}
	return 20 + 8
}

// passes tells whether a packet of size bytes arrived and arrived whole.
func (d *dfProbe) passes(ctx context.Context, size int) bool {
	d.sent++
	answer, err := ask(ctx, d.conn, fmt.Sprintf("df-%d-%d", size, d.sent), size-d.header(), d.wait)
	return err == nil && answer.Size == size-d.header()
}

// largest is the largest size below limit that passes, by bisection; 0 if none does.
func (d *dfProbe) largest(ctx context.Context, limit int) int {
	low, high := 0, limit // low passes (or is nothing), high does not
	for probe := 128; high-low > 4 && ctx.Err() == nil; probe = (low + high) / 2 {
		if d.passes(ctx, probe) {
			low = probe
		} else {
			high = probe
		}
		if low == 0 && high <= 128 {
			return 0
		}
	}
	return low
}

func (d *dfProbe) control(f func(fd int) error) error {
	raw, err := d.conn.SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	if err := raw.Control(func(fd uintptr) { inner = f(int(fd)) }); err != nil {
		return err
	}
	return inner
}

// setDF makes the kernel set Don't Fragment and refuse what exceeds the path MTU.
func (d *dfProbe) setDF() error {
	return d.control(func(fd int) error {
		if d.v6 {
			return unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_DO)
		}
		return unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DO)
	})
}

// pathMTU is what the kernel knows of the path, ip(7) IP_MTU.
func (d *dfProbe) pathMTU() (mtu int, err error) {
	err = d.control(func(fd int) error {
		if d.v6 {
			mtu, err = unix.GetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MTU)
		} else {
			mtu, err = unix.GetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MTU)
		}
		return err
	})
	return mtu, err
}

// linkMTU is the MTU of the interface that has the local address.
func linkMTU(local net.Addr) (int, error) {
	want, err := netip.ParseAddrPort(local.String())
	if err != nil {
		return 0, fmt.Errorf("local address %s: %w", local, err)
	}
	links, err := net.Interfaces()
	if err != nil {
		return 0, fmt.Errorf("list the interfaces: %w", err)
	}
	for _, link := range links {
		addrs, err := link.Addrs()
		if err != nil {
			continue
		}
		for _, a := range addrs {
			if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Unmap() == want.Addr().Unmap() {
				return link.MTU, nil
			}
		}
	}
	return 0, fmt.Errorf("no interface has the address %s", want.Addr())
}
