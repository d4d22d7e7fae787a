package probe

import (
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netns"
)

// ip runs one ip(8) command.
func ip(t *testing.T, args string) {
	t.Helper()
	if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
		t.Fatalf("ip %s: %v: %s", args, err, out)
	}
}

// A router between client and server whose far link is smaller says so by ICMP; what
// passes is that link's MTU. The test's own thread is the client, in a namespace.
func TestDFAcrossASmallerMTU(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: it makes network namespaces")
	}
	client, router, far := "sdntun-df-c", "sdntun-df-r", "sdntun-df-s"
	for _, ns := range []string{client, router, far} {
		ip(t, "netns add "+ns)
		t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", ns).Run() })
		ip(t, "-n "+ns+" link set lo up")
	}
	ip(t, "-n "+client+" link add c0 mtu 1450 type veth peer name r0 mtu 1450 netns "+router)
	ip(t, "-n "+far+" link add s0 mtu 1300 type veth peer name r1 mtu 1300 netns "+router)
	for _, a := range []string{
		client + " addr add 10.9.1.2/24 dev c0", client + " link set c0 up",
		router + " addr add 10.9.1.1/24 dev r0", router + " addr add 10.9.2.1/24 dev r1", router + " link set r0 up", router + " link set r1 up",
		far + " addr add 10.9.2.2/24 dev s0", far + " link set s0 up",
	} {
		ip(t, "-n "+a)
	}
	ip(t, "-n "+client+" route add default via 10.9.1.1")
	ip(t, "-n "+far+" route add default via 10.9.2.1")
	ip(t, "netns exec "+router+" sysctl -qw net.ipv4.ip_forward=1")

	// Sockets belong to the namespace of the thread that makes them.
	runtime.LockOSThread()
	home, err := netns.Get()
	if err != nil {
		t.Fatal(err)
	}
	enter := func(name string) {
		h, err := netns.GetFromName(name)
		if err != nil {
			t.Fatal(err)
		}
		defer h.Close()
		if err := netns.Set(h); err != nil {
			t.Fatal(err)
		}
	}
	defer func() {
		if err := netns.Set(home); err == nil {
			runtime.UnlockOSThread()
		}
		_ = home.Close()
	}()
	enter(far)
	port := serve(t, "10.9.2.2:0")
	enter(client)
	result := Result{Checks: map[string]Check{}}
	p := prober{hostPort: netip.AddrPortFrom(netip.MustParseAddr("10.9.2.2"), uint16(port)).String(),
		addr: netip.MustParseAddr("10.9.2.2"), timeout: 3 * time.Second, result: &result}
	if c := p.df(t.Context()); !c.OK || result.DFBytes != 1300 || result.LinkMTU != 1450 {
		t.Errorf("%+v, %d bytes passed, link %d; want 1300 and 1450", c, result.DFBytes, result.LinkMTU)
	}
}
