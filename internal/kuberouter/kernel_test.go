package kuberouter

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/sdn-tunnel/sdn-tunnel/internal/kerneltest"
	"github.com/sdn-tunnel/sdn-tunnel/internal/nettest"
	"github.com/sdn-tunnel/sdn-tunnel/internal/svcproxy"
)

var networks = []string{"tcp4", "udp4"}

// TestKernelKubeRouter: upstream's kube-router on the view, in one world, as it takes a
// while to start.
func TestKernelKubeRouter(t *testing.T) {
	kerneltest.Need(t, "ip_vs")
	w := newWorld(t, kerneltest.KubeRouter(t))
	nettest.Serve(t, w.remote, "10.132.0.1", "10.132.0.2", "10.132.0.3", "10.136.0.1", "10.136.0.2")
	w.start(t)
	w.part.Replace(nil)
	w.part.Set(mirror("web", vip, 0, "10.132.0.1", "10.132.0.2", "10.132.0.3"))
	w.part.Set(mirror("empty", emptyVIP, 0))
	w.part.Set(mirror("north/web", northVIP, 0, "10.136.0.1", "10.136.0.2"))
	t.Logf("two kube-routers serve after %s", w.serving(t))
	if changes := w.apply(t); len(changes) > 0 {
		t.Errorf("a second Apply changes %q", changes)
	}
	for _, step := range []struct {
		name string
		test func(*testing.T, *world)
	}{
		{"balance", balance}, {"two members", twoMembers}, {"refuse", refuseAtOnce}, {"gone", gone},
		{"too big", tooBig}, {"affinity", affinity}, {"killed", killed}, {"started anew", startedAnew}, {"drift", drift},
		{"switched", switched}, {"nothing left", nothingLeft},
	} {
		if !t.Run(step.name, func(t *testing.T) { step.test(t, w) }) {
			w.show(t)
			return
		}
	}
}

// show logs what there is, for whoever has to find out what went wrong.
func (w *world) show(t *testing.T) {
	script := `ip -n %[1]s rule; ip -n %[1]s -br addr; nsenter --net=/run/netns/%[1]s nft list ruleset
		for n in $(ip netns | grep -o '^%[1]s[.][a-z]*'); do echo "--- $n"; ip -n $n -br addr; ip -n $n route show table all
		nsenter --net=/run/netns/$n sh -c 'cat /proc/net/ip_vs; cat /proc/net/ip_vs_conn; nft list ruleset; ipset list -t' || true; done`
	t.Log(nettest.Sh(t, script, base(w.tunnel)))
}

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
		have, err := readIPVS(newRoom(w.tunnel, member).namespace)
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
	room := newRoom(w.tunnel, "west")
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
		for _, network := range networks {
			began := time.Now()
			c, err := w.Dial(network, clientIP, to)
			if err == nil {
				_, _, err = c.Ask()
				c.Close()
			}
			if took := time.Since(began); !errors.Is(err, unix.ECONNREFUSED) || took > 2*time.Second {
				t.Errorf("%s, %s: %v after %s; want it refused at once", what, network, err, took)
			}
		}
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
	nettest.Sh(t, "ip -n %s link set wg0 mtu 1300", base(w.tunnel))
	defer nettest.Sh(t, "ip -n %s link set wg0 mtu 1500", base(w.tunnel))
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
	if route := nettest.Sh(t, "ip -n %s route get %s", base(w.client), vip); !strings.Contains(route, "mtu 1300") {
		t.Errorf("the client's way to the service: %s", route)
	}
	nettest.Sh(t, "ip -n %s route flush cache", base(w.client))
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

// processes are the kube-routers in the namespaces of a tunnel namespace's members.
func processes(t testing.TB, w *world) (pids []int) {
	t.Helper()
	names, err := filepath.Glob("/proc/[0-9]*/exe")
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		if to, err := os.Readlink(n); err == nil && strings.TrimSuffix(to, " (deleted)") == w.program {
			pid, _ := strconv.Atoi(strings.Split(n, "/")[2])
			pids = append(pids, pid)
		}
	}
	return pids
}

// killed: traffic does not notice that kube-router is killed, and it comes back.
func killed(t *testing.T, w *world) {
	before := processes(t, w)
	if len(before) != 2 {
		t.Fatalf("processes %v, want two", before)
	}
	load := w.load(t, vip, northVIP)
	for _, pid := range before {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	nettest.Eventually(t, 5*time.Second, "both are noticed to be gone", func() bool {
		n := 0
		for _, s := range w.part.Status() {
			n += s.Failed
		}
		return n == 2
	})
	w.part.Set(mirror("web", vip, 0, "10.132.0.1"))
	took := nettest.Eventually(t, time.Minute, "changes are followed again", w.elsewhere(t, "10.132.0.1"))
	if after := processes(t, w); len(after) != 2 || slices.Contains(after, before[0]) || slices.Contains(after, before[1]) {
		t.Errorf("processes %v, before %v", after, before)
	}
	if err := errors.Join(w.part.failure(), w.part.Healthy()); err != nil {
		t.Errorf("once is no failure: %v", err)
	}
	t.Logf("both killed, %d requests meanwhile, none failed; changes are followed after %s", load(), took)
}

// startedAnew: a new process of the agent takes over what is there, and traffic does not
// notice; what has changed meanwhile is followed.
func startedAnew(t *testing.T, w *world) {
	load := w.load(t, vip, northVIP)
	w.stop()
	if left := processes(t, w); len(left) > 0 {
		t.Errorf("processes %v outlived the agent", left)
	}
	w.start(t)
	w.part.Replace([]*discoveryv1.EndpointSlice{
		mirror("north/web", northVIP, 0, "10.136.0.1", "10.136.0.2"), mirror("web", vip, 0, "10.132.0.1", "10.132.0.2"),
	})
	w.serving(t)
	t.Logf("ended and started anew, %d requests, none failed", load())
}

// drift: what somebody else takes away comes back.
func drift(t *testing.T, w *world) {
	room := newRoom(w.tunnel, "west")
	for _, line := range []string{
		"ip -n %[1]s rule del pref 1330", "ip -n %[1]s rule del pref 1331",
		"nsenter --net=/run/netns/%[1]s nft delete table ip " + tableSteer, "ip -n %[1]s link del " + room.link,
		"ip netns del %[1]s.west",
	} {
		nettest.Sh(t, line, base(w.tunnel))
		took := nettest.Eventually(t, time.Minute, line, func() bool {
			c, err := w.Dial("tcp4", clientIP, vip)
			if err != nil || !room.namespace.Exists() {
				return false
			}
			defer c.Close()
			_, _, err = c.Ask()
			return err == nil
		})
		t.Logf("%s: mended after %s", fmt.Sprintf(line, "NETNS"), took)
		w.serving(t)
	}
}

// switched: from kube-router to nftables and back services answer all the time, and nothing
// of the other one is left. The connection that was open when nftables balanced goes on.
func switched(t *testing.T, w *world) {
	all := []*discoveryv1.EndpointSlice{
		mirror("north/web", northVIP, 0, "10.136.0.1", "10.136.0.2"), mirror("web", vip, 0, "10.132.0.1", "10.132.0.2"),
	}
	ask := func() {
		t.Helper()
		for _, network := range networks {
			for _, to := range []string{vip, northVIP} {
				w.Once(t, network, clientIP, to)
			}
		}
	}
	builtIn, err := svcproxy.New(svcproxy.Config{Namespace: w.tunnel})
	if err != nil {
		t.Fatal(err)
	}
	builtIn.Replace(all)
	if _, err := builtIn.Apply(t.Context(), dataPlane()); err != nil || !builtIn.Serving() {
		t.Fatalf("nftables: %v, serving %v", err, builtIn.Serving())
	}
	ask()
	w.end(t)
	ask()
	left := w.left(t)
	delete(left, "routes") // to the services, of nftables
	if strings.Contains(left["nftables"], "table ip "+svcproxy.Table) && strings.Count(left["nftables"], "table ") == 1 {
		delete(left, "nftables")
	}
	for what, text := range left {
		t.Errorf("%s of kube-router are left: %s", what, text)
	}
	open, err := w.Dial("tcp4", clientIP, vip)
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	if _, _, err := open.Ask(); err != nil {
		t.Fatal(err)
	}
	w.start(t)
	w.part.Replace(all)
	ask()
	w.serving(t)
	ask()
	if !w.part.Serving() {
		t.Error("kube-router serves, and does not say so")
	}
	if err := builtIn.Remove(t.Context()); err != nil {
		t.Fatal(err)
	}
	ask()
	if _, _, err := open.Ask(); err != nil {
		t.Errorf("a connection that was open: %v", err)
	}
	if text := w.left(t)["nftables"]; strings.Contains(text, svcproxy.Table) {
		t.Errorf("nftables of the built-in proxy are left: %s", text)
	}
}

// nothingLeft: without kube-router the tunnel namespace is as it was before.
func nothingLeft(t *testing.T, w *world) {
	w.end(t)
	for what, text := range w.left(t) {
		t.Errorf("%s are left: %s", what, text)
	}
}

// left is what there is of kube-router and of this package, in the tunnel namespace and
// beside it; nothing: no entry.
func (w *world) left(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	if pids := processes(t, w); len(pids) > 0 {
		out["processes"] = fmt.Sprint(pids)
	}
	if found, err := filepath.Glob(w.tunnel.Path() + ".*"); err != nil || len(found) > 0 {
		out["namespaces"] = fmt.Sprint(found, err)
	}
	for what, command := range map[string]string{
		"rules":    "ip -n %[1]s rule | grep -v 'lookup \\(local\\|main\\|default\\)$' || true",
		"links":    "ip -n %[1]s -br link | grep " + linkPrefix + " || true",
		"nftables": "nsenter --net=/run/netns/%[1]s nft list ruleset",
		"ipsets":   "nsenter --net=/run/netns/%[1]s ipset list -n",
		"IPVS":     "nsenter --net=/run/netns/%[1]s tail -n +4 /proc/net/ip_vs 2>/dev/null || true",
		"routes":   "ip -n %[1]s route show table all proto 133",
	} {
		if text := strings.TrimSpace(nettest.Sh(t, command, base(w.tunnel))); text != "" {
			out[what] = text
		}
	}
	return out
}

// load asks the services one connection after the other, until it is stopped; then it
// tells how many there were.
func (w *world) load(t *testing.T, services ...string) (stop func() int) {
	var ended atomic.Bool
	requests := 0
	var load sync.WaitGroup
	load.Go(func() {
		for !ended.Load() {
			for _, to := range services {
				requests++
				c, err := w.Dial("tcp4", otherIP, to)
				if err != nil {
					t.Errorf("request %d, to %s: %v", requests, to, err)
					return
				}
				if _, _, err := c.Ask(); err != nil {
					t.Errorf("request %d, to %s: %v", requests, to, err)
				}
				c.Close()
			}
			time.Sleep(10 * time.Millisecond)
		}
	})
	return func() int {
		ended.Store(true)
		load.Wait()
		return requests
	}
}

// TestKernelOrphans: kube-router does not outlive an agent that is killed.
func TestKernelOrphans(t *testing.T) {
	kerneltest.Need(t, "ip_vs")
	const variable = "SDN_TUNNEL_TEST_ORPHANS"
	if path := os.Getenv(variable); path != "" {
		w := newWorld(t, path)
		w.start(t)
		w.part.Replace(nil)
		w.serving(t)
		fmt.Println("serving")
		select {}
	}
	w := &world{program: filepath.Join(t.TempDir(), "kube-router")}
	nettest.Sh(t, "cp %s %s", kerneltest.KubeRouter(t), w.program)
	agent := exec.Command(os.Args[0], "-test.run=^TestKernelOrphans$")
	agent.Env = append(os.Environ(), variable+"="+w.program)
	out, err := agent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := agent.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		nettest.Sh(t, "for n in $(ip netns | grep -o '^sdnkr-%d[^ ]*'); do ip netns del $n; done", agent.Process.Pid)
	})
	buffer := make([]byte, 100)
	n, err := out.Read(buffer)
	if err != nil || !strings.Contains(string(buffer[:n]), "serving") {
		t.Fatalf("%s, %v", buffer[:n], err)
	}
	if pids := processes(t, w); len(pids) != 2 {
		t.Errorf("processes %v, want two", pids)
	}
	if err := agent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = agent.Wait()
	nettest.Eventually(t, 2*time.Second, "no kube-router is left", func() bool { return len(processes(t, w)) == 0 })
}
