package agent

import (
	"context"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sdn-tunnel/sdn-tunnel/internal/apitest"
	"github.com/sdn-tunnel/sdn-tunnel/internal/mesh"
	"github.com/sdn-tunnel/sdn-tunnel/internal/remoteservice"
	"github.com/sdn-tunnel/sdn-tunnel/internal/rights"
)

// fakeServices remembers which slices there are, with the number of their endpoints.
type fakeServices struct {
	mu     sync.Mutex
	synced bool
	slices map[string]int
}

func (f *fakeServices) Replace(all []*discoveryv1.EndpointSlice) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.synced, f.slices = true, map[string]int{}
	for _, o := range all {
		f.slices[o.Name] = len(o.Endpoints)
	}
}

func (f *fakeServices) Set(o *discoveryv1.EndpointSlice) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.slices[o.Name] = len(o.Endpoints)
}

func (f *fakeServices) Delete(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.slices, name)
}

func (f *fakeServices) are(want map[string]int) func() bool {
	return func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.synced && maps.Equal(f.slices, want)
	}
}

func mirrored(namespace, name string, endpoints ...string) *discoveryv1.EndpointSlice {
	o := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name,
			Labels: remoteservice.Identity{Cluster: "west", Namespace: "shop", Name: name}.Labels("derived")},
		AddressType: discoveryv1.AddressTypeIPv4,
	}
	for _, e := range endpoints {
		o.Endpoints = append(o.Endpoints, discoveryv1.Endpoint{Addresses: []string{e}})
	}
	return o
}

// TestMirrorsWithAPI: with the documented rights, the mirrors of the namespace are told,
// and nothing else; an outage tells nothing, and after it what has changed meanwhile is.
func TestMirrorsWithAPI(t *testing.T) {
	const namespace = "sdn-tunnel"
	s, ctx := apitest.Start(t, "testdata/hostsubnets.yaml"), t.Context()
	admin := s.Client(t, corev1.AddToScheme, rbacv1.AddToScheme, discoveryv1.AddToScheme)
	documented, err := rights.Documented("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	nodeService := mirrored(namespace, "node-service", "192.0.2.1")
	nodeService.Labels = nil
	s.Namespaces(t, namespace)
	objects := append(documented.Objects("agent", namespace), mirrored(namespace, "web", "10.132.0.1"), mirrored("default", "elsewhere", "10.132.0.1"), nodeService)
	for _, o := range objects {
		if err := admin.Create(ctx, o); err != nil {
			t.Fatalf("create %s: %v", o.GetName(), err)
		}
	}
	c, err := NewCluster(s.User(t, "agent"), east1, 5555, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	services := &fakeServices{}
	c.Tell(namespace, services)
	running, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- c.Run(running, func() {}) }()

	eventually(t, "the mirror is told", services.are(map[string]int{"web": 1}))
	web := mirrored(namespace, "web", "10.132.0.1", "10.132.0.2")
	if err := admin.Update(ctx, web); err != nil {
		t.Fatal(err)
	}
	if err := admin.Create(ctx, mirrored(namespace, "api")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "changes are told", services.are(map[string]int{"web": 2, "api": 0}))
	if err := admin.Delete(ctx, mirrored(namespace, "api")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a deletion is told", services.are(map[string]int{"web": 2}))

	s.StopAPI()
	eventually(t, "the outage is noticed", func() bool { return !c.Connected() })
	if !services.are(map[string]int{"web": 2})() {
		t.Errorf("the outage told %v", services.slices)
	}
	s.StartAPI(t)
	if err := admin.Delete(ctx, web); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it follows again after the outage", services.are(map[string]int{}))
	stop()
	if err := <-done; err != nil {
		t.Errorf("ended with %v", err)
	}
}

// planPart is a Part that shows the last plan.
type planPart struct {
	fakePart
	plans chan mesh.DataPlane
}

func (p *planPart) Apply(_ context.Context, dp mesh.DataPlane) ([]string, error) {
	p.plans <- dp
	return nil, nil
}

// TestNoServices: a node without a proxy leads nothing to remote services; but the plan
// that it saves has them, for an agent that starts with a proxy while the API is away.
func TestNoServices(t *testing.T) {
	dir := t.TempDir()
	for _, tt := range []struct {
		without bool
		want    []netip.Prefix
	}{{true, nil}, {false, []netip.Prefix{netip.MustParsePrefix("172.31.0.0/16")}}} {
		for _, api := range []*fakeObserver{{view: viewOf(1), ok: true}, {}} {
			part := &planPart{plans: make(chan mesh.DataPlane, 10)}
			l := &Loop{Self: east1, Observer: api, Parts: []Part{part}, PlanPath: planPath(dir), NoServices: tt.without,
				Timing: quick, Log: slog.New(slog.DiscardHandler)}
			ctx, stop := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() { done <- l.Run(ctx) }()
			select {
			case dp := <-part.plans:
				if !slices.Equal(dp.RemoteService, tt.want) || len(dp.Remote) != 1 {
					t.Errorf("without services %v, API %v: %v", tt.without, api.ok, dp.RemoteService)
				}
			case <-time.After(5 * time.Second):
				t.Errorf("without services %v, API %v: no plan", tt.without, api.ok)
			}
			stop()
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	}
}

// TestServiceProxies: which parts there are, and what is refused.
func TestServiceProxies(t *testing.T) {
	for _, tt := range []struct {
		proxy    ServiceProxy
		services bool
	}{{ProxyNFTables, true}, {ProxyKubeRouter, true}, {ProxyNone, false}} {
		var plane DataPlane
		part, err := proxy(Options{Services: tt.proxy}, &plane)
		if err != nil || part.Name() != "services" || (plane.Services != nil) != tt.services || (plane.Gauges.Services != nil) != tt.services {
			t.Errorf("%s: %v, %+v, %v", tt.proxy, part, plane, err)
		}
	}
	if _, err := proxy(Options{Services: "iptables"}, &DataPlane{}); err == nil || !strings.Contains(err.Error(), "nftables, kube-router or none") {
		t.Errorf("iptables: %v", err)
	}
}
