package kuberouter

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/sdn-tunnel/sdn-tunnel/internal/mesh"
	"github.com/sdn-tunnel/sdn-tunnel/internal/remoteservice"
)

// told are Services that know the members of dataPlane and some mirrors.
func told(mirrors ...*discoveryv1.EndpointSlice) *Services {
	s := newServices()
	s.declare(dataPlane().RemoteClusters)
	s.Replace(mirrors)
	return s
}

// shown are a member's objects in the view.
func shown(t *testing.T, s *Services, member string) (services []*corev1.Service, all []*discoveryv1.EndpointSlice) {
	t.Helper()
	v, ok := s.view(member)
	if !ok {
		t.Fatalf("no view of %s", member)
	}
	objects, _ := v.list(resServices)
	for _, o := range objects {
		services = append(services, o.(*corev1.Service))
	}
	objects, _ = v.list(resSlices)
	for _, o := range objects {
		all = append(all, o.(*discoveryv1.EndpointSlice))
	}
	return services, all
}

// TestViewFilters: what makes kube-router end or do what it should not is in no view,
// whatever the mirrors say; and what it takes for given is.
func TestViewFilters(t *testing.T) {
	web := mirror("web", vip, 30, "10.132.0.1", "10.132.0.2 terminating")
	web.Annotations["kube-router.io/service.dsr"] = "tunnel"
	web.Annotations["kube-router.io/service.hairpin"] = ""
	node := "east-1"
	web.Endpoints[0].NodeName = &node
	nameless := mirror("nameless", "172.31.4.6", 0, "10.132.0.1")
	nameless.Annotations[remoteservice.Annotation] = `{"ips":["172.31.4.6"],"ports":[{"protocol":"TCP","port":80}]}`
	nameless.Ports = []discoveryv1.EndpointPort{{Port: new(int32(8080))}}
	all := mirror("all", "172.31.4.7", 0, "10.132.0.1")
	all.Ports = []discoveryv1.EndpointPort{{Name: new("tcp")}, {Name: new("udp")}} // no number: all ports
	services, endpoints := shown(t, told(web, nameless, all), "west")
	if len(services) != 3 {
		t.Fatalf("%d services, want 3", len(services))
	}
	for _, s := range services {
		if s.Spec.InternalTrafficPolicy == nil || s.Spec.ClusterIP == "" || len(s.Spec.ClusterIPs) != 1 {
			t.Errorf("%s lacks what kube-router dereferences: %+v", s.Name, s.Spec)
		}
		if len(s.Annotations)+len(s.Labels)+len(s.Spec.ExternalIPs)+len(s.Status.LoadBalancer.Ingress) > 0 || s.Spec.HealthCheckNodePort != 0 {
			t.Errorf("%s says more than it should: %+v", s.Name, s)
		}
		affine := strings.HasPrefix(s.Name, "web")
		if affine != (s.Spec.SessionAffinity == corev1.ServiceAffinityClientIP) || affine && *s.Spec.SessionAffinityConfig.ClientIP.TimeoutSeconds != 30 {
			t.Errorf("%s: affinity %+v", s.Name, s.Spec)
		}
		for _, p := range s.Spec.Ports {
			if p.NodePort != 0 || p.Name == "" {
				t.Errorf("%s: port %+v", s.Name, p)
			}
		}
	}
	if len(endpoints) != 3 { // two of web, one of nameless
		t.Errorf("%d slices, want 3", len(endpoints))
	}
	for _, e := range endpoints {
		for _, p := range e.Ports {
			if p.Name == nil || p.Port == nil || p.Protocol == nil {
				t.Errorf("%s: port %+v", e.Name, p)
			}
		}
		if len(e.Endpoints) != 1 || e.Endpoints[0].Addresses[0] != "10.132.0.1" || e.Endpoints[0].NodeName != nil {
			t.Errorf("%s: endpoints %+v; want the one that is ready, of no node", e.Name, e.Endpoints)
		}
	}
}

// TestViewKeepsNamesApart: kube-router joins namespace, name and port by dashes, which says
// the same of service c in a-b as of b-c in a.
func TestViewKeepsNamesApart(t *testing.T) {
	one, two := mirror("c", vip, 0, "10.132.0.1"), mirror("b-c", emptyVIP, 0, "10.132.0.2")
	one.Labels[remoteservice.LabelNamespace], two.Labels[remoteservice.LabelNamespace] = "a-b", "a"
	services, endpoints := shown(t, told(one, two), "west")
	keys := map[string]bool{}
	for _, s := range services {
		for _, p := range s.Spec.Ports {
			keys[s.Namespace+"-"+s.Name+"-"+p.Name] = true
		}
	}
	if len(keys) != 4 {
		t.Errorf("keys %v, want four", keys)
	}
	for _, e := range endpoints {
		if k := e.Namespace + "-" + e.Labels[discoveryv1.LabelServiceName] + "-" + *e.Ports[0].Name; !keys[k] {
			t.Errorf("slice %s is of no port of a service: %s", e.Name, k)
		}
	}
}

// TestViewIsTheMembers: each member's view has its own services only; what a member may not
// say is in none, and what kube-router cannot do is refused.
func TestViewIsTheMembers(t *testing.T) {
	sctp := mirror("sctp", "172.31.4.6", 0, "10.132.0.1")
	sctp.Annotations[remoteservice.Annotation] = `{"ips":["172.31.4.6"],"ports":[{"name":"x","protocol":"SCTP","port":80}]}`
	s := told(mirror("web", vip, 0, "10.132.0.1"), mirror("north/web", northVIP, 0, "10.136.0.1"),
		mirror("north/thief", "172.31.9.9", 0, "10.136.0.1"), mirror("north/far", "172.29.9.9", 0, "10.132.0.9"), sctp)
	for member, want := range map[string]string{"west": "web-" + vip, "north": "far-172.29.9.9 web-" + northVIP} {
		services, _ := shown(t, s, member)
		var names []string
		for _, o := range services {
			names = append(names, o.Name)
		}
		if got := strings.Join(names, " "); got != want {
			t.Errorf("%s: %s, want %s", member, got, want)
		}
	}
	stats := s.stats()
	if stats.Services != 3 || stats.Endpoints != 4 || len(stats.Refused) != 3 {
		t.Errorf("%+v", stats)
	}
	if !slices.ContainsFunc(stats.Refused, func(r mesh.Refusal) bool { return r.Reason == mesh.Unsupported && strings.Contains(r.Detail, "SCTP") }) {
		t.Errorf("SCTP is not refused: %v", stats.Refused)
	}
}

// TestViewFollows: each change is one of the objects that it concerns, in an order that
// leads a watch from one list to the next.
func TestViewFollows(t *testing.T) {
	s := told(mirror("web", vip, 0, "10.132.0.1"), mirror("other", emptyVIP, 0, "10.132.0.1"))
	v, _ := s.view("west")
	_, version := v.list(resServices)
	expect := func(what, want string) {
		t.Helper()
		var got []string
		for _, resource := range []string{resServices, resSlices} {
			some, _, _, ok := v.since(resource, version)
			if !ok {
				t.Fatalf("%s: version %d is not remembered", what, version)
			}
			for _, c := range some {
				got = append(got, c.kind+" "+c.object.GetName())
			}
		}
		_, version = v.list(resServices)
		if strings.Join(got, ", ") != want {
			t.Errorf("%s: %s, want %s", what, strings.Join(got, ", "), want)
		}
	}
	s.Set(mirror("web", vip, 0, "10.132.0.1"))
	expect("nothing new", "")
	s.Set(mirror("web", vip, 0, "10.132.0.1", "10.132.0.2 terminating"))
	expect("an endpoint that terminates", "")
	_, more := v.wanted()
	s.Set(mirror("web", vip, 0, "10.132.0.1"))
	expect("it is gone", "")
	select {
	case <-more:
	default:
		t.Error("nobody is told that an endpoint is gone that terminated")
	}
	s.Set(mirror("web", vip, 0, "10.132.0.1", "10.132.0.2"))
	expect("an endpoint more", "MODIFIED web-tcp-80-172.31.4.5-8080, MODIFIED web-udp-80-172.31.4.5-8080")
	s.Set(mirror("web", vip, 60, "10.132.0.1", "10.132.0.2"))
	expect("affinity", "MODIFIED web-172.31.4.5")
	s.Set(mirror("web", vip, 60))
	expect("no endpoints", "DELETED web-tcp-80-172.31.4.5-8080, DELETED web-udp-80-172.31.4.5-8080")
	s.Delete("west-web-1")
	expect("gone", "DELETED web-172.31.4.5")
	s.Set(mirror("web", "172.31.4.6", 0, "10.132.0.1"))
	expect("again, elsewhere", "ADDED web-172.31.4.6, ADDED web-tcp-80-172.31.4.6-8080, ADDED web-udp-80-172.31.4.6-8080")
	for range remembered {
		s.Set(mirror("web", "172.31.4.6", 1, "10.132.0.1"))
		s.Set(mirror("web", "172.31.4.6", 2, "10.132.0.1"))
		s.Set(mirror("web", "172.31.4.6", 3, "10.132.0.1"))
	}
	if _, _, _, ok := v.since(resServices, 2); ok {
		t.Error("everything is remembered for ever")
	}
	if _, _, _, ok := v.since(resServices, 1<<40); ok {
		t.Error("a version of the future is known")
	}
	want, _ := v.wanted()
	if len(want) != 4 || len(want[remoteservice.Key{Addr: netip.MustParseAddr("172.31.4.6"), Protocol: "TCP", Port: 80}].Use) != 1 {
		t.Errorf("wanted: %v", want)
	}
}

// TestNoViewBeforeAllIsTold: an empty view would have kube-router take everything down.
func TestNoViewBeforeAllIsTold(t *testing.T) {
	s := newServices()
	s.declare(dataPlane().RemoteClusters)
	s.Set(mirror("web", vip, 0, "10.132.0.1"))
	if _, ok := s.view("west"); ok {
		t.Error("a view before all is told")
	}
	s.Replace(nil)
	if _, ok := s.view("west"); !ok {
		t.Error("no view")
	}
	s.declare(nil)
	if _, ok := s.view("west"); ok {
		t.Error("a view of a member that is gone")
	}
}
