package kuberouter

import (
	"context"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/sdn-tunnel/sdn-tunnel/internal/mesh"
	"github.com/sdn-tunnel/sdn-tunnel/internal/nettest"
	"github.com/sdn-tunnel/sdn-tunnel/internal/servicetest"
)

// world is servicetest's, with the part in its tunnel namespace.
type world struct {
	servicetest.World
	program  string
	part     *Part
	applying sync.Mutex
	stop     func() // ends the part's process
}

const (
	clientIP, otherIP = servicetest.ClientIP, servicetest.OtherIP
	vip, emptyVIP     = servicetest.VIP, servicetest.EmptyVIP
	northVIP          = servicetest.NorthVIP
)

var networks = servicetest.Networks

func newWorld(t testing.TB, program string) *world {
	t.Helper()
	w := &world{World: servicetest.NewWorld(t, "sdnkr", 10*time.Second), program: program, stop: func() {}}
	t.Cleanup(func() { w.end(t) })
	return w
}

// start begins a new process of the agent, which applies whenever it is notified.
func (w *world) start(t testing.TB) {
	t.Helper()
	p, err := New(Config{Namespace: w.Tunnel, Program: w.program, Log: slog.New(slog.NewTextHandler(testLog{t}, nil))})
	if err != nil {
		t.Fatal(err)
	}
	w.part = p
	end := servicetest.Loop(t, p.Watch, func(ctx context.Context) error {
		w.applying.Lock()
		defer w.applying.Unlock()
		_, err := p.Apply(ctx, dataPlane())
		return err
	})
	w.stop = func() {
		end()
		w.stop = func() {}
	}
	w.apply(t)
}

// testLog writes to the test's log.
type testLog struct{ t testing.TB }

func (l testLog) Write(b []byte) (int, error) {
	l.t.Log(strings.TrimSpace(string(b)))
	return len(b), nil
}

func (w *world) apply(t testing.TB) []string {
	t.Helper()
	w.applying.Lock()
	defer w.applying.Unlock()
	changes, err := w.part.Apply(t.Context(), dataPlane())
	if err != nil {
		t.Fatal(err)
	}
	return changes
}

// end stops the process and takes everything of the part away.
func (w *world) end(t testing.TB) {
	w.stop()
	if w.part == nil {
		return
	}
	if err := w.part.Remove(context.Background()); err != nil {
		t.Error(err)
	}
	w.part = nil
}

// serving waits until everything that is known is served, and tells how long that took.
func (w *world) serving(t testing.TB) time.Duration {
	t.Helper()
	began := time.Now()
	for ; ; time.Sleep(20 * time.Millisecond) {
		all := w.part.Status()
		good := len(all) == 2
		for _, s := range all {
			good = good && s.Serving && s.Behind == 0 && s.Running
		}
		if good {
			return time.Since(began)
		}
		if time.Since(began) > 2*time.Minute {
			t.Fatalf("not served: %+v", all)
		}
	}
}

// inIPVS waits until IPVS has what west's view wants, and tells how long that took.
func (w *world) inIPVS(t testing.TB) time.Duration {
	t.Helper()
	view, _ := w.part.view("west")
	want, _ := view.wanted()
	room := newRoom(w.Tunnel, "west")
	return nettest.Eventually(t, 5*time.Minute, "IPVS has what west wants", func() bool {
		have, err := readIPVS(room.namespace)
		if err != nil {
			t.Fatal(err)
		}
		return have.equals(want)
	})
}

func dataPlane() mesh.DataPlane {
	prefix := netip.MustParsePrefix
	west, north := prefix("172.31.0.0/16"), prefix("172.29.0.0/16")
	return mesh.DataPlane{
		Self: mesh.Ref{Cluster: "east", Node: "east-1"}, TunnelAddress: netip.MustParseAddr("100.127.0.9"),
		RemoteService: []netip.Prefix{north, west},
		RemoteClusters: []mesh.RemoteCluster{
			{Name: "north", Pods: []netip.Prefix{prefix("10.136.0.0/14")}, Services: []netip.Prefix{north}},
			{Name: "west", Pods: []netip.Prefix{prefix("10.132.0.0/14")}, Services: []netip.Prefix{west}},
		},
	}
}

// mirror is a service of west, or of another member that is named as "member/service".
func mirror(service, address string, affinity int, endpoints ...string) *discoveryv1.EndpointSlice {
	return servicetest.Mirror([]corev1.Protocol{corev1.ProtocolTCP, corev1.ProtocolUDP}, service, address, affinity, endpoints...)
}
