package kuberouter

import (
	"testing"

	"github.com/sdn-tunnel/sdn-tunnel/internal/kerneltest"
	"github.com/sdn-tunnel/sdn-tunnel/internal/nettest"
	"github.com/sdn-tunnel/sdn-tunnel/internal/servicetest"
)

// TestKernelKubeRouter: upstream's kube-router on the view, in one world, as it takes a
// while to start.
func TestKernelKubeRouter(t *testing.T) {
	kerneltest.Need(t, "ip_vs")
	w := newWorld(t, kerneltest.KubeRouter(t))
	nettest.Serve(t, w.Remote, "10.132.0.1", "10.132.0.2", "10.132.0.3", "10.136.0.1", "10.136.0.2")
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
	t.Log(nettest.Sh(t, script, servicetest.Name(w.Tunnel)))
}
