package probe

import (
	"context"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/sdn-tunnel/sdn-tunnel/samples/test-app/server"
)

// serve runs a server on addr until the test ends and returns its port.
func serve(t *testing.T, addr string) int {
	t.Helper()
	tcp, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	udp, err := net.ListenPacket("udp", tcp.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- server.Server{Pod: "test-app-x", Node: "n1"}.Serve(ctx, tcp, udp) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("server: %v", err)
		}
	})
	return int(netip.MustParseAddrPort(tcp.Addr().String()).Port())
}

func TestProbeOverLoopback(t *testing.T) {
	port := serve(t, "127.0.0.1:0")
	req := Request{TransferBytes: 1 << 20, TimeoutSeconds: 3, Targets: []Target{{Name: "a", Address: "127.0.0.1", Port: port}}}
	r := Run(t.Context(), req)[0]
	for _, name := range Checks {
		c, ok := r.Checks[name]
		if !ok || (!c.OK && !c.Skipped) {
			t.Errorf("%s: %+v", name, c)
		}
	}
	if r.Server != "test-app-x" || r.Seen != "127.0.0.1" || r.Source != "127.0.0.1" || r.RTTMicros == 0 {
		t.Errorf("result %+v", r)
	}
	if r.DFBytes != maxPacket {
		t.Errorf("df: %d bytes, want %d", r.DFBytes, maxPacket)
	}
}

func TestProbeNamesWhatFails(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // its port answers to nothing once it is closed
	if err != nil {
		t.Fatal(err)
	}
	port := int(netip.MustParseAddrPort(l.Addr().String()).Port())
	_ = l.Close()
	start := time.Now()
	results := Run(t.Context(), Request{TransferBytes: 1, TimeoutSeconds: 1, Targets: []Target{
		{Name: "closed", Address: "127.0.0.1", Port: port}, {Name: "bad", Address: "nowhere", Port: 1}}})
	for _, name := range []string{TCP, UDP, Transfer, DF, Source} {
		for _, r := range results {
			if c := r.Checks[name]; c.OK || c.Detail == "" {
				t.Errorf("%s %s: %+v, want a failure with a reason", r.Target.Name, name, c)
			}
		}
	}
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("took %s", took)
	}
}

func TestAskCountsWhoAnswers(t *testing.T) {
	port := serve(t, "127.0.0.1:0")
	results := Ask(t.Context(), ServicesRequest{TimeoutSeconds: 2, Services: []Service{
		{Name: "by address", Host: "127.0.0.1", Port: port, Requests: 5},
		{Name: "by name", Host: "localhost", Port: port, Requests: 3},
		{Name: "unknown", Host: "service.invalid", Port: port, Requests: 100},
	}})
	for i, want := range []int{5, 3, 0} {
		r := results[i]
		for protocol, tally := range map[string]Tally{"tcp": r.TCP, "udp": r.UDP} {
			if tally.Answered != want || tally.Servers["test-app-x"] != want || (tally.Error == "") != (want > 0) {
				t.Errorf("%s over %s: %+v, want %d answers", r.Service.Name, protocol, tally, want)
			}
			if want > 0 && (tally.Seen != "127.0.0.1" || tally.Source != "127.0.0.1" || r.Address != "127.0.0.1") {
				t.Errorf("%s over %s: address %s, %+v", r.Service.Name, protocol, r.Address, tally)
			}
		}
	}
}

func TestLoadGoesOnUntilItIsEnded(t *testing.T) {
	port := serve(t, "127.0.0.1:0")
	ctx, end := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer end()
	results := Load(ctx, LoadRequest{IntervalMilliseconds: 10, TimeoutSeconds: 1, Services: []Service{
		{Name: "here", Host: "127.0.0.1", Port: port}, {Name: "unknown", Host: "service.invalid", Port: port}}})
	for protocol, is := range map[string][2]Course{"tcp": {results[0].TCP, results[1].TCP}, "udp": {results[0].UDP, results[1].UDP}} {
		if c := is[0]; c.Asked < 5 || c.Answered != c.Asked || c.Servers["test-app-x"] != c.Asked || len(c.Failures) > 0 {
			t.Errorf("%s: %+v", protocol, c)
		}
		if c := is[1]; c.Asked == 0 || c.Answered > 0 || len(c.Failures) != min(c.Asked, maxFailures) {
			t.Errorf("%s to nobody: %+v", protocol, c)
		}
	}
}

func TestHost(t *testing.T) {
	for in, want := range map[string]string{"10.0.0.1:80": "10.0.0.1", "[::ffff:10.0.0.1]:80": "10.0.0.1", "[fd00::1]:80": "fd00::1", "x": "x"} {
		if got := host(in); got != want {
			t.Errorf("host(%q) = %q, want %q", in, got, want)
		}
	}
}
