package controller_test

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	mcsv1alpha1 "sigs.k8s.io/mcs-api/pkg/apis/v1alpha1"

	"github.com/sdn-tunnel/sdn-tunnel/api/v1alpha1"
	"github.com/sdn-tunnel/sdn-tunnel/internal/nodeservice"
	"github.com/sdn-tunnel/sdn-tunnel/internal/remoteservice"
)

// demo is where the tests' services are.
const demo = "demo"

// service makes a Service with one port and returns its address.
func (m *member) service(ns, name string, change ...func(*corev1.Service)) string {
	m.t.Helper()
	s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name},
		Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Name: "http", Port: 80}}}}
	for _, f := range change {
		f(s)
	}
	m.create(s)
	return s.Spec.ClusterIP
}

// slice makes one of the service's EndpointSlices, as Kubernetes would.
func (m *member) slice(ns, service, name string, endpoints ...discoveryv1.Endpoint) *discoveryv1.EndpointSlice {
	m.t.Helper()
	s := &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Namespace: ns, Name: name, Labels: map[string]string{discoveryv1.LabelServiceName: service}},
		AddressType: discoveryv1.AddressTypeIPv4, Endpoints: endpoints,
		Ports: []discoveryv1.EndpointPort{{Name: new("http"), Port: new(int32(8080))}},
	}
	m.create(s)
	return s
}

func at(address string, ready bool) discoveryv1.Endpoint {
	return discoveryv1.Endpoint{Addresses: []string{address}, NodeName: new("w1"), Zone: new("z"), Hostname: new("pod"),
		TargetRef:  &corev1.ObjectReference{Kind: "Pod", Name: "pod"},
		Conditions: discoveryv1.EndpointConditions{Ready: &ready}}
}

func (m *member) update(o client.Object) {
	m.t.Helper()
	if err := m.Update(m.t.Context(), o); err != nil {
		m.t.Fatalf("%s: update %T %s: %v", m.name, o, o.GetName(), err)
	}
}

func (m *member) delete(o client.Object) {
	m.t.Helper()
	if err := m.Delete(m.t.Context(), o); err != nil {
		m.t.Fatalf("%s: delete %T %s: %v", m.name, o, o.GetName(), err)
	}
}

// mirrors reads all mirrored slices as the agents do.
func (m *member) mirrors() []discoveryv1.EndpointSlice {
	m.t.Helper()
	var list discoveryv1.EndpointSliceList
	if err := m.List(m.t.Context(), &list, client.InNamespace(namespace), client.MatchingLabels{
		discoveryv1.LabelManagedBy: remoteservice.ManagedBy, remoteservice.LabelProxy: remoteservice.ProxyName}); err != nil {
		m.t.Fatal(err)
	}
	return list.Items
}

// shows puts the mirrors of west into words, one a slice: name, address, service ports,
// slice ports, endpoints (- not ready, ~ terminating).
func (m *member) shows() string {
	m.t.Helper()
	var lines []string
	for _, o := range m.mirrors() {
		s, err := remoteservice.Read(&o)
		if err != nil {
			m.t.Errorf("mirror %s cannot be read: %v", o.Name, err)
			continue
		}
		words := []string{s.String(), fmt.Sprint(s.Service.IPs)}
		for _, p := range s.Service.Ports {
			words = append(words, fmt.Sprintf("%s:%d>%d", p.Name, p.Port, s.Ports[p.Name].Port))
		}
		for _, e := range s.Endpoints {
			word := e.Address.String()
			if !e.Ready {
				word = "-" + word
			}
			if e.Terminating {
				word = "~" + word
			}
			words = append(words, word)
		}
		lines = append(lines, strings.Join(words, " "))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

func (m *member) showing(want ...string) func() string {
	slices.Sort(want)
	return func() string {
		if got := m.shows(); got != strings.Join(want, "\n") {
			return fmt.Sprintf("the mirrors are\n%s\nwant\n%s", got, strings.Join(want, "\n"))
		}
		return ""
	}
}

// metric is what the controller measures of a cluster; 0: nothing.
func (m *member) metric(name, cluster string) float64 {
	m.t.Helper()
	r, err := http.Get("http://" + m.probes + "/metrics")
	if err != nil {
		m.t.Fatal(err)
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		m.t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(body), fmt.Sprintf("\n%s{cluster=%q} ", name, cluster))
	text, _, _ := strings.Cut(after, "\n")
	value, _ := strconv.ParseFloat(text, 64)
	return value
}

// TestServices: what becomes in east of the services of west.
func TestServices(t *testing.T) {
	east, west := twoMembers(t)
	west.api.Namespaces(t, demo)
	api := west.service("default", "api") // default/kubernetes is there already, and stays there
	west.service(demo, "headless", func(s *corev1.Service) { s.Spec.ClusterIP = corev1.ClusterIPNone })
	west.service(demo, "elsewhere", func(s *corev1.Service) {
		s.Spec = corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "example.org"}
	})
	west.service(namespace, "sdn-tunnel-west-1")
	west.slice(demo, "headless", "headless-1", at("10.132.0.9", true)) // not mirrored: it is not exported
	east.node("east-1", "192.168.50.11")
	stop := east.run()
	own := &discoveryv1.EndpointSlice{}
	eventually(t, "the slice of a node's service", func() string {
		if err := east.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: nodeservice.Name("east-1")}, own); err != nil {
			return err.Error()
		}
		return ""
	})
	empty := "api.default.west [" + api + "] http:80>0"
	eventually(t, "a service without endpoints has one empty mirror", east.showing(empty))

	web := west.service(demo, "web")
	slice := west.slice(demo, "web", "web-1", at("10.132.0.5", true), at("10.132.2.5", true))
	line := func(endpoints string) string {
		return strings.TrimSpace("web.demo.west [" + web + "] http:80>8080 " + endpoints)
	}
	start := time.Now()
	eventually(t, "appears", east.showing(empty, line("10.132.0.5 10.132.2.5")))
	t.Logf("after %s", time.Since(start).Round(time.Millisecond))
	t.Run("the shape", func(t *testing.T) { shaped(t, east) })

	step := func(what string, change func(), want ...string) {
		t.Run(what, func(t *testing.T) {
			change()
			eventually(t, what, east.showing(append(want, empty)...))
		})
	}
	step("an endpoint that is not ready", func() {
		slice.Endpoints[0].Conditions.Ready = new(false)
		west.update(slice)
	}, line("-10.132.0.5 10.132.2.5"))
	step("an endpoint that terminates", func() {
		slice.Endpoints[0].Conditions = discoveryv1.EndpointConditions{Ready: new(false), Serving: new(true), Terminating: new(true)}
		west.update(slice)
	}, line("~-10.132.0.5 10.132.2.5"))
	step("scaled to zero", func() {
		slice.Endpoints = nil
		west.update(slice)
	}, line(""))
	step("a second slice", func() {
		west.slice(demo, "web", "web-2", at("10.132.4.5", true))
	}, line(""), line("10.132.4.5"))
	step("the second slice goes", func() {
		west.delete(&discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{Namespace: demo, Name: "web-2"}})
	}, line(""))
	step("renamed ports", func() {
		var s corev1.Service
		if err := west.Get(t.Context(), client.ObjectKey{Namespace: demo, Name: "web"}, &s); err != nil {
			t.Fatal(err)
		}
		s.Spec.Ports[0].Name, s.Spec.Ports[0].Port = "web", 8000
		s.Spec.SessionAffinity = corev1.ServiceAffinityClientIP
		west.update(&s)
		slice.Ports[0].Name = new("web")
		slice.Endpoints = []discoveryv1.Endpoint{at("10.132.0.5", true)}
		west.update(slice)
	}, "web.demo.west ["+web+"] web:8000>8080 10.132.0.5")
	web8000 := "web.demo.west [" + web + "] web:8000>8080 10.132.0.5"
	step("a mirror that somebody changes", func() {
		for _, o := range east.mirrors() {
			o.Endpoints = []discoveryv1.Endpoint{at("10.132.9.9", true)}
			east.update(&o)
		}
	}, web8000)
	step("a mirror that loses its labels", func() {
		for _, o := range east.mirrors() {
			o.Labels = nil
			east.update(&o)
		}
	}, web8000)
	step("a mirror that somebody deletes", func() {
		for _, o := range east.mirrors() {
			east.delete(&o)
		}
	}, web8000)
	step("the controller starts again", func() {
		stop()
		slice.Endpoints = []discoveryv1.Endpoint{at("10.132.0.7", true)}
		west.update(slice)
		west.service(demo, "late")
		west.delete(&corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "api"}})
		api = west.service("default", "api2")
		empty = "api2.default.west [" + api + "] http:80>0"
		east.run()
		west.delete(&corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: demo, Name: "late"}})
	}, strings.Replace(web8000, "10.132.0.5", "10.132.0.7", 1))
	eventually(t, "synced", east.condition("west", v1alpha1.ConditionServicesSynced, metav1.ConditionTrue, "all services are shared"))
	t.Run("hostile", func(t *testing.T) { hostileServices(t, east, west, slice) })
	t.Run("the slice of a node's service stays", func(t *testing.T) {
		uid := own.UID
		if err := east.Get(t.Context(), client.ObjectKeyFromObject(own), own); err != nil || own.UID != uid {
			t.Errorf("it is another one: %v", err)
		}
	})
	step("deleted", func() {
		west.delete(&corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: demo, Name: "web"}})
	})
}

// shaped: a mirror is what kube-proxy and CoreDNS leave alone, and says nothing of nodes.
func shaped(t *testing.T, east *member) {
	for _, o := range east.mirrors() {
		if o.Labels[remoteservice.LabelName] != "web" {
			continue
		}
		for label, want := range map[string]string{
			v1alpha1.LabelCluster: "west", discoveryv1.LabelManagedBy: "sdn-tunnel-controller",
			"service.kubernetes.io/service-proxy-name": "sdn-tunnel",
			"sdntunnel.io/service-namespace":           demo, "sdntunnel.io/service-name": "web",
		} {
			if o.Labels[label] != want {
				t.Errorf("label %s is %q, want %q", label, o.Labels[label], want)
			}
		}
		if derived := o.Labels[discoveryv1.LabelServiceName]; !strings.HasPrefix(derived, "west-") || !strings.HasPrefix(o.Name, derived) {
			t.Errorf("slice %s of service %q", o.Name, derived)
		}
		if want := `"ports":[{"name":"http","protocol":"TCP","port":80}]`; !strings.Contains(o.Annotations[remoteservice.Annotation], want) {
			t.Errorf("annotation %s lacks %s", o.Annotations[remoteservice.Annotation], want)
		}
		for _, e := range o.Endpoints {
			if e.NodeName != nil || e.TargetRef != nil || e.Hostname != nil || e.Zone != nil || e.Hints != nil {
				t.Errorf("an endpoint says too much: %+v", e)
			}
		}
	}
}

// hostileServices: west speaks of addresses that are not its own.
func hostileServices(t *testing.T, east, west *member, slice *discoveryv1.EndpointSlice) {
	before := slice.Endpoints
	// Its own pod, a node of its own (a hostNetwork pod), and a pod of east.
	slice.Endpoints = []discoveryv1.Endpoint{at("10.132.0.7", true), at("192.168.60.11", true), at("10.128.0.7", true)}
	west.update(slice)
	eventually(t, "endpoints outside", east.condition("west", v1alpha1.ConditionServicesSynced, metav1.ConditionTrue, "2 endpoints outside"))
	if got := east.shows(); !strings.Contains(got, "http:80>0") || !strings.Contains(got, " 10.132.0.7") || strings.Contains(got, "192.168") || strings.Contains(got, "10.128") {
		t.Errorf("the mirrors are\n%s", got)
	}
	slice.Endpoints = before
	west.update(slice)

	// Its services lie outside of what it may have.
	var lc v1alpha1.LinkedCluster
	set := func(cidr v1alpha1.CIDR) {
		if err := east.Get(t.Context(), client.ObjectKey{Name: "west"}, &lc); err != nil {
			t.Fatal(err)
		}
		lc.Spec.ServiceCIDRs = []v1alpha1.CIDR{cidr}
		east.update(&lc)
	}
	set("172.29.0.0/16")
	eventually(t, "addresses outside", east.condition("west", v1alpha1.ConditionServicesSynced, metav1.ConditionFalse, "demo/web: its address"))
	eventually(t, "no mirrors", east.showing())
	set("172.30.0.0/16")
	eventually(t, "again", east.condition("west", v1alpha1.ConditionServicesSynced, metav1.ConditionTrue, ""))
}

// TestServicesWhileAMemberIsAway: mirrors stay, and are put right when it is back. The
// policy is switched live, and a member that leaves takes its mirrors along.
func TestServicesWhileAMemberIsAway(t *testing.T) {
	east, west := twoMembers(t)
	west.api.Namespaces(t, demo)
	lines := map[string]string{}
	for _, name := range []string{"a", "b", "c"} {
		lines[name] = name + ".demo.west [" + west.service(demo, name) + "] http:80>8080 10.132.0.5"
		west.slice(demo, name, name+"-1", at("10.132.0.5", true))
	}
	stop := east.run()
	eventually(t, "appear", east.showing(lines["a"], lines["b"], lines["c"]))
	eventually(t, "synced", east.condition("west", v1alpha1.ConditionServicesSynced, metav1.ConditionTrue, ""))

	west.api.StopAPI()
	eventually(t, "stale", east.condition("west", v1alpha1.ConditionServicesSynced, metav1.ConditionFalse, "kept"))
	if why := east.showing(lines["a"], lines["b"], lines["c"])(); why != "" {
		t.Error(why)
	}
	stop() // nor does a controller that starts now know better
	stop = east.run()
	eventually(t, "stale still", func() string {
		var lc v1alpha1.LinkedCluster
		if err := east.Get(t.Context(), client.ObjectKey{Name: "west"}, &lc); err != nil || lc.Status.Services != 3 {
			return fmt.Sprintf("%d services, %v", lc.Status.Services, err)
		}
		return east.condition("west", v1alpha1.ConditionServicesSynced, metav1.ConditionFalse, "kept")()
	})
	if why := east.showing(lines["a"], lines["b"], lines["c"])(); why != "" {
		t.Error(why)
	}
	west.api.StartAPI(t)
	west.delete(&corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: demo, Name: "c"}})
	eventually(t, "back", east.showing(lines["a"], lines["b"]))
	eventually(t, "synced", east.condition("west", v1alpha1.ConditionServicesSynced, metav1.ConditionTrue, ""))

	t.Run("policy", func(t *testing.T) { policySwitched(t, east, west, lines) })
	t.Run("nothing here balances services", func(t *testing.T) {
		stop()
		east.exportedOnly = true
		stop = east.run()
		eventually(t, "no mirrors", east.showing())
		export := west.export("b")
		eventually(t, "of what is exported", east.showing(lines["b"]))
		west.delete(export)
		stop()
		east.exportedOnly = false
		stop = east.run()
		eventually(t, "all", east.showing(lines["a"], lines["b"]))
	})
	t.Run("a member that leaves", func(t *testing.T) {
		const heard = "sdntunnel_member_heard_timestamp_seconds"
		eventually(t, "it was heard of late", func() string {
			if at := east.metric(heard, "west"); time.Since(time.Unix(int64(at), 0)).Abs() > time.Minute {
				return fmt.Sprint(at)
			}
			return ""
		})
		east.delete(&v1alpha1.LinkedCluster{ObjectMeta: metav1.ObjectMeta{Name: "west"}})
		eventually(t, "no mirrors", east.showing())
		eventually(t, "no metrics", func() string {
			if at := east.metric(heard, "west"); at != 0 {
				return fmt.Sprint(at)
			}
			return ""
		})
	})
	stop()
}

// policySwitched: only the member's own declaration decides, at once.
func policySwitched(t *testing.T, east, west *member, lines map[string]string) {
	set := func(p v1alpha1.ExportPolicy) {
		var lc v1alpha1.LinkedCluster
		if err := west.Get(t.Context(), client.ObjectKey{Name: "west"}, &lc); err != nil {
			t.Fatal(err)
		}
		lc.Spec.ExportPolicy = p
		west.update(&lc)
	}
	export := &mcsv1alpha1.ServiceExport{ObjectMeta: metav1.ObjectMeta{Namespace: demo, Name: "b"}}
	start := time.Now()
	set(v1alpha1.ExportExported)
	eventually(t, "nothing is exported", east.showing())
	t.Logf("after %s", time.Since(start).Round(time.Millisecond))
	west.create(export)
	eventually(t, "one is exported", east.showing(lines["b"]))
	eventually(t, "condition", east.condition("west", v1alpha1.ConditionServicesSynced, metav1.ConditionTrue, "with a ServiceExport"))
	west.delete(export)
	eventually(t, "none is any more", east.showing())
	set(v1alpha1.ExportAll)
	eventually(t, "all", east.showing(lines["a"], lines["b"]))
}
