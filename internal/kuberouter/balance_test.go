package kuberouter

import (
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sdn-tunnel/sdn-tunnel/internal/nettest"
	"github.com/sdn-tunnel/sdn-tunnel/internal/servicetest"
)

// balance: TCP and UDP in turn over all ready pods, which see the client's own address.
func balance(t *testing.T, w *world) {
	for _, network := range networks {
		seen := map[string]int{}
		for range 12 {
			seen[w.Once(t, network, clientIP, vip)]++
		}
		if len(seen) != 3 || seen["10.132.0.1"] != 4 || seen["10.132.0.2"] != 4 {
			t.Errorf("%s: not in turn: %v", network, seen)
		}
	}
}

// twoMembers: each has its own services, at once.
func twoMembers(t *testing.T, w *world) {
	for range 4 {
		for _, network := range networks {
			if got := w.Once(t, network, clientIP, northVIP); !strings.HasPrefix(got, "10.136.") {
				t.Errorf("%s: north answered by %s", network, got)
			}
			if got := w.Once(t, network, otherIP, vip); !strings.HasPrefix(got, "10.132.") {
				t.Errorf("%s: west answered by %s", network, got)
			}
		}
	}
	for _, member := range []string{"west", "north"} {
		have, err := readIPVS(newRoom(w.Tunnel, member).namespace)
		if err != nil {
			t.Fatal(err)
		}
		if want := map[string]int{"west": 4, "north": 2}[member]; len(have) != want {
			t.Errorf("%s: %d services in IPVS, want %d: %v", member, len(have), want, have)
		}
	}
}

// refuseAtOnce: what no service has is rejected, also if a process of the namespace listens
// there; kube-router itself takes any port of an address for its own.
func refuseAtOnce(t *testing.T, w *world) {
	room := newRoom(w.Tunnel, "west")
	err := room.namespace.Do(func() error {
		l, err := net.Listen("tcp4", "0.0.0.0:81")
		if err == nil {
			t.Cleanup(func() { l.Close() })
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for what, to := range map[string]string{
		"no endpoints": emptyVIP, "unknown address": "172.31.200.200", "unknown port": vip + ":82",
		"a port that a process listens at": vip + ":81", "the same of an unknown address": "172.31.200.200:81",
	} {
		w.Refused(t, what, to)
	}
}

// gone: an endpoint that goes is out of use within a second, its UDP flows too; one that
// terminates takes nothing new, and finishes what it has.
func gone(t *testing.T, w *world) {
	set := func(endpoints ...string) { w.part.Set(mirror("web", vip, 0, endpoints...)) }
	set("10.132.0.1")
	w.inIPVS(t)
	open := map[string]*nettest.Conn{}
	for _, network := range networks {
		c, err := w.Dial(network, clientIP, vip)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		open[network] = c
		if got, _, err := c.Ask(); err != nil || got != "10.132.0.1" {
			t.Fatalf("%s: answered by %q (%v)", network, got, err)
		}
	}
	set("10.132.0.1 terminating", "10.132.0.2")
	took := nettest.Eventually(t, 5*time.Second, "new connections go elsewhere", w.elsewhere(t, "10.132.0.2"))
	t.Logf("a terminating endpoint takes no new connections after %s", took)
	for _, network := range networks {
		if got, _, err := open[network].Ask(); err != nil || got != "10.132.0.1" {
			t.Errorf("%s: a flow to an endpoint that terminates is answered by %q (%v)", network, got, err)
		}
	}
	set("10.132.0.2")
	// A packet that comes between the endpoint's end and that of its flow gets no answer.
	took = nettest.Eventually(t, time.Second, "the UDP flow goes elsewhere", func() bool {
		got, _, err := open["udp4"].AskWithin(50 * time.Millisecond)
		return err == nil && got == "10.132.0.2"
	})
	t.Logf("a UDP flow leads elsewhere after %s", took)
	if got, _, err := open["tcp4"].Ask(); err != nil || got != "10.132.0.1" {
		t.Errorf("a TCP connection to an endpoint that is gone: answered by %q (%v)", got, err)
	}
	set("10.132.0.1", "10.132.0.2", "10.132.0.3")
	w.inIPVS(t)
	set("10.132.0.1", "10.132.0.3")
	took = nettest.Eventually(t, time.Second, "an endpoint that is gone is out of use", func() bool {
		return !slices.Contains([]string{w.Once(t, "tcp4", clientIP, vip), w.Once(t, "tcp4", clientIP, vip), w.Once(t, "tcp4", clientIP, vip)}, "10.132.0.2")
	})
	t.Logf("an endpoint that is gone is out of use after %s", took)
}

// elsewhere tells whether new connections go to one endpoint only.
func (w *world) elsewhere(t *testing.T, only string) func() bool {
	return func() bool {
		for _, network := range []string{"tcp4", "tcp4", "udp4"} {
			if w.Once(t, network, clientIP, vip) != only {
				return false
			}
		}
		return true
	}
}

// tooBig: errors about what IPVS has translated find the client, from behind the tunnel's
// end as well as from itself.
func tooBig(t *testing.T, w *world) {
	nettest.Sh(t, "ip -n %s link set wg0 mtu 1300", servicetest.Name(w.Tunnel))
	defer nettest.Sh(t, "ip -n %s link set wg0 mtu 1500", servicetest.Name(w.Tunnel))
	c, err := w.Dial("udp4", clientIP, vip)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	raw, err := c.Conn.(*net.UDPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	err = raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DO)
	})
	if err != nil {
		t.Fatal(err)
	}
	big := strings.Repeat("x", 1400)
	nettest.Eventually(t, 5*time.Second, "the client learns that 1428 bytes are too many", func() bool {
		_, err := io.WriteString(c, big)
		return errors.Is(err, unix.EMSGSIZE)
	})
	if route := nettest.Sh(t, "ip -n %s route get %s", servicetest.Name(w.Pod), vip); !strings.Contains(route, "mtu 1300") {
		t.Errorf("the client's way to the service: %s", route)
	}
	nettest.Sh(t, "ip -n %s route flush cache", servicetest.Name(w.Pod))
	w.Once(t, "udp4", clientIP, vip)
}

func affinity(t *testing.T, w *world) {
	w.part.Set(mirror("web", vip, 600, "10.132.0.1", "10.132.0.2", "10.132.0.3"))
	nettest.Eventually(t, 10*time.Second, "the service has affinity", func() bool {
		first := w.Once(t, "tcp4", clientIP, vip)
		for range 5 {
			if w.Once(t, "tcp4", clientIP, vip) != first {
				return false
			}
		}
		return true
	})
	w.part.Set(mirror("web", vip, 0, "10.132.0.1", "10.132.0.2", "10.132.0.3"))
	nettest.Eventually(t, 10*time.Second, "the service has no affinity any more", func() bool {
		first := w.Once(t, "tcp4", clientIP, vip)
		return w.Once(t, "tcp4", clientIP, vip) != first
	})
}
