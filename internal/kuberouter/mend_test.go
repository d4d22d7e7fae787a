package kuberouter

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/sdn-tunnel/sdn-tunnel/internal/kerneltest"
	"github.com/sdn-tunnel/sdn-tunnel/internal/nettest"
	"github.com/sdn-tunnel/sdn-tunnel/internal/servicetest"
)

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
	room := newRoom(w.Tunnel, "west")
	for _, line := range []string{
		"ip -n %[1]s rule del pref 1330", "ip -n %[1]s rule del pref 1331",
		"nsenter --net=/run/netns/%[1]s nft delete table ip " + tableSteer, "ip -n %[1]s link del " + room.link,
		"ip netns del %[1]s.west",
	} {
		nettest.Sh(t, line, servicetest.Name(w.Tunnel))
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
