package probe

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"

	"github.com/sdn-tunnel/sdn-tunnel/internal/mesh"
	"github.com/sdn-tunnel/sdn-tunnel/internal/nettest"
	"github.com/sdn-tunnel/sdn-tunnel/internal/tunnelns"
)

var (
	here, there = netip.MustParseAddr("100.127.0.1"), netip.MustParseAddr("100.127.4.1")
	peer        = mesh.Ref{Cluster: "west", Node: "west-1"}
)

// way is a tunnel namespace and a peer's, joined by a pair of links in the place of the
// tunnel, and a third namespace that has the peer's address, too, as a pod could.
type way struct {
	tunnel, peer, pod string // names
	ns                tunnelns.Namespace
}

func newWay(tb testing.TB) way {
	tb.Helper()
	id := fmt.Sprintf("sdntest-%dp", os.Getpid())
	w := way{tunnel: id + "t", peer: id + "r", pod: id + "d"}
	w.ns = tunnelns.At(nettest.Namespace(tb, w.tunnel))
	nettest.Namespace(tb, w.peer)
	nettest.Namespace(tb, w.pod)
	nettest.Sh(tb, "ip -n %s addr add %v/32 dev lo", w.tunnel, here)
	for _, far := range []struct{ link, name string }{{"wg", w.peer}, {"veth", w.pod}} {
		nettest.Sh(tb, "ip -n %[1]s link add %[2]s type veth peer name eth netns %[3]s && ip -n %[1]s link set %[2]s up && "+
			"ip -n %[3]s link set eth up && ip -n %[3]s addr add %[4]v/32 dev lo && ip -n %[3]s route add 100.127.0.0/22 dev eth src %[4]v && "+
			"ip netns exec %[3]s sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.eth.rp_filter=0", w.tunnel, far.link, far.name, there)
	}
	nettest.Sh(tb, "ip -n %[1]s route add 100.127.4.0/22 dev wg && ip netns exec %[1]s sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.veth.rp_filter=0 net.ipv4.conf.wg.rp_filter=0", w.tunnel)
	return w
}

// TestProber: a way that is well, one that loses all, one that delays, and one that is made
// anew; in a namespace that comes later.
func TestProber(t *testing.T) {
	w := newWay(t)
	var answers, losses atomic.Int64
	p := New(Config{Namespace: w.ns, Link: "wg", Every: 100 * time.Millisecond, Probed: func(r mesh.Ref, answered bool, _ time.Duration) {
		if r != peer {
			t.Errorf("probed %v", r)
		}
		if answered {
			answers.Add(1)
		} else {
			losses.Add(1)
		}
	}})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	is := func(what string, ok func(Result) bool) {
		t.Helper()
		nettest.Eventually(t, time.Minute, what, func() bool { return ok(p.Results()[peer]) })
	}
	p.Aim(here, []Target{{peer, there}, {mesh.Ref{Cluster: "six", Node: "s"}, netip.MustParseAddr("fd00::1")}})
	is("a way that is well", func(r Result) bool { return r.Sure() && r.Loss == 0 && r.RoundTrip > 0 && r.RoundTrip < time.Second })
	if n := len(p.Results()); n != 1 {
		t.Errorf("%d peers are probed", n)
	}
	nettest.Sh(t, "ip netns exec %[1]s nft 'add table ip t; add chain ip t c { type filter hook input priority 0; policy drop; }'", w.peer)
	is("all is lost", func(r Result) bool { return r.Loss == 1 && r.Probes == Window })
	nettest.Sh(t, "ip netns exec %s nft delete table ip t", w.peer)
	is("it is back", func(r Result) bool { return r.Loss == 0 })
	nettest.Sh(t, "ip -n %[1]s link del wg", w.tunnel)
	is("without the tunnel", func(r Result) bool { return r.Loss > 0.5 })
	nettest.Sh(t, "ip -n %[1]s link add wg type veth peer name eth netns %[2]s && ip -n %[1]s link set wg up && ip -n %[2]s link set eth up && "+
		"ip -n %[1]s route add 100.127.4.0/22 dev wg && ip -n %[2]s route add 100.127.0.0/22 dev eth src %[3]v", w.tunnel, w.peer, there)
	is("the tunnel is made anew", func(r Result) bool { return r.Loss == 0 })
	if p.Aim(here, nil); len(p.Results()) != 0 {
		t.Errorf("nobody is to be probed: %v", p.Results())
	}
	if answers.Load() < Window || losses.Load() < Window {
		t.Errorf("told of %d answers and %d losses", answers.Load(), losses.Load())
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// TestForged: what comes by another interface is not heard, nor what is no answer to this
// socket's echoes.
func TestForged(t *testing.T) {
	w := newWay(t)
	s, err := open(w.ns, "wg", here)
	if err != nil {
		t.Fatal(err)
	}
	heard := make(chan uint16, 10)
	go s.read(func(from netip.Addr, number uint16, n nonce) {
		if from != there || n != (nonce{1}) {
			t.Errorf("from %v: %v", from, n)
		}
		heard <- number
	})
	defer s.close()
	answer := func(from string, kind icmp.Type, id, number int, data ...byte) {
		t.Helper()
		content, err := (&icmp.Message{Type: kind, Body: &icmp.Echo{ID: id, Seq: number, Data: data}}).Marshal(nil)
		if err != nil {
			t.Fatal(err)
		}
		err = tunnelns.At("/run/netns/" + from).Do(func() error {
			fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP)
			if err != nil {
				return err
			}
			defer unix.Close(fd)
			return unix.Sendto(fd, content, 0, &unix.SockaddrInet4{Addr: here.As4()})
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	right := []byte{1, 0, 0, 0, 0, 0, 0, 0}
	answer(w.pod, ipv4.ICMPTypeEchoReply, int(s.id), 1, right...)      // by the pods' way
	answer(w.peer, ipv4.ICMPTypeEchoReply, int(s.id)^1, 2, right...)   // to another socket
	answer(w.peer, ipv4.ICMPTypeEchoReply, int(s.id), 3, right[1:]...) // cut
	answer(w.peer, ipv4.ICMPTypeEcho, int(s.id), 4, right...)          // a question
	answer(w.peer, ipv4.ICMPTypeEchoReply, int(s.id), 5, right...)
	if got := <-heard; got != 5 || len(heard) > 0 {
		t.Errorf("heard %d, and %d more", got, len(heard))
	}
}

// TestNamespaceGoes: nothing of a namespace that is gone is held, and the next one of that
// name is probed.
func TestNamespaceGoes(t *testing.T) {
	w := newWay(t)
	p := New(Config{Namespace: w.ns, Link: "wg", Every: 100 * time.Millisecond})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	p.Aim(here, []Target{{peer, there}})
	nettest.Eventually(t, time.Minute, "probed", func() bool { return p.Results()[peer].RoundTrip > 0 })
	nettest.Sh(t, "ip netns del %s", w.tunnel)
	// Its end of the pair goes with the namespace, and that takes the other end.
	nettest.Eventually(t, time.Minute, "the namespace is gone", func() bool {
		return nettest.Sh(t, "ip -n %s -br link show type veth", w.peer) == ""
	})
	if err := w.ns.Create(); err != nil {
		t.Fatal(err)
	}
	nettest.Sh(t, "ip -n %[1]s link set lo up && ip -n %[1]s addr add %[2]v/32 dev lo && ip -n %[1]s link add wg type veth peer name eth netns %[3]s && ip -n %[1]s link set wg up && "+
		"ip -n %[3]s link set eth up && ip -n %[1]s route add 100.127.4.0/22 dev wg && ip -n %[3]s route add 100.127.0.0/22 dev eth src %[4]v", w.tunnel, here, w.peer, there)
	nettest.Eventually(t, time.Minute, "the next one is probed", func() bool { return p.Results()[peer].Loss == 0 && p.Results()[peer].Probes == Window })
}

// BenchmarkProbe is what a probe costs: sent, answered by a kernel, read and noted, among a
// thousand peers.
func BenchmarkProbe(b *testing.B) {
	w := newWay(b)
	p := New(Config{Namespace: w.ns, Link: "wg"})
	all := targets(1000)
	all[0].Address = there
	p.Aim(here, all)
	s, err := open(w.ns, "wg", here)
	if err != nil {
		b.Fatal(err)
	}
	defer s.close()
	heard := make(chan struct{}, 1)
	go s.read(func(from netip.Addr, number uint16, n nonce) {
		p.answered(from, number, n)
		heard <- struct{}{}
	})
	var before, after unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &before); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		_, a := p.turn()
		if err := s.send(there, a.number, a.nonce); err != nil {
			b.Fatal(err)
		}
		<-heard
	}
	if err := unix.Getrusage(unix.RUSAGE_SELF, &after); err != nil {
		b.Fatal(err)
	}
	spent := after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano()
	b.ReportMetric(float64(spent)/float64(b.N), "cpu-ns/op")
}
