package svcproxy

import (
	"context"
	"net/netip"
	"os/exec"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/sdn-tunnel/sdn-tunnel/internal/mesh"
	"github.com/sdn-tunnel/sdn-tunnel/internal/servicetest"
	"github.com/sdn-tunnel/sdn-tunnel/internal/tunnelns"
)

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

// world is servicetest's, with the part in its tunnel namespace.
type world struct {
	servicetest.World
	part *Part
}

const (
	clientIP, otherIP = servicetest.ClientIP, servicetest.OtherIP
	vip, emptyVIP     = servicetest.VIP, servicetest.EmptyVIP
)

var networks = servicetest.Networks

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{World: servicetest.NewWorld(t, "sdnsvc", 5*time.Second)}
	w.part = w.process(t)
	return w
}

// process is an agent's process that has just been started.
func (w *world) process(t testing.TB) *Part {
	t.Helper()
	p, err := New(Config{Namespace: w.Tunnel})
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

// watch lets the part watch, and apply what it is notified of.
func (w *world) watch(t testing.TB) {
	t.Helper()
	t.Cleanup(servicetest.Loop(t, w.part.Watch, func(ctx context.Context) error {
		_, err := w.part.Apply(ctx, plan())
		return err
	}))
}

// mirror is a service of west.
func mirror(service, address string, affinity int, endpoints ...string) *discoveryv1.EndpointSlice {
	return servicetest.Mirror([]corev1.Protocol{corev1.ProtocolTCP, corev1.ProtocolUDP, corev1.ProtocolSCTP}, service, address, affinity, endpoints...)
}
