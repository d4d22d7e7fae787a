package probe

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"

	"github.com/sdn-tunnel/sdn-tunnel/internal/tunnelns"
)

const (
	// ICMP_FILTER of linux/icmp.h: a mask of the types that a socket does not want.
	icmpFilter = 1
	// sizeofEcho is an echo with its nonce.
	sizeofEcho = 8 + len(nonce{})
)

// socket sends echoes by one interface and reads the answers that come in by it.
type socket struct {
	source netip.Addr
	id     uint16
	conn   net.PacketConn
}

// open makes a socket in the namespace. It is bound to the interface, so that answers that
// come by another one, forged ones, do not reach it.
func open(n tunnelns.Namespace, link string, source netip.Addr) (*socket, error) {
	s := &socket{source: source, id: uint16(random(1 << 16))}
	config := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		var failed error
		err := raw.Control(func(fd uintptr) {
			failed = errors.Join(
				unix.SetsockoptString(int(fd), unix.SOL_SOCKET, unix.SO_BINDTODEVICE, link),
				unix.SetsockoptInt(int(fd), unix.SOL_RAW, icmpFilter, ^(1<<ipv4.ICMPTypeEchoReply)))
		})
		return errors.Join(err, failed)
	}}
	err := n.Do(func() (err error) {
		s.conn, err = config.ListenPacket(context.Background(), "ip4:icmp", source.String())
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("open a socket on %s in %v: %w", link, n, err)
	}
	return s, nil
}

// close ends the socket and its reader; none is closed already.
func (s *socket) close() {
	if s != nil {
		_ = s.conn.Close() // nothing is lost with it
	}
}

func (s *socket) send(to netip.Addr, number uint16, n nonce) error {
	echo := icmp.Message{Type: ipv4.ICMPTypeEcho, Body: &icmp.Echo{ID: int(s.id), Seq: int(number), Data: n[:]}}
	packet, err := echo.Marshal(nil)
	if err != nil {
		return fmt.Errorf("encode an echo: %w", err)
	}
	_, err = s.conn.WriteTo(packet, &net.IPAddr{IP: to.AsSlice()})
	return err
}

// read hands on answers until the socket is closed.
func (s *socket) read(answered func(from netip.Addr, number uint16, n nonce)) {
	packet := make([]byte, 128)
	for {
		length, from, err := s.conn.ReadFrom(packet)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		address, isIP := from.(*net.IPAddr)
		if err != nil || !isIP {
			continue
		}
		ip, _ := netip.AddrFromSlice(address.IP)
		if number, n, ok := s.parse(packet[:length]); ok {
			answered(ip.Unmap(), number, n)
		}
	}
}

// parse reads an answer to an echo of this socket.
func (s *socket) parse(packet []byte) (number uint16, n nonce, ok bool) {
	if len(packet) != sizeofEcho || packet[0] != byte(ipv4.ICMPTypeEchoReply) || packet[1] != 0 ||
		binary.BigEndian.Uint16(packet[4:]) != s.id {
		return 0, n, false
	}
	return binary.BigEndian.Uint16(packet[6:]), nonce(packet[8:]), true
}
