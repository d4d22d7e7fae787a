package agent

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sdn-tunnel/sdn-tunnel/internal/kuberouter"
	"github.com/sdn-tunnel/sdn-tunnel/internal/mesh"
)

// TestSuccessor: what served before is taken away when the new part serves, and not before;
// cleanup takes both away.
func TestSuccessor(t *testing.T) {
	var removed []string
	now, before := newFake("now"), newFake("before")
	now.removed, before.removed = &removed, &removed
	serving := false
	s := &successor{Part: now, serving: func() bool { return serving }, before: before}
	apply := func(what string, want int) {
		t.Helper()
		_, err := s.Apply(t.Context(), mesh.DataPlane{})
		if applies, _ := before.counts(); applies != want || !errors.Is(err, now.err) {
			t.Errorf("%s: what was before is taken away %d times, want %d; %v", what, applies, want, err)
		}
	}
	apply("it does not serve yet", 0)
	serving, now.err = true, errors.New("broken")
	apply("it fails", 0)
	now.err = nil
	apply("it serves", 1)
	if err := s.Remove(t.Context()); err != nil || !slices.Equal(removed, []string{"now", "before"}) {
		t.Errorf("removed %v, %v", removed, err)
	}
}

// cleared is a part that has something to take away.
type cleared struct{ Part }

func (cleared) Clear(context.Context) ([]string, error) { return []string{"table deleted"}, nil }

// TestAbsent: the part takes away what the other has left, and never applies that one.
func TestAbsent(t *testing.T) {
	other := newFake("other")
	a := absent{cleared{other}}
	changes, err := a.Apply(t.Context(), mesh.DataPlane{})
	if applies, _ := other.counts(); err != nil || applies != 0 || !slices.Equal(changes, []string{"table deleted"}) {
		t.Errorf("changes %q, %v; the other was applied %d times", changes, err, applies)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := a.Watch(ctx, func() { t.Error("notified") }); err != nil {
		t.Error(err)
	}
}

// TestKubeRouterIsTold: how it fares is in metrics, status and conditions.
func TestKubeRouterIsTold(t *testing.T) {
	o := working(time.Now())
	o.KubeRouters = []kuberouter.Status{
		{Member: "north", Running: true, Serving: true, Services: 1001, Restarts: 2},
		{Member: "west", Behind: 7 * time.Second, Services: 4, Fault: "exit status 1: F no ip_vs"},
	}
	m := newMetrics(func() Observation { return o }, 100)
	_, text := get(t, m.handler(), "/metrics")
	for _, want := range []string{
		`sdntunnel_kube_router_serving{cluster="north"} 1`, `sdntunnel_kube_router_serving{cluster="west"} 0`,
		`sdntunnel_kube_router_restarts_total{cluster="north"} 2`, `sdntunnel_kube_router_behind_seconds{cluster="west"} 7`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("metrics: %s is missing", want)
		}
	}
	var table strings.Builder
	if err := reportOf(east1, mesh.Key{}, o, time.Now()).WriteTable(&table); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"KUBE-ROUTER north  1001 services and ports, in IPVS, restarted 2 times\n",
		"KUBE-ROUTER west   4 services and ports, IPVS behind for 7 s, not running: exit status 1: F no ip_vs\n",
	} {
		if !strings.Contains(table.String(), want) {
			t.Errorf("status: %q is missing in\n%s", want, &table)
		}
	}
	if c := ready(o, ""); c.Status != "True" || !strings.Contains(c.Message, "1001 services and ports of north slowly") {
		t.Errorf("condition: %+v", c)
	}
}

// TestHealthy: the loop's and the data plane's.
func TestHealthy(t *testing.T) {
	hopeless := errors.New("hopeless")
	a := &Agent{loop: &Loop{}, plane: DataPlane{Healthy: func() error { return hopeless }}}
	if err := a.Healthy(); err == nil || errors.Is(err, hopeless) {
		t.Errorf("the loop has not started: %v", err)
	}
	a.loop.beat.Store(time.Now().UnixNano())
	if err := a.Healthy(); !errors.Is(err, hopeless) {
		t.Errorf("got %v", err)
	}
	a.plane.Healthy = nil
	if err := a.Healthy(); err != nil {
		t.Error(err)
	}
}
