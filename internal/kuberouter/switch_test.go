package kuberouter

import (
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/sdn-tunnel/sdn-tunnel/internal/nettest"
	"github.com/sdn-tunnel/sdn-tunnel/internal/servicetest"
	"github.com/sdn-tunnel/sdn-tunnel/internal/svcproxy"
)

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
	builtIn, err := svcproxy.New(svcproxy.Config{Namespace: w.Tunnel})
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
	if found, err := filepath.Glob(w.Tunnel.Path() + ".*"); err != nil || len(found) > 0 {
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
		if text := strings.TrimSpace(nettest.Sh(t, command, servicetest.Name(w.Tunnel))); text != "" {
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
