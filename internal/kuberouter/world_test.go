package kuberouter

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sdn-tunnel/sdn-tunnel/internal/mesh"
	"github.com/sdn-tunnel/sdn-tunnel/internal/remoteservice"
	"github.com/sdn-tunnel/sdn-tunnel/internal/tunnelns"
)

func sh(t testing.TB, format string, args ...any) string {
	t.Helper()
	out, err := exec.Command("sh", "-c", fmt.Sprintf(format, args...)).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", fmt.Sprintf(format, args...), err, out)
	}
	return string(out)
}

// newNamespace is a network namespace that goes with the test.
func newNamespace(t testing.TB, suffix string) tunnelns.Namespace {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: makes network namespaces")
	}
	n := tunnelns.At(fmt.Sprintf("/run/netns/sdnkr-%d%s", os.Getpid(), suffix))
	sh(t, "ip netns add %s && ip -n %[1]s link set lo up", base(n))
	t.Cleanup(func() { sh(t, "ip netns del %s", base(n)) })
	return n
}

func base(n tunnelns.Namespace) string { return filepath.Base(n.Path()) }

// world is a client's pod, the tunnel namespace of its node, and two remote clusters:
//
//	client 10.128.0.5, .6 -- sdntun0 [tunnel] wg0 -- 10.132.0.1, .2 … west, 10.136.0.1 … north
type world struct {
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
	w.build(t)
	t.Cleanup(func() { w.end(t) })
	return w
}

// build joins the namespaces.
func (w *world) build(t testing.TB) {
	t.Helper()
	c, n, r := base(w.client), base(w.tunnel), base(w.remote)
	sh(t, `set -e
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
	return eventually(t, 5*time.Minute, "IPVS has what west wants", func() bool {
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

// serve answers on TCP and UDP port 8080 of the remote addresses: each line or datagram
// by who answers and who is seen to ask.
func (w *world) serve(t testing.TB, addresses ...string) {
	t.Helper()
	err := w.remote.Do(func() error {
		for _, a := range addresses {
			l, err := net.Listen("tcp4", a+":8080")
			if err != nil {
				return err
			}
			u, err := net.ListenPacket("udp4", a+":8080")
			if err != nil {
				return err
			}
			t.Cleanup(func() { l.Close(); u.Close() })
			go serveTCP(l, a)
			go serveUDP(u, a)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func serveTCP(l net.Listener, a string) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			for lines := bufio.NewScanner(c); lines.Scan(); {
				host, _, _ := net.SplitHostPort(c.RemoteAddr().String())
				fmt.Fprintf(c, "%s %s\n", a, host)
			}
		}()
	}
}

func serveUDP(u net.PacketConn, a string) {
	b := make([]byte, 2000)
	for {
		_, from, err := u.ReadFrom(b)
		if err != nil {
			return
		}
		host, _, _ := net.SplitHostPort(from.String())
		_, _ = u.WriteTo([]byte(a+" "+host+"\n"), from)
	}
}

// conn is a client's connection.
type conn struct {
	net.Conn
	in *bufio.Reader
}

// dial connects from an address of the client to port 80, or that given.
func (w *world) dial(network, from, to string) (*conn, error) {
	if !strings.Contains(to, ":") {
		to += ":80"
	}
	d := net.Dialer{Timeout: 10 * time.Second, LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	if network == "udp4" {
		d.LocalAddr = &net.UDPAddr{IP: net.ParseIP(from)}
	}
	var c net.Conn
	err := w.client.Do(func() (err error) {
		c, err = d.Dial(network, to)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &conn{c, bufio.NewReader(c)}, nil
}

// ask sends a line and gives who answered and who was seen to ask.
func (c *conn) ask() (server, client string, err error) { return c.askWithin(5 * time.Second) }

func (c *conn) askWithin(wait time.Duration) (server, client string, err error) {
	if err := c.SetDeadline(time.Now().Add(wait)); err != nil {
		return "", "", err
	}
	if _, err := io.WriteString(c, "who\n"); err != nil {
		return "", "", err
	}
	line, err := c.in.ReadString('\n')
	if err != nil {
		return "", "", err
	}
	server, client, _ = strings.Cut(strings.TrimSpace(line), " ")
	return server, client, nil
}

// once connects, asks once, and tells who answered.
func (w *world) once(t testing.TB, network, from, to string) string {
	t.Helper()
	c, err := w.dial(network, from, to)
	if err != nil {
		t.Fatalf("%s from %s to %s: %v", network, from, to, err)
	}
	defer c.Close()
	server, client, err := c.ask()
	if err != nil {
		t.Fatalf("%s from %s to %s: %v", network, from, to, err)
	}
	if client != from {
		t.Errorf("%s from %s to %s: the server saw %s", network, from, to, client)
	}
	return server
}

// eventually waits until ok, at most for the time given.
func eventually(t testing.TB, within time.Duration, what string, ok func() bool) time.Duration {
	t.Helper()
	for began := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		if ok() {
			return time.Since(began)
		}
		if time.Since(began) > within {
			t.Fatalf("%s: not within %s", what, within)
		}
	}
}
