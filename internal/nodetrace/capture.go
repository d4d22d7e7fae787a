package nodetrace

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"github.com/sdn-tunnel/sdn-tunnel/internal/diagnose"
)

// maxPlaces bounds how many remote places are told apart.
const maxPlaces = 2000

// small is the length up to which packets are counted: handshakes, keepalives and what this
// package sends are, the bulk of a busy tunnel is not.
const small = 256

// atPort takes the first bytes of small UDP datagrams of IPv4 from or to a port; the packet
// begins with the IP header.
func atPort(port uint16) ([]unix.SockFilter, error) {
	code, err := bpf.Assemble([]bpf.Instruction{
		bpf.LoadExtension{Num: bpf.ExtProto},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: unix.ETH_P_IP, SkipTrue: 11},
		bpf.LoadAbsolute{Off: 2, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpGreaterThan, Val: small, SkipTrue: 9},
		bpf.LoadAbsolute{Off: 9, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: unix.IPPROTO_UDP, SkipTrue: 7},
		bpf.LoadMemShift{Off: 0},
		bpf.LoadIndirect{Off: 0, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(port), SkipTrue: 2},
		bpf.LoadIndirect{Off: 2, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: uint32(port), SkipTrue: 2},
		bpf.RetConstant{Val: 128},
		bpf.RetConstant{Val: 128},
		bpf.RetConstant{Val: 0},
	})
	if err != nil {
		return nil, fmt.Errorf("make the filter: %w", err)
	}
	filter := make([]unix.SockFilter, len(code))
	for i, c := range code {
		filter[i] = unix.SockFilter{Code: c.Op, Jt: c.Jt, Jf: c.Jf, K: c.K}
	}
	return filter, nil
}

// listen counts the datagrams that come to, or leave from, the port at the node's
// interfaces, until it is called. What comes is seen before any firewall of the node, and
// what leaves after it.
func (l *looker) listen(port uint16) (stop func() ([]diagnose.Datagrams, error)) {
	failed := func(err error) func() ([]diagnose.Datagrams, error) {
		return func() ([]diagnose.Datagrams, error) { return nil, err }
	}
	filter, err := atPort(port)
	if err != nil {
		return failed(err)
	}
	fd := -1
	err = l.Node.Do(func() (err error) {
		fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
		if err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &program); err != nil {
			return err
		}
		// Nothing is taken before it is bound, so that all that is has passed the filter. What
		// leaves is shown to those that take every protocol only (packet(7)).
		return unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, unix.ETH_P_ALL))})
	})
	if err == nil {
		err = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, new(unix.NsecToTimeval(int64(50*time.Millisecond))))
	}
	if err != nil {
		if fd >= 0 {
			err = errors.Join(err, unix.Close(fd))
		}
		return failed(err)
	}
	end, done := make(chan struct{}), make(chan map[diagnose.Datagrams]int, 1)
	go func() { done <- count(fd, port, end) }()
	return func() ([]diagnose.Datagrams, error) {
		close(end)
		counted := <-done
		return sorted(counted), unix.Close(fd)
	}
}

// count reads packets until end.
func count(fd int, port uint16, end <-chan struct{}) map[diagnose.Datagrams]int {
	found, packet := map[diagnose.Datagrams]int{}, make([]byte, 128)
	for {
		n, from, err := unix.Recvfrom(fd, packet, 0)
		if err == nil {
			link, _ := from.(*unix.SockaddrLinklayer)
			if d, ok := datagram(packet[:n], link != nil && link.Pkttype == unix.PACKET_OUTGOING, port); ok && (found[d] > 0 || len(found) < maxPlaces) {
				found[d]++
			}
		}
		select {
		case <-end:
			return found
		default:
			if err != nil && !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR) {
				return found
			}
		}
	}
}

// datagram reads an IPv4 packet with UDP in it. The end with the tunnel's port is the local
// one; if both have it, that depends on the direction.
func datagram(p []byte, out bool, port uint16) (diagnose.Datagrams, bool) {
	if len(p) < 20 || p[0]>>4 != 4 || p[9] != unix.IPPROTO_UDP {
		return diagnose.Datagrams{}, false
	}
	header := int(p[0]&15) * 4
	if header < 20 || len(p) < header+8 || binary.BigEndian.Uint16(p[6:])&0x1fff != 0 {
		return diagnose.Datagrams{}, false
	}
	src := netip.AddrPortFrom(netip.AddrFrom4([4]byte(p[12:16])), binary.BigEndian.Uint16(p[header:]))
	dst := netip.AddrPortFrom(netip.AddrFrom4([4]byte(p[16:20])), binary.BigEndian.Uint16(p[header+2:]))
	d := diagnose.Datagrams{Out: out, Remote: src, Local: dst}
	if out {
		d.Remote, d.Local = dst, src
	}
	if d.Local.Port() != port && d.Remote.Port() == port && !out {
		return diagnose.Datagrams{}, false // the answer to somebody else's datagram
	}
	return d, true
}

func sorted(counted map[diagnose.Datagrams]int) []diagnose.Datagrams {
	all := make([]diagnose.Datagrams, 0, len(counted))
	for d, n := range maps.All(counted) {
		d.Count = n
		all = append(all, d)
	}
	slices.SortFunc(all, func(a, b diagnose.Datagrams) int {
		return cmp.Or(a.Remote.Compare(b.Remote), a.Local.Compare(b.Local))
	})
	return all
}
