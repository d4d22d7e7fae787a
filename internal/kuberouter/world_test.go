package kuberouter

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sdn-tunnel/sdn-tunnel/internal/mesh"
	"github.com/sdn-tunnel/sdn-tunnel/internal/nettest"
	"github.com/sdn-tunnel/sdn-tunnel/internal/remoteservice"
	"github.com/sdn-tunnel/sdn-tunnel/internal/tunnelns"
)

// newNamespace is a network namespace that goes with the test.
func newNamespace(t testing.TB, suffix string) tunnelns.Namespace {
	t.Helper()
	return tunnelns.At(nettest.Namespace(t, fmt.Sprintf("sdnkr-%d%s", os.Getpid(), suffix)))
}

func base(n tunnelns.Namespace) string { return filepath.Base(n.Path()) }

// world is a client's pod, the tunnel namespace of its node, and two remote clusters:
//
//	client 10.128.0.5, .6 -- sdntun0 [tunnel] wg0 -- 10.132.0.1, .2 … west, 10.136.0.1 … north
type world struct {
	nettest.Client         // from client
	client, tunnel, remote tunnelns.Namespace
	program                string
	part                   *Part
	applying               sync.Mutex
	stop                   func() // ends the part's process
}

const (
	clientIP, otherIP = "10.128.0.5", "10.128.0.6"
	vip, emptyVIP     = "172.31.4.5", "172.31.4.9"
	northVIP          = "172.29.4.5"
)

func newWorld(t testing.TB, program string) *world {
	t.Helper()
	w := &world{client: newNamespace(t, "c"), tunnel: newNamespace(t, "t"), remote: newNamespace(t, "r"), program: program, stop: func() {}}
	w.Client = nettest.Client{From: w.client, Wait: 10 * time.Second}
	w.build(t)
	t.Cleanup(func() { w.end(t) })
	return w
}

// build joins the namespaces.
func (w *world) build(t testing.TB) {
	t.Helper()
	c, n, r := base(w.client), base(w.tunnel), base(w.remote)
	nettest.Sh(t, `set -e
		ip -n %[1]s link add eth0 type veth peer name sdntun0 netns %[2]s
		ip -n %[2]s link add wg0 type veth peer name eth0 netns %[3]s
		ip -n %[1]s addr add 10.128.0.5/24 dev eth0; ip -n %[1]s addr add 10.128.0.6/24 dev eth0
		ip -n %[2]s addr add 10.128.0.1/24 dev sdntun0; ip -n %[2]s addr add 192.0.2.1/24 dev wg0
		ip -n %[2]s addr add 100.127.0.9/32 dev lo
		ip -n %[3]s addr add 192.0.2.2/24 dev eth0
		for i in 1 2 3 4; do ip -n %[3]s addr add 10.132.0.$i/32 dev eth0; ip -n %[3]s addr add 10.136.0.$i/32 dev eth0; done
		ip -n %[1]s link set eth0 up; ip -n %[2]s link set sdntun0 up; ip -n %[2]s link set wg0 up; ip -n %[3]s link set eth0 up
		ip -n %[1]s route add default via 10.128.0.1; ip -n %[3]s route add default via 192.0.2.1
		ip -n %[2]s route add 10.132.0.0/14 via 192.0.2.2; ip -n %[2]s route add 10.136.0.0/14 via 192.0.2.2
		nsenter --net=/run/netns/%[2]s sh -c 'echo 1 > /proc/sys/net/ipv4/ip_forward'`, c, n, r)
}

// start begins a new process of the agent, which applies whenever it is notified.
func (w *world) start(t testing.TB) {
	t.Helper()
	p, err := New(Config{Namespace: w.tunnel, Program: w.program, Log: slog.New(slog.NewTextHandler(testLog{t}, nil))})
	if err != nil {
		t.Fatal(err)
	}
	w.part = p
	ctx, cancel := context.WithCancel(context.Background())
	notified, ended := make(chan struct{}, 1), make(chan error, 2)
	go func() { ended <- p.Watch(ctx, func() { wake(notified) }) }()
	go func() {
		for {
			select {
			case <-ctx.Done():
				ended <- nil
				return
			case <-notified:
				w.applying.Lock()
				if _, err := p.Apply(ctx, dataPlane()); err != nil && ctx.Err() == nil {
					t.Logf("Apply after a notification: %v", err)
				}
				w.applying.Unlock()
			}
		}
	}()
	w.stop = func() {
		cancel()
		if err := errors.Join(<-ended, <-ended); err != nil {
			t.Error(err)
		}
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
	room := newRoom(w.tunnel, "west")
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

// mirror is a service of west, or of another member that is named as "member/service": TCP
// and UDP port 80, at port 8080 of the pods.
func mirror(service, address string, affinity int, endpoints ...string) *discoveryv1.EndpointSlice {
	member, name, other := strings.Cut(service, "/")
	if !other {
		member, name = "west", service
	}
	o := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{Name: member + "-" + name + "-1",
			Labels: remoteservice.Identity{Cluster: member, Namespace: "shop", Name: name}.Labels("derived"),
			Annotations: map[string]string{remoteservice.Annotation: fmt.Sprintf(
				`{"ips":[%q],"ports":[{"name":"tcp","protocol":"TCP","port":80},{"name":"udp","protocol":"UDP","port":80}],"affinity":%d}`, address, affinity)}},
		AddressType: discoveryv1.AddressTypeIPv4,
	}
	for _, protocol := range []corev1.Protocol{corev1.ProtocolTCP, corev1.ProtocolUDP} {
		o.Ports = append(o.Ports, discoveryv1.EndpointPort{Name: new(strings.ToLower(string(protocol))), Protocol: &protocol, Port: new(int32(8080))})
	}
	for _, e := range endpoints {
		address, draining := strings.CutSuffix(e, " terminating")
		o.Endpoints = append(o.Endpoints, discoveryv1.Endpoint{Addresses: []string{address},
			Conditions: discoveryv1.EndpointConditions{Ready: new(!draining), Serving: new(true), Terminating: new(draining)}})
	}
	return o
}
