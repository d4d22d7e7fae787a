package resolve

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/dns/dnsmessage"
)

// serve answers questions on UDP and TCP of one port until the test ends.
func serve(t *testing.T, answer func(dnsmessage.Message, string) dnsmessage.Message) netip.AddrPort {
	t.Helper()
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	udp, err := net.ListenPacket("udp", tcp.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tcp.Close(); _ = udp.Close() })
	reply := func(raw []byte, network string) []byte {
		var q dnsmessage.Message
		if err := q.Unpack(raw); err != nil {
			t.Error(err)
			return nil
		}
		m := answer(q, network)
		m.Response = true
		out, err := m.Pack()
		if err != nil {
			t.Error(err)
		}
		return out
	}
	go func() {
		buf := make([]byte, 512)
		for {
			n, from, err := udp.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = udp.WriteTo(reply(buf[:n], "udp"), from)
		}
	}()
	go func() {
		for {
			c, err := tcp.Accept()
			if err != nil {
				return
			}
			var size [2]byte
			_, _ = io.ReadFull(c, size[:])
			raw := make([]byte, binary.BigEndian.Uint16(size[:]))
			_, _ = io.ReadFull(c, raw)
			out := reply(raw, "tcp")
			_, _ = c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(out))), out...))
			_ = c.Close()
		}
	}()
	return netip.MustParseAddrPort(tcp.Addr().String())
}

func TestAsk(t *testing.T) {
	name := dnsmessage.MustNewName("web.demo.svc.cluster.west.")
	header := func(t dnsmessage.Type) dnsmessage.ResourceHeader {
		return dnsmessage.ResourceHeader{Name: name, Type: t, Class: dnsmessage.ClassINET}
	}
	server := serve(t, func(q dnsmessage.Message, network string) dnsmessage.Message {
		m := dnsmessage.Message{Header: dnsmessage.Header{ID: q.ID}, Questions: q.Questions}
		switch asked := q.Questions[0]; {
		case asked.Name.String() == "big.":
			if m.Truncated = network == "udp"; !m.Truncated {
				m.Answers = []dnsmessage.Resource{{Header: header(dnsmessage.TypeA), Body: &dnsmessage.AResource{A: [4]byte{192, 0, 2, 2}}}}
			}
		case asked.Name.String() == "1.2.0.192.in-addr.arpa.":
			m.Answers = []dnsmessage.Resource{{Header: header(dnsmessage.TypePTR), Body: &dnsmessage.PTRResource{PTR: name}}}
		case asked.Name.String() == "other.":
			m.ID++
		case asked.Name != name:
			m.RCode = dnsmessage.RCodeNameError
		case asked.Type == dnsmessage.TypeSRV:
			m.Answers = []dnsmessage.Resource{{Header: header(dnsmessage.TypeSRV), Body: &dnsmessage.SRVResource{Weight: 100, Port: 8080, Target: name}}}
		case asked.Type == dnsmessage.TypeAAAA:
			m.RCode = dnsmessage.RCodeServerFailure
		default:
			m.Answers = []dnsmessage.Resource{
				{Header: header(dnsmessage.TypeCNAME), Body: &dnsmessage.CNAMEResource{CNAME: name}},
				{Header: header(dnsmessage.TypeA), Body: &dnsmessage.AResource{A: [4]byte{192, 0, 2, 1}}},
			}
		}
		return m
	})
	for _, tt := range []struct {
		kind, name, code string
		records          []string
	}{
		{"A", "web.demo.svc.cluster.west", "NOERROR", []string{"CNAME web.demo.svc.cluster.west.", "A 192.0.2.1"}},
		{"SRV", "web.demo.svc.cluster.west.", "NOERROR", []string{"SRV 0 100 8080 web.demo.svc.cluster.west."}},
		{"AAAA", "web.demo.svc.cluster.west", "SERVFAIL", nil},
		{"PTR", "192.0.2.1", "NOERROR", []string{"PTR web.demo.svc.cluster.west."}},
		{"A", "none.demo.svc.cluster.west", "NXDOMAIN", nil},
		{"A", "big", "NOERROR", []string{"A 192.0.2.2"}},
	} {
		got := Ask(t.Context(), server, tt.kind, tt.name)
		if got.RCode != tt.code || !cmp.Equal(got.Records, tt.records) || got.Error != "" {
			t.Errorf("%s %s: got %+v", tt.kind, tt.name, got)
		}
	}
	for want, got := range map[string]Answer{
		"another question":                   Ask(t.Context(), server, "A", "other"),
		"is not known":                       Ask(t.Context(), server, "TXT", "web"),
		"name \"" + strings.Repeat("a", 300): Ask(t.Context(), server, "A", strings.Repeat("a", 300)),
	} {
		if !strings.Contains(got.Error, want) || got.RCode != "" {
			t.Errorf("want %q, got %+v", want, got)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got := Ask(ctx, server, "A", "web"); got.Error == "" {
		t.Errorf("without time: %+v", got)
	}
}

func TestReverse(t *testing.T) {
	for in, want := range map[string]string{
		"10.132.0.5": "5.0.132.10.in-addr.arpa",
		"fd00::1":    "1." + strings.Repeat("0.", 29) + "d.f.ip6.arpa",
	} {
		if got := reverse(netip.MustParseAddr(in)); got != want {
			t.Errorf("%s: %s", in, got)
		}
	}
}

func TestNameserver(t *testing.T) {
	file := filepath.Join(t.TempDir(), "resolv.conf")
	for content, want := range map[string]string{
		"search a b\nnameserver 172.30.0.10\nnameserver 192.0.2.1\n": "172.30.0.10:53",
		"nameserver fd00::a\n": "[fd00::a]:53",
		"search a\n":           "",
		"nameserver x\n":       "",
	} {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := Nameserver(file)
		if want == "" && err == nil || want != "" && got.String() != want {
			t.Errorf("%q: %v, %v", content, got, err)
		}
	}
	if _, err := Nameserver(file + ".none"); err == nil {
		t.Error("a missing file is no error")
	}
}
