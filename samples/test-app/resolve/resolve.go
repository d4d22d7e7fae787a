// Package resolve is the test application's question to a DNS server: one question, one
// server, and the answer as it is, with its response code. A stub resolver would hide the
// difference between a name that does not exist and a server that cannot tell.
package resolve

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// Answer is what a server said, or why it said nothing.
type Answer struct {
	Name string `json:"name"`
	Type string `json:"type"`
	// RCode is NOERROR, NXDOMAIN, SERVFAIL and so on; empty without an answer.
	RCode string `json:"rcode,omitempty"`
	// Records are the answer's, in order: their type and what they hold.
	Records []string `json:"records,omitempty"`
	Error   string   `json:"error,omitempty"`
}

var types = map[string]dnsmessage.Type{
	"A": dnsmessage.TypeA, "AAAA": dnsmessage.TypeAAAA, "SRV": dnsmessage.TypeSRV,
	"PTR": dnsmessage.TypePTR, "CNAME": dnsmessage.TypeCNAME,
}

var codes = map[dnsmessage.RCode]string{
	dnsmessage.RCodeSuccess: "NOERROR", dnsmessage.RCodeNameError: "NXDOMAIN", dnsmessage.RCodeServerFailure: "SERVFAIL",
	dnsmessage.RCodeRefused: "REFUSED", dnsmessage.RCodeFormatError: "FORMERR", dnsmessage.RCodeNotImplemented: "NOTIMP",
}

// Nameserver is the first of a resolver's configuration.
func Nameserver(file string) (netip.AddrPort, error) {
	f, err := os.Open(file)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("find the name server: %w", err)
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if words := strings.Fields(s.Text()); len(words) > 1 && words[0] == "nameserver" {
			addr, err := netip.ParseAddr(words[1])
			if err != nil {
				return netip.AddrPort{}, fmt.Errorf("find the name server: %s: %w", file, err)
			}
			return netip.AddrPortFrom(addr, 53), nil
		}
	}
	return netip.AddrPort{}, fmt.Errorf("find the name server: %s names none", file)
}

// Ask asks one question, by UDP and again by TCP where the answer does not fit. A PTR
// question may name an address.
func Ask(ctx context.Context, server netip.AddrPort, kind, name string) Answer {
	a := Answer{Name: name, Type: kind}
	question, err := newQuestion(kind, name)
	if err != nil {
		a.Error = err.Error()
		return a
	}
	for _, network := range []string{"udp", "tcp"} {
		m, err := exchange(ctx, network, server, question)
		if err != nil {
			a.Error = fmt.Sprintf("ask %s by %s: %v", server, network, err)
			return a
		}
		if m.Truncated && network == "udp" {
			continue
		}
		a.RCode = codes[m.RCode]
		if a.RCode == "" {
			a.RCode = m.RCode.String()
		}
		for _, r := range m.Answers {
			a.Records = append(a.Records, text(r))
		}
		break
	}
	return a
}

func newQuestion(kind, name string) (dnsmessage.Question, error) {
	t, ok := types[kind]
	if !ok {
		return dnsmessage.Question{}, fmt.Errorf("type %q is not known", kind)
	}
	if addr, err := netip.ParseAddr(name); err == nil && t == dnsmessage.TypePTR {
		name = reverse(addr)
	}
	n, err := dnsmessage.NewName(strings.TrimSuffix(name, ".") + ".")
	if err != nil {
		return dnsmessage.Question{}, fmt.Errorf("name %q: %w", name, err)
	}
	return dnsmessage.Question{Name: n, Type: t, Class: dnsmessage.ClassINET}, nil
}

// reverse is the name of an address (RFC 1035 section 3.5, RFC 3596 section 2.5).
func reverse(addr netip.Addr) string {
	var parts []string
	suffix := "in-addr.arpa"
	for _, b := range addr.AsSlice() {
		if addr.Is4() {
			parts = append(parts, fmt.Sprint(b))
		} else {
			suffix = "ip6.arpa"
			parts = append(parts, fmt.Sprintf("%x", b>>4), fmt.Sprintf("%x", b&15))
		}
	}
	slices.Reverse(parts)
	return strings.Join(append(parts, suffix), ".")
}

const timeout = 5 * time.Second

// exchange sends a question and reads its answer.
func exchange(ctx context.Context, network string, server netip.AddrPort, q dnsmessage.Question) (dnsmessage.Message, error) {
	var m dnsmessage.Message
	ask := dnsmessage.Message{Header: dnsmessage.Header{ID: uint16(rand.Uint32()), RecursionDesired: true}, Questions: []dnsmessage.Question{q}} //nolint:gosec // an id among this socket's few
	raw, err := ask.Pack()
	if err != nil {
		return m, err
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, network, server.String())
	if err != nil {
		return m, err
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		return m, err
	}
	if network == "tcp" {
		raw = append(binary.BigEndian.AppendUint16(nil, uint16(len(raw))), raw...)
	}
	if _, err := conn.Write(raw); err != nil {
		return m, err
	}
	answer, err := read(conn, network)
	if err != nil {
		return m, err
	}
	if err := m.Unpack(answer); err != nil {
		return m, fmt.Errorf("read the answer: %w", err)
	}
	if m.ID != ask.ID || !m.Response {
		return m, errors.New("the answer is to another question")
	}
	return m, nil
}

func read(conn net.Conn, network string) ([]byte, error) {
	if network == "udp" {
		buf := make([]byte, 65535)
		n, err := conn.Read(buf)
		return buf[:n], err
	}
	var size [2]byte
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		return nil, err
	}
	buf := make([]byte, binary.BigEndian.Uint16(size[:]))
	_, err := io.ReadFull(conn, buf)
	return buf, err
}

// text is a record's type and content, as zone files have them; TTLs change and are left out.
func text(r dnsmessage.Resource) string {
	switch b := r.Body.(type) {
	case *dnsmessage.AResource:
		return "A " + netip.AddrFrom4(b.A).String()
	case *dnsmessage.AAAAResource:
		return "AAAA " + netip.AddrFrom16(b.AAAA).String()
	case *dnsmessage.SRVResource:
		return fmt.Sprintf("SRV %d %d %d %s", b.Priority, b.Weight, b.Port, b.Target)
	case *dnsmessage.PTRResource:
		return "PTR " + b.PTR.String()
	case *dnsmessage.CNAMEResource:
		return "CNAME " + b.CNAME.String()
	default:
		return strings.TrimPrefix(r.Header.Type.String(), "Type")
	}
}
