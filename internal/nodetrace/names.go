package nodetrace

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/sdn-tunnel/sdn-tunnel/internal/diagnose"
)

// nameTimeout is how long a name server may take, asked twice.
const nameTimeout = 1200 * time.Millisecond

// names asks for all names, at once.
func (l *looker) names(ctx context.Context) {
	views := make([]diagnose.NameView, len(l.ask.Names))
	var group sync.WaitGroup
	for i, a := range l.ask.Names {
		group.Go(func() {
			views[i] = diagnose.NameView{Ask: a}
			var err error
			for range 2 {
				if views[i].Code, views[i].Addresses, err = l.resolve(ctx, a); err == nil {
					return
				}
			}
			views[i].Error = said(err)
		})
	}
	group.Wait()
	l.set(func(v *diagnose.NodeView) { v.Names = views })
}

// resolve asks for the IPv4 addresses of a name, from a pod's namespace.
func (l *looker) resolve(ctx context.Context, a diagnose.NameAsk) (code string, found []netip.Addr, err error) {
	n, err := l.podNamespace(a.From)
	if err != nil {
		return "", nil, err
	}
	name, err := dnsmessage.NewName(strings.TrimSuffix(a.Name, ".") + ".")
	if err != nil {
		return "", nil, fmt.Errorf("%q is no name: %w", a.Name, err)
	}
	id := uint16(rand.Uint32())
	query := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: id, RecursionDesired: true},
		Questions: []dnsmessage.Question{{Name: name, Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}},
	}
	packet, err := query.Pack()
	if err != nil {
		return "", nil, fmt.Errorf("ask for %q: %w", a.Name, err)
	}
	var conn net.Conn
	err = n.Do(func() (err error) {
		conn, err = new(net.Dialer).DialContext(ctx, "udp", a.Server.String())
		return err
	})
	if err != nil {
		return "", nil, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(nameTimeout)); err != nil {
		return "", nil, err
	}
	if _, err := conn.Write(packet); err != nil {
		return "", nil, err
	}
	buffer := make([]byte, 4096)
	for {
		size, err := conn.Read(buffer)
		if err != nil {
			return "", nil, err
		}
		if code, found, err = readAnswer(buffer[:size], id); !errors.Is(err, errOther) {
			return code, found, err
		}
	}
}

var errOther = errors.New("the answer to another question")

// readAnswer reads the code and the IPv4 addresses of an answer.
func readAnswer(packet []byte, id uint16) (code string, found []netip.Addr, err error) {
	var m dnsmessage.Message
	if err := m.Unpack(packet); err != nil {
		return "", nil, fmt.Errorf("read the name server's answer: %w", err)
	}
	if m.ID != id || !m.Response {
		return "", nil, errOther
	}
	for _, r := range m.Answers {
		if a, ok := r.Body.(*dnsmessage.AResource); ok {
			found = append(found, netip.AddrFrom4(a.A))
		}
	}
	return codeName(m.RCode), found, nil
}

// codeName is an answer's code as tools show it (RFC 6895).
func codeName(c dnsmessage.RCode) string {
	names := map[dnsmessage.RCode]string{
		dnsmessage.RCodeSuccess: "NOERROR", dnsmessage.RCodeFormatError: "FORMERR", dnsmessage.RCodeServerFailure: "SERVFAIL",
		dnsmessage.RCodeNameError: "NXDOMAIN", dnsmessage.RCodeNotImplemented: "NOTIMP", dnsmessage.RCodeRefused: "REFUSED",
	}
	if name, ok := names[c]; ok {
		return name
	}
	return fmt.Sprintf("RCODE%d", c)
}
