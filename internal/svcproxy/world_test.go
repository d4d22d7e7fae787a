package svcproxy

import (
	"context"
	"errors"
	"fmt"
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
	"github.com/sdn-tunnel/sdn-tunnel/internal/nettest"
	"github.com/sdn-tunnel/sdn-tunnel/internal/remoteservice"
	"github.com/sdn-tunnel/sdn-tunnel/internal/tunnelns"
)

// newNamespace is a network namespace that goes with the test.
func newNamespace(t testing.TB, suffix string) tunnelns.Namespace {
	t.Helper()
	return tunnelns.At(nettest.Namespace(t, fmt.Sprintf("sdnsvc-%d%s", os.Getpid(), suffix)))
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
	nettest.Client         // from client
	client, tunnel, remote tunnelns.Namespace
	part                   *Part
}

const (
	clientIP, otherIP = "10.128.0.5", "10.128.0.6"
	vip, emptyVIP     = "172.31.4.5", "172.31.4.9"
)

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{client: newNamespace(t, "c"), tunnel: newNamespace(t, "t"), remote: newNamespace(t, "r")}
	w.Client = nettest.Client{From: w.client, Wait: 5 * time.Second}
	c, n, r := name(w.client), name(w.tunnel), name(w.remote)
	nettest.Sh(t, `set -e
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
