package nodetrace

import (
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/bpf"
	"golang.org/x/net/dns/dnsmessage"

	"github.com/sdn-tunnel/sdn-tunnel/internal/diagnose"
	"github.com/sdn-tunnel/sdn-tunnel/internal/tunnelns"
)

func TestFlowOf(t *testing.T) {
	p := diagnose.Packet{Src: netip.MustParseAddr("10.128.0.8"), Dst: netip.MustParseAddr("10.132.0.6"), Protocol: "tcp", SrcPort: 40000, DstPort: 80}
	if got, want := flowOf(p, 7), "in_port=7,tcp,nw_src=10.128.0.8,nw_dst=10.132.0.6,nw_ttl=64,tp_src=40000,tp_dst=80"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	p.Protocol, p.Reply = "icmp", true
	if got, want := flowOf(p, 7), "in_port=7,icmp,nw_src=10.128.0.8,nw_dst=10.132.0.6,nw_ttl=64,icmp_type=0,icmp_code=0"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// udp is an IPv4 packet with UDP in it.
func udp(src, dst string, length int) []byte {
	from, to := netip.MustParseAddrPort(src), netip.MustParseAddrPort(dst)
	a, b := from.Addr().As4(), to.Addr().As4()
	p := []byte{0x45, 0, byte(length >> 8), byte(length), 0, 0, 0, 0, 64, 17, 0, 0, a[0], a[1], a[2], a[3], b[0], b[1], b[2], b[3],
		byte(from.Port() >> 8), byte(from.Port()), byte(to.Port() >> 8), byte(to.Port()), 0, 8, 0, 0}
	return append(p, make([]byte, 20)...)
}

func TestDatagram(t *testing.T) {
	const here, there = "192.168.50.11:5555", "192.168.60.11:5555"
	for _, tt := range []struct {
		name          string
		packet        []byte
		out           bool
		remote, local string
	}{
		{"comes", udp(there, here, 60), false, there, here},
		{"leaves", udp(here, there, 60), true, there, here},
		{"comes from another port", udp("192.168.60.11:40000", here, 60), false, "192.168.60.11:40000", here},
		{"somebody's answer", udp(there, "192.168.50.11:40000", 60), false, "", ""},
		{"too short", udp(there, here, 60)[:24], false, "", ""},
		{"TCP", append([]byte{0x45, 0, 0, 60, 0, 0, 0, 0, 64, 6}, make([]byte, 30)...), false, "", ""},
		{"a later fragment", append([]byte{0x45, 0, 0, 60, 0, 0, 0, 1, 64, 17}, make([]byte, 30)...), false, "", ""},
		{"IPv6", append([]byte{0x60}, make([]byte, 60)...), false, "", ""},
	} {
		got, ok := datagram(tt.packet, tt.out, 5555)
		if ok != (tt.remote != "") || ok && (got.Remote.String() != tt.remote || got.Local.String() != tt.local || got.Out != tt.out) {
			t.Errorf("%s: %+v, %v", tt.name, got, ok)
		}
	}
}

// TestAtPort runs the socket's filter without the part that only the kernel has, the
// packet's protocol.
func TestAtPort(t *testing.T) {
	filter, err := atPort(5555)
	if err != nil {
		t.Fatal(err)
	}
	var code []bpf.Instruction
	for _, f := range filter[2:] {
		code = append(code, bpf.RawInstruction{Op: f.Code, Jt: f.Jt, Jf: f.Jf, K: f.K}.Disassemble())
	}
	vm, err := bpf.NewVM(code)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		packet []byte
		want   bool
	}{
		{"to the port", udp("192.0.2.1:9", "192.0.2.2:5555", 60), true},
		{"from the port", udp("192.0.2.1:5555", "192.0.2.2:9", 60), true},
		{"of others", udp("192.0.2.1:8", "192.0.2.2:9", 60), false},
		{"large", udp("192.0.2.1:5555", "192.0.2.2:5555", 1400), false},
		{"TCP", append([]byte{0x45, 0, 0, 60, 0, 0, 0, 0, 64, 6, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x15, 0xb3, 0x15, 0xb3}, make([]byte, 30)...), false},
	} {
		if n, err := vm.Run(tt.packet); err != nil || n > 0 != tt.want {
			t.Errorf("%s: %d bytes, %v", tt.name, n, err)
		}
	}
}

func TestDropping(t *testing.T) {
	const text = `{"nftables": [{"metainfo": {"version": "1.0.6"}}, {"table": {"family": "inet", "name": "filter"}},
{"rule": {"family": "inet", "table": "filter", "chain": "input", "expr": [{"match": {"op": "==", "left": {"payload": {"protocol": "udp", "field": "dport"}}, "right": 5555}}, {"drop": null}]}},
{"rule": {"family": "inet", "table": "filter", "chain": "set", "expr": [{"match": {"op": "==", "left": {"payload": {"protocol": "udp", "field": "dport"}}, "right": {"set": [53, 5555]}}}, {"reject": {}}]}},
{"rule": {"family": "inet", "table": "filter", "chain": "other", "expr": [{"match": {"op": "==", "left": {"payload": {"protocol": "udp", "field": "dport"}}, "right": 53}}, {"drop": null}]}},
{"rule": {"family": "inet", "table": "filter", "chain": "tcp", "expr": [{"match": {"op": "==", "left": {"payload": {"protocol": "tcp", "field": "dport"}}, "right": 5555}}, {"drop": null}]}},
{"rule": {"family": "inet", "table": "filter", "chain": "open", "expr": [{"match": {"op": "==", "left": {"payload": {"protocol": "udp", "field": "dport"}}, "right": 5555}}, {"accept": null}]}}]}`
	want := []string{"table inet filter, chain input: drop", "table inet filter, chain set: reject"}
	if got, err := dropping([]byte(text), 5555); err != nil || !slices.Equal(got, want) {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := dropping([]byte("table inet filter"), 5555); err == nil {
		t.Error("what is no JSON is read")
	}
}

func TestReadAnswer(t *testing.T) {
	name := dnsmessage.MustNewName("web.shop.svc.cluster.west.")
	m := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: 7, Response: true, RCode: dnsmessage.RCodeSuccess},
		Questions: []dnsmessage.Question{{Name: name, Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}},
		Answers:   []dnsmessage.Resource{{Header: dnsmessage.ResourceHeader{Name: name, Class: dnsmessage.ClassINET}, Body: &dnsmessage.AResource{A: [4]byte{172, 31, 0, 7}}}},
	}
	packet, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	code, found, err := readAnswer(packet, 7)
	if err != nil || code != "NOERROR" || len(found) != 1 || found[0].String() != "172.31.0.7" {
		t.Errorf("%s %v %v", code, found, err)
	}
	if _, _, err := readAnswer(packet, 8); err == nil {
		t.Error("the answer to another question is taken")
	}
	if _, _, err := readAnswer([]byte("nonsense"), 7); err == nil {
		t.Error("nonsense is read")
	}
}

// alone is a namespace with one address, on a link that takes 1500 bytes.
func alone(t *testing.T) (tunnelns.Namespace, netip.Addr) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: makes a network namespace")
	}
	n := tunnelns.At("/run/netns/nodetrace-test")
	if err := n.Create(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Remove(); err != nil {
			t.Error(err)
		}
	})
	for _, line := range []string{"link set lo up mtu 1500", "addr add 192.0.2.7/32 dev lo"} {
		if out, err := exec.Command("ip", append([]string{"-n", "nodetrace-test"}, strings.Fields(line)...)...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", line, err, out)
		}
	}
	return n, netip.MustParseAddr("192.0.2.7")
}

// TestPing: an address of a namespace answers, at every size that its links carry, and one
// that is not there does not.
func TestPing(t *testing.T) {
	n, here := alone(t)
	p, err := newPinger(n, here)
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	for _, size := range []int{84, 1500} {
		if _, err := p.until(t.Context(), here, size, 5*time.Second); err != nil {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
	if _, err := p.ping(t.Context(), here, 1501, time.Second); err == nil {
		t.Error("what is larger than the link is answered")
	}
	if _, err := p.ping(t.Context(), netip.MustParseAddr("192.0.2.8"), 84, 100*time.Millisecond); err == nil {
		t.Error("what is not there answers")
	}
	l := looker{Options: Options{Names: "/run/netns"}.withDefaults()}
	if found, err := l.podNamespace(here); err != nil || found != n {
		t.Errorf("the namespace with %v: %v, %v", here, found, err)
	}
}

// TestPingPeer: what does not pass because of its size is told from a way that ends meanwhile.
func TestPingPeer(t *testing.T) {
	n, here := alone(t)
	for name, tc := range map[string]struct {
		rule string
		want diagnose.PeerView
	}{
		"all pass":          {"icmp type echo-reply accept", diagnose.PeerView{Answers: true, Full: true, Size: 1440, Largest: 1440}},
		"large ones do not": {"meta length > 1310 drop", diagnose.PeerView{Answers: true, Size: 1440, Largest: 1300}},
		"only small ones":   {"meta length > 84 drop", diagnose.PeerView{Answers: true, Size: 1440, Largest: 84}},
		"after one, none":   {"icmp type echo-request quota over 84 bytes drop", diagnose.PeerView{Error: "it answered once, and then no more"}},
		"none":              {"icmp type echo-request drop", diagnose.PeerView{Error: errSilent.Error()}},
	} {
		t.Run(name, func(t *testing.T) {
			err := n.Do(func() error {
				_ = exec.Command("nft", "delete table inet t").Run() // there is none at first
				out, err := exec.Command("nft", "table inet t { chain c { type filter hook input priority 0; "+tc.rule+"; }; }").CombinedOutput()
				if err != nil {
					t.Logf("%s", out)
				}
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			p, err := newPinger(n, here)
			if err != nil {
				t.Fatal(err)
			}
			defer p.close()
			var got diagnose.PeerView
			(&looker{}).pingPeer(t.Context(), p, here, 1440, 300*time.Millisecond, &got)
			if got.Answers && got.Milliseconds <= 0 {
				t.Error("it answers in no time")
			}
			got.Milliseconds = 0
			if got != tc.want {
				t.Errorf("got %+v, want %+v", got, tc.want)
			}
		})
	}
}
