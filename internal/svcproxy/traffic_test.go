package svcproxy

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sdn-tunnel/sdn-tunnel/internal/nettest"
	"github.com/sdn-tunnel/sdn-tunnel/internal/servicetest"
)

func TestBalance(t *testing.T) {
	w := newWorld(t)
	nettest.Serve(t, w.Remote, "10.132.0.1", "10.132.0.2", "10.132.0.3")
	w.part.Replace(nil)
	w.part.Set(mirror("web", vip, 0, "10.132.0.1", "10.132.0.2", "10.132.0.3"))
	apply(t, w.part)
	for _, network := range networks {
		seen := map[string]int{}
		for range 90 {
			seen[w.Once(t, network, clientIP, vip)]++
		}
		// Each is taken 30 times; 6 or fewer happen once in 10 million runs.
		for _, server := range []string{"10.132.0.1", "10.132.0.2", "10.132.0.3"} {
			if seen[server] <= 6 {
				t.Errorf("%s: not balanced: %v", network, seen)
			}
		}
	}
}

// TestRefuse: what no service has is rejected at once, by the service's own address.
func TestRefuse(t *testing.T) {
	w := newWorld(t)
	// A rule has the kernel keep the routing tables apart, for ever.
	nettest.Sh(t, "ip -n %s rule add pref 1000 lookup 1000", servicetest.Name(w.Tunnel))
	nettest.Serve(t, w.Remote, "10.132.0.1")
	w.part.Replace(nil)
	w.part.Set(mirror("web", vip, 0, "10.132.0.1"))
	w.part.Set(mirror("empty", emptyVIP, 0))
	apply(t, w.part)
	w.Refused(t, "no endpoints", emptyVIP)
	w.Refused(t, "unknown address", "172.31.200.200")
	w.Refused(t, "unknown port", vip+":81")
	if out := nettest.Sh(t, "nsenter --net=%s ping -c1 -W2 %s || true", w.Pod.Path(), vip); !strings.Contains(out, "From "+vip) {
		t.Errorf("the refusal does not come from the service's address:\n%s", out)
	}
	w.part.Set(mirror("empty", emptyVIP, 0, "10.132.0.1"))
	apply(t, w.part)
	for _, network := range networks {
		if got := w.Once(t, network, clientIP, emptyVIP); got != "10.132.0.1" {
			t.Errorf("%s: endpoints that came: %s", network, got)
		}
	}
}

// TestClientsOnly: who is not on the clients' side of the tunnel is not proxied.
func TestClientsOnly(t *testing.T) {
	w := newWorld(t)
	nettest.Serve(t, w.Remote, "10.132.0.1")
	w.part.Replace(nil)
	w.part.Set(mirror("web", vip, 0, "10.132.0.1"))
	apply(t, w.part)
	backwards := nettest.Client{From: w.Remote, Wait: w.Wait}
	if c, err := backwards.Dial("tcp4", "10.132.0.4", vip); !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("a remote pod reached its own cluster's service by way of another cluster: %v, %v", c, err)
	}
}

func TestAffinity(t *testing.T) {
	w := newWorld(t)
	nettest.Serve(t, w.Remote, "10.132.0.1", "10.132.0.2", "10.132.0.3", "10.132.0.4")
	all := []string{"10.132.0.1", "10.132.0.2", "10.132.0.3", "10.132.0.4"}
	w.part.Replace(nil)
	w.part.Set(mirror("web", vip, 600, all...))
	apply(t, w.part)
	has := map[string]string{}
	stays := func(when, network string) {
		t.Helper()
		for _, from := range []string{clientIP, otherIP} {
			for range 10 {
				if got := w.Once(t, network, from, vip); got != has[network+from] {
					t.Fatalf("%s: %s of %s went to %s, before to %s", when, network, from, got, has[network+from])
				}
			}
		}
	}
	for _, network := range networks {
		for _, from := range []string{clientIP, otherIP} {
			has[network+from] = w.Once(t, network, from, vip)
		}
		stays("at first", network)
		// The others go, and come back: the client's own stays its own.
		w.part.Set(mirror("web", vip, 600, has[network+clientIP], has[network+otherIP]))
		apply(t, w.part)
		stays("with fewer", network)
		w.part.Set(mirror("web", vip, 600, all...))
		apply(t, w.part)
		stays("with all again", network)
		w.part = w.process(t)
		w.part.Replace(nil)
		w.part.Set(mirror("web", vip, 600, all...))
		apply(t, w.part)
		stays("after a new start", network)
	}
	// Its own goes: another one takes its place, and is kept.
	var left []string
	for _, a := range all {
		if a != has["tcp4"+clientIP] && a != has["tcp4"+otherIP] {
			left = append(left, a)
		}
	}
	w.part.Set(mirror("web", vip, 600, left...))
	apply(t, w.part)
	for _, from := range []string{clientIP, otherIP} {
		has["tcp4"+from] = w.Once(t, "tcp4", from, vip)
	}
	stays("after its own had gone", "tcp4")
	// The timeout is that of the last connection: in the end the client is balanced anew.
	w.part.Set(mirror("web", vip, 1, all...))
	apply(t, w.part)
	seen := map[string]bool{}
	nettest.Eventually(t, 30*time.Second, "another backend after the timeout", func() bool {
		time.Sleep(1200 * time.Millisecond)
		seen[w.Once(t, "tcp4", clientIP, vip)] = true
		return len(seen) > 1
	})
}

// TestFullAffinity: when no more clients can be noted, they are balanced all the same.
func TestFullAffinity(t *testing.T) {
	w := newWorld(t)
	nettest.Serve(t, w.Remote, "10.132.0.1", "10.132.0.2")
	w.part.Replace(nil)
	w.part.Set(mirror("web", vip, 600, "10.132.0.1", "10.132.0.2"))
	apply(t, w.part)
	var fill strings.Builder
	fmt.Fprintf(&fill, "add element ip %s %s { ", Table, setAffinity)
	for i := range affinitySize {
		fmt.Fprintf(&fill, "10.129.%d.%d . %s . tcp . 80 . 1,\n", i>>8, i&255, vip)
	}
	nft(t, w.Tunnel, fill.String()+"}")
	w.Once(t, "tcp4", clientIP, vip)
}

// TestGone: an endpoint that goes is out of use within a second, its UDP flows too; the
// TCP connections of one that terminates go on.
func TestGone(t *testing.T) {
	w := newWorld(t)
	nettest.Serve(t, w.Remote, "10.132.0.1", "10.132.0.2")
	w.part.Replace(nil)
	w.part.Set(mirror("web", vip, 0, "10.132.0.1"))
	apply(t, w.part)
	w.watch(t)
	open := map[string]*nettest.Conn{}
	for _, network := range networks {
		c, err := w.Dial(network, clientIP, vip)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		open[network] = c
	}
	answers := func(network string) string {
		t.Helper()
		server, _, err := open[network].Ask()
		if err != nil {
			t.Fatalf("%s: an open connection: %v", network, err)
		}
		return server
	}
	for _, network := range networks {
		if got := answers(network); got != "10.132.0.1" {
			t.Fatalf("%s: answered by %s", network, got)
		}
	}
	w.part.Set(mirror("web", vip, 0, "10.132.0.1 terminating", "10.132.0.2"))
	took := nettest.Eventually(t, time.Second, "new connections go elsewhere", func() bool {
		first, second := w.Once(t, "tcp4", clientIP, vip), w.Once(t, "tcp4", clientIP, vip)
		return first == "10.132.0.2" && second == first
	})
	t.Logf("a terminating endpoint takes no new connections after %s", took)
	for _, network := range networks {
		if got := answers(network); got != "10.132.0.1" {
			t.Errorf("%s: a flow to an endpoint that terminates went on to %s", network, got)
		}
	}
	w.part.Set(mirror("web", vip, 0, "10.132.0.2"))
	// A packet that comes between the endpoint's end and that of its flow gets no answer.
	took = nettest.Eventually(t, time.Second, "the UDP flow goes elsewhere", func() bool {
		got, _, err := open["udp4"].AskWithin(200 * time.Millisecond)
		return err == nil && got == "10.132.0.2"
	})
	t.Logf("a UDP flow leads elsewhere after %s", took)
	if got := answers("tcp4"); got != "10.132.0.1" {
		t.Errorf("a TCP connection to an endpoint that is gone went on to %s", got)
	}
	w.part.Set(mirror("web", vip, 0, "10.132.0.2 terminating"))
	time.Sleep(300 * time.Millisecond)
	if got := w.Once(t, "tcp4", clientIP, vip); got != "10.132.0.2" {
		t.Errorf("the only endpoint, which terminates, is not used: %s", got)
	}
}

// TestFlowsOfBefore: a UDP flow that began when there was no table is not for ever without
// translation.
func TestFlowsOfBefore(t *testing.T) {
	w := newWorld(t)
	nettest.Serve(t, w.Remote, "10.132.0.1")
	nettest.Sh(t, "ip -n %s route add local 172.31.0.0/16 dev lo proto 133 table local", servicetest.Name(w.Tunnel)) // of an earlier process
	nft(t, w.Tunnel, "add table ip other; add chain ip other x { type filter hook input priority 10; ct state new accept; }")
	c, err := w.Dial("udp4", clientIP, vip)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, _, err := c.Ask(); err == nil {
		t.Fatal("answered without a table")
	}
	w.part.Replace(nil)
	w.part.Set(mirror("web", vip, 0, "10.132.0.1"))
	apply(t, w.part)
	if server, _, err := c.Ask(); err != nil || server != "10.132.0.1" {
		t.Errorf("the flow is answered by %q (%v)", server, err)
	}
}

// TestReloadUnderTraffic: no request fails while processes come and load everything anew.
func TestReloadUnderTraffic(t *testing.T) {
	w := newWorld(t)
	nettest.Serve(t, w.Remote, "10.132.0.1", "10.132.0.2")
	tell := func(p *Part) {
		p.Replace(nil)
		p.Set(mirror("web", vip, 0, "10.132.0.1", "10.132.0.2"))
		p.Set(mirror("kept", emptyVIP, 600, "10.132.0.1", "10.132.0.2"))
		apply(t, p)
	}
	tell(w.part)
	long, err := w.Dial("tcp4", clientIP, vip)
	if err != nil {
		t.Fatal(err)
	}
	defer long.Close()
	first, _, err := long.Ask()
	if err != nil {
		t.Fatal(err)
	}
	stop := w.load(t, vip, emptyVIP)
	for range 20 {
		tell(w.process(t))
		if again, _, err := long.Ask(); err != nil || again != first {
			t.Errorf("a connection that was open: answered by %q (%v), before by %s", again, err, first)
		}
	}
	t.Logf("20 loads, %d requests, none failed", stop())
}

// TestChangesUnderTraffic: no request fails while endpoints come and go, with one that
// stays and all that are told able to answer.
func TestChangesUnderTraffic(t *testing.T) {
	w := newWorld(t)
	all := []string{"10.132.0.1", "10.132.0.2", "10.132.0.3", "10.132.0.4"}
	nettest.Serve(t, w.Remote, all...)
	w.part.Replace(nil)
	tell := func(n int) {
		w.part.Set(mirror("web", vip, 0, all[:n]...))
		w.part.Set(mirror("kept", emptyVIP, 600, all[4-n:]...))
		apply(t, w.part)
	}
	tell(4)
	stop := w.load(t, vip, emptyVIP)
	for i := range 100 {
		tell(1 + i%4)
	}
	t.Logf("100 changes, %d requests, none failed", stop())
}

// load asks the services one connection after the other, until it is stopped; then it
// tells how many there were.
func (w *world) load(t *testing.T, services ...string) (stop func() int) {
	ended, requests := make(chan struct{}), 0
	var load sync.WaitGroup
	load.Go(func() {
		for {
			for _, to := range services {
				select {
				case <-ended:
					return
				default:
				}
				requests++
				c, err := w.Dial("tcp4", clientIP, to)
				if err != nil {
					t.Errorf("request %d: %v", requests, err)
					return
				}
				if _, _, err := c.Ask(); err != nil {
					t.Errorf("request %d: %v", requests, err)
				}
				c.Close()
			}
		}
	})
	return func() int {
		close(ended)
		load.Wait()
		return requests
	}
}
