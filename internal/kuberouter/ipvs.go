package kuberouter

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/mdlayher/genetlink"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"

	"github.com/sdn-tunnel/sdn-tunnel/internal/remoteservice"
	"github.com/sdn-tunnel/sdn-tunnel/internal/tunnelns"
)

// ipvsFile is IPVS of the reader's network namespace, as text.
const ipvsFile = "/proc/thread-self/net/ip_vs"

// programmed are the services that IPVS has, with the weights of what is behind each: 0
// takes no new connections.
type programmed map[remoteservice.Key]map[netip.AddrPort]int

// readIPVS reads IPVS of a namespace. A kernel in which it is not loaded has none.
func readIPVS(n tunnelns.Namespace) (p programmed, err error) {
	err = n.Do(func() error {
		f, err := os.Open(ipvsFile)
		if errors.Is(err, fs.ErrNotExist) {
			p = programmed{}
			return nil
		}
		if err != nil {
			return err
		}
		defer f.Close()
		p, err = parseIPVS(f)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read IPVS of %v: %w", n, err)
	}
	return p, nil
}

// parseIPVS reads the kernel's text: a line for each service of an address and port, and
// after it one for each of its destinations, in hexadecimal.
//
//	TCP  AC1F0405:0050 rr
//	  -> 0A840001:1F90      Masq    1      0          0
func parseIPVS(r io.Reader) (programmed, error) {
	p := programmed{}
	var under map[netip.AddrPort]int // nil: of a service that is not ours to judge
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		switch {
		case len(f) >= 2 && (f[0] == "TCP" || f[0] == "UDP"):
			under = nil
			if at, ok := hexAddrPort(f[1]); ok {
				under = map[netip.AddrPort]int{}
				p[remoteservice.Key{Addr: at.Addr(), Protocol: corev1.Protocol(f[0]), Port: at.Port()}] = under
			}
		case len(f) >= 4 && f[0] == "->" && under != nil:
			at, ok := hexAddrPort(f[1])
			if !ok {
				continue
			}
			weight, err := strconv.Atoi(f[3])
			if err != nil {
				return nil, fmt.Errorf("weight %q", f[3])
			}
			under[at] = weight
		case len(f) > 0 && f[0] != "->":
			under = nil // a heading, or a service of another kind
		}
	}
	return p, lines.Err()
}

// hexAddrPort reads an IPv4 address and port as the kernel writes them.
func hexAddrPort(text string) (netip.AddrPort, bool) {
	host, port, ok := strings.Cut(text, ":")
	b, err := hex.DecodeString(host)
	n, err2 := strconv.ParseUint(port, 16, 16)
	if !ok || err != nil || err2 != nil || len(b) != 4 {
		return netip.AddrPort{}, false
	}
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte(b)), uint16(n)), true
}

// equals tells whether IPVS has the services that are wanted, no others, and behind each
// what takes new connections.
func (p programmed) equals(want map[remoteservice.Key]remoteservice.Backends) bool {
	if len(p) != len(want) {
		return false
	}
	for k, b := range want {
		if !p.serves(k, b) {
			return false
		}
	}
	return true
}

// serves tells whether the service is there, with what takes new connections and nothing
// else that does.
func (p programmed) serves(k remoteservice.Key, b remoteservice.Backends) bool {
	have, ok := p[k]
	taking := 0
	for _, weight := range have {
		if weight > 0 {
			taking++
		}
	}
	return ok && taking == len(b.Use) && !slices.ContainsFunc(b.Use, func(a netip.AddrPort) bool { return have[a] == 0 })
}

// stale are the UDP destinations without weight that are gone, and not only terminating.
// UDP has no end of a connection: IPVS would go on sending there as long as clients send.
func (p programmed) stale(want map[remoteservice.Key]remoteservice.Backends) map[remoteservice.Key][]netip.AddrPort {
	out := map[remoteservice.Key][]netip.AddrPort{}
	for k, have := range p {
		if k.Protocol != corev1.ProtocolUDP {
			continue
		}
		for at, weight := range have {
			if weight == 0 && !slices.Contains(want[k].Serve, at) {
				out[k] = append(out[k], at)
			}
		}
	}
	return out
}

// Commands and attributes of the kernel's interface (linux/ip_vs.h).
const (
	ipvsFamily     = "IPVS"
	ipvsDelDest    = 7
	attrService    = 1
	attrDest       = 2
	serviceFamily  = 1
	serviceProto   = 2
	serviceAddress = 3
	servicePort    = 4
	destAddress    = 1
	destPort       = 2
	destFamily     = 11
)

// deleteDestinations takes destinations out of IPVS of a namespace; its flows to them end.
func deleteDestinations(n tunnelns.Namespace, all map[remoteservice.Key][]netip.AddrPort) error {
	if len(all) == 0 {
		return nil
	}
	err := n.Do(func() error {
		c, err := genetlink.Dial(nil)
		if err != nil {
			return err
		}
		defer c.Close()
		family, err := c.GetFamily(ipvsFamily)
		if err != nil {
			return err
		}
		for k, destinations := range all {
			for _, d := range destinations {
				data, err := destinationOf(k, d)
				if err != nil {
					return err
				}
				_, err = c.Execute(genetlink.Message{Header: genetlink.Header{Command: ipvsDelDest, Version: 1}, Data: data},
					family.ID, netlink.Request|netlink.Acknowledge)
				if err != nil && !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ESRCH) {
					return fmt.Errorf("%v: %w", d, err)
				}
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("take destinations that are gone out of IPVS of %v: %w", n, err)
	}
	return nil
}

// destinationOf names a destination of a service to the kernel.
func destinationOf(k remoteservice.Key, d netip.AddrPort) ([]byte, error) {
	protocol := uint16(unix.IPPROTO_TCP)
	if k.Protocol == corev1.ProtocolUDP {
		protocol = unix.IPPROTO_UDP
	}
	big := func(port uint16) []byte { return binary.BigEndian.AppendUint16(nil, port) }
	e := netlink.NewAttributeEncoder()
	e.Nested(attrService, func(e *netlink.AttributeEncoder) error {
		e.Uint16(serviceFamily, unix.AF_INET)
		e.Uint16(serviceProto, protocol)
		e.Bytes(serviceAddress, address16(k.Addr))
		e.Bytes(servicePort, big(k.Port))
		return nil
	})
	e.Nested(attrDest, func(e *netlink.AttributeEncoder) error {
		e.Bytes(destAddress, address16(d.Addr()))
		e.Bytes(destPort, big(d.Port()))
		e.Uint16(destFamily, unix.AF_INET)
		return nil
	})
	return e.Encode()
}

// address16 is an address in as many bytes as the kernel has room for.
func address16(a netip.Addr) []byte { return append(a.AsSlice(), make([]byte, 12)...) }
