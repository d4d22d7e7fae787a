package svcproxy

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
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
	n := tunnelns.At(fmt.Sprintf("/run/netns/sdnsvc-%d%s", os.Getpid(), suffix))
	sh(t, "ip netns add %s && ip -n %[1]s link set lo up", name(n))
	t.Cleanup(func() { sh(t, "ip netns del %s", name(n)) })
	return n
}

func name(n tunnelns.Namespace) string { return filepath.Base(n.Path()) }

// nft runs nft(8) in the namespace.
func nft(t testing.TB, n tunnelns.Namespace, script string) string {
	t.Helper()
	cmd := exec.Command("nsenter", "--net="+n.Path(), "nft", "-f", "-")
	cmd.Stdin = strings.NewReader(script)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("nft: %s: %v\n%s", script, err, out)
	}
	return string(out)
}

// world is a client's pod, the tunnel namespace of its node, and a remote cluster:
//
//	client 10.128.0.5, .6 -- sdntun0 [tunnel] wg0 -- 10.132.0.1, .2 … remote
type world struct {
	client, tunnel, remote tunnelns.Namespace
	part                   *Part
}

const (
	clientIP, otherIP = "10.128.0.5", "10.128.0.6"
	vip, emptyVIP     = "172.31.4.5", "172.31.4.9"
)

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{newNamespace(t, "c"), newNamespace(t, "t"), newNamespace(t, "r"), nil}
	c, n, r := name(w.client), name(w.tunnel), name(w.remote)
	sh(t, `set -e
		ip -n %[1]s link add eth0 type veth peer name sdntun0 netns %[2]s
		ip -n %[2]s link add wg0 type veth peer name eth0 netns %[3]s
		ip -n %[1]s addr add 10.128.0.5/24 dev eth0; ip -n %[1]s addr add 10.128.0.6/24 dev eth0
		ip -n %[2]s addr add 10.128.0.1/24 dev sdntun0; ip -n %[2]s addr add 10.132.0.254/24 dev wg0
		for i in 1 2 3 4; do ip -n %[3]s addr add 10.132.0.$i/24 dev eth0; done
		ip -n %[1]s link set eth0 up; ip -n %[2]s link set sdntun0 up; ip -n %[2]s link set wg0 up; ip -n %[3]s link set eth0 up
		ip -n %[1]s route add default via 10.128.0.1; ip -n %[3]s route add default via 10.132.0.254
		nsenter --net=/run/netns/%[2]s sh -c 'echo 1 > /proc/sys/net/ipv4/ip_forward'`, c, n, r)
	w.part = w.process(t)
	return w
}

// process is an agent's process that has just been started.
func (w *world) process(t testing.TB) *Part {
	t.Helper()
	p, err := New(Config{Namespace: w.tunnel})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func plan() mesh.DataPlane {
	pods, services := netip.MustParsePrefix("10.132.0.0/14"), netip.MustParsePrefix("172.31.0.0/16")
	return mesh.DataPlane{
		RemoteService:  []netip.Prefix{services},
		RemoteClusters: []mesh.RemoteCluster{{Name: "west", Pods: []netip.Prefix{pods}, Services: []netip.Prefix{services}}},
	}
}

func apply(t testing.TB, p *Part) []string {
	t.Helper()
	changes, err := p.Apply(t.Context(), plan())
	if err != nil {
		t.Fatal(err)
	}
	return changes
}

// watch lets the part watch, as the agent's loop does: whatever notifies applies, again if
// it fails.
func (w *world) watch(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	notified, ended := make(chan struct{}, 1), make(chan error, 2)
	notify := func() {
		select {
		case notified <- struct{}{}:
		default:
		}
	}
	go func() { ended <- w.part.Watch(ctx, notify) }()
	go func() {
		for {
			select {
			case <-ctx.Done():
				ended <- nil
				return
			case <-notified:
				if _, err := w.part.Apply(ctx, plan()); err != nil && ctx.Err() == nil {
					t.Logf("Apply after a notification: %v", err)
					time.AfterFunc(50*time.Millisecond, notify)
				}
			}
		}
	}()
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-ended, <-ended); err != nil {
			t.Error(err)
		}
	})
}

// mirror is a service of west: TCP and UDP port 80, at port 8080 of the pods.
func mirror(service, address string, affinity int, endpoints ...string) *discoveryv1.EndpointSlice {
	o := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{Name: service + "-1",
			Labels: remoteservice.Identity{Cluster: "west", Namespace: "shop", Name: service}.Labels("derived"),
			Annotations: map[string]string{remoteservice.Annotation: fmt.Sprintf(
				`{"ips":[%q],"ports":[{"name":"tcp","protocol":"TCP","port":80},{"name":"udp","protocol":"UDP","port":80},{"name":"sctp","protocol":"SCTP","port":80}],"affinity":%d}`, address, affinity)}},
		AddressType: discoveryv1.AddressTypeIPv4,
	}
	for name, protocol := range map[string]corev1.Protocol{"tcp": corev1.ProtocolTCP, "udp": corev1.ProtocolUDP, "sctp": corev1.ProtocolSCTP} {
		port := int32(8080)
		o.Ports = append(o.Ports, discoveryv1.EndpointPort{Name: &name, Protocol: &protocol, Port: &port})
	}
	for _, e := range endpoints {
		address, draining := strings.CutSuffix(e, " terminating")
		ready := !draining
		yes := true
		o.Endpoints = append(o.Endpoints, discoveryv1.Endpoint{Addresses: []string{address},
			Conditions: discoveryv1.EndpointConditions{Ready: &ready, Serving: &yes, Terminating: &draining}})
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
	b := make([]byte, 100)
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
	d := net.Dialer{Timeout: 5 * time.Second, LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
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
func (c *conn) ask() (server, client string, err error) {
	if err := c.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
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
