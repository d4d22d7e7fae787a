package nodeservice

import (
	"errors"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"k8s.io/apimachinery/pkg/util/validation"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/sdn-tunnel/sdn-tunnel/internal/ssa"
)

func node(name string, addresses ...corev1.NodeAddress) corev1.Node {
	return corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}, Status: corev1.NodeStatus{Addresses: addresses}}
}

func internal(a string) corev1.NodeAddress {
	return corev1.NodeAddress{Type: corev1.NodeInternalIP, Address: a}
}

func external(a string) corev1.NodeAddress {
	return corev1.NodeAddress{Type: corev1.NodeExternalIP, Address: a}
}

func options(kind Type) Options {
	return Options{Cluster: "east", Namespace: "sdn-tunnel", Type: kind, TunnelPort: 5555}
}

// TestName: names are DNS labels, stay within 63 characters, and no two nodes share one.
func TestName(t *testing.T) {
	long := strings.Repeat("a", 70)
	names := map[string]string{}
	for _, n := range []string{"east-1", "node.example", "node-example", long, long + "b", strings.Repeat("a", 52), strings.Repeat("a", 53),
		"ip-10-0-0-1.eu-central-1.compute.internal", strings.Repeat("a.", 40) + "a"} {
		name := Name(n)
		if msgs := validation.IsDNS1035Label(name); len(msgs) > 0 {
			t.Errorf("%s: %s: %v", n, name, msgs)
		}
		if msgs := validation.IsValidLabelValue(LabelValue(n)); len(msgs) > 0 {
			t.Errorf("%s: label %s: %v", n, LabelValue(n), msgs)
		}
		if other, taken := names[name]; taken {
			t.Errorf("%s and %s share %s", n, other, name)
		}
		names[name] = n
	}
	if Name("east-1") != "sdn-tunnel-east-1" || LabelValue("node.example") != "node.example" {
		t.Errorf("names that fit are changed: %s, %s", Name("east-1"), LabelValue("node.example"))
	}
}

func TestParseEndpoint(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"203.0.113.1", "203.0.113.1:5555"},
		{"203.0.113.1:51820", "203.0.113.1:51820"},
		{"fd00::1", "[fd00::1]:5555"},
		{"[fd00::1]:51820", "[fd00::1]:51820"},
		{"a.example", "a.example:5555"},
		{"a.example:1", "a.example:1"},
		{"203.0.113.1:0", ""}, {"203.0.113.1:70000", ""}, {"203.0.113.1:x", ""},
		{"", ""}, {"a b", ""}, {"A_b", ""}, {"http://a", ""}, {"a:b:c", ""},
	} {
		got, err := ParseEndpoint(tt.in, 5555)
		if (err != nil) != (tt.want == "") || err == nil && got.String() != tt.want {
			t.Errorf("%q: got %v, %v; want %s", tt.in, got, err, tt.want)
		}
	}
}

func FuzzParseEndpoint(f *testing.F) {
	for _, s := range []string{"203.0.113.1", "[fd00::1]:1", "a.example:65535", ":", "[]:1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		e, err := ParseEndpoint(s, 5555)
		if err != nil {
			return
		}
		again, err := ParseEndpoint(e.String(), 1)
		if err != nil || again != e || e.Host == "" || e.Port < 1 || e.Port > 65535 {
			t.Errorf("%q: %+v, then %+v, %v", s, e, again, err)
		}
	})
}

func TestValidate(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*Options)
		want   string // "": valid
	}{
		{"valid", func(*Options) {}, ""},
		{"cluster", func(o *Options) { o.Cluster = "East" }, `cluster "East"`},
		{"namespace", func(o *Options) { o.Namespace = "" }, `namespace ""`},
		{"type", func(o *Options) { o.Type = "ClusterIP" }, `service_type "ClusterIP": use LoadBalancer, NodePort, HostNetwork or Static`},
		{"port", func(o *Options) { o.TunnelPort = 70000 }, "tunnel_port 70000"},
		{"Static without addresses", func(o *Options) { o.Type = Static }, "static_endpoints: empty"},
		{"Static with a bad address", func(o *Options) { o.Static = map[string]string{"a": "b c"} }, `static_endpoints[a]: "b c"`},
	} {
		o := options(LoadBalancer)
		tt.change(&o)
		err := o.Validate()
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q", tt.name, err, tt.want)
		}
	}
}

func TestObserve(t *testing.T) {
	static := options(Static)
	static.Static = map[string]string{"n": "203.0.113.9:1", "east.m": "203.0.113.10", "m": "203.0.113.11", "bad": "x y"}
	service := func(nodePort int32, ingress ...corev1.LoadBalancerIngress) *corev1.Service {
		return &corev1.Service{Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 5555, NodePort: nodePort}}},
			Status: corev1.ServiceStatus{LoadBalancer: corev1.LoadBalancerStatus{Ingress: ingress}}}
	}
	both := node("n", internal("192.168.50.11"), external("203.0.113.1"))
	for _, tt := range []struct {
		name     string
		node     corev1.Node
		service  *corev1.Service
		o        Options
		endpoint string // "": none
		listen   int32
		missing  string
	}{
		{"load balancer's address", both, service(30001, corev1.LoadBalancerIngress{IP: "203.0.113.200"}), options(LoadBalancer), "203.0.113.200:5555", 5555, ""},
		{"load balancer's name", both, service(30001, corev1.LoadBalancerIngress{Hostname: "a.elb.example"}), options(LoadBalancer), "a.elb.example:5555", 5555, ""},
		{"the first of several", both, service(0, corev1.LoadBalancerIngress{}, corev1.LoadBalancerIngress{IP: "203.0.113.201"}), options(LoadBalancer), "203.0.113.201:5555", 5555, ""},
		{"no load balancer", both, service(30001), options(LoadBalancer), "", 5555, "check the cloud's controller or MetalLB"},
		{"no Service yet", both, nil, options(LoadBalancer), "", 0, "the Service is not there yet"},
		{"node port, external", both, service(30001), options(NodePort), "203.0.113.1:30001", 30001, ""},
		{"node port, internal", node("n", internal("192.168.50.11")), service(30001), options(NodePort), "192.168.50.11:30001", 30001, ""},
		{"node port not given yet", both, service(0), options(NodePort), "", 0, "has not given the Service a node port"},
		{"host network, external", both, nil, options(HostNetwork), "203.0.113.1:5555", 5555, ""},
		{"host network, internal", node("n", internal("192.168.50.11")), nil, options(HostNetwork), "192.168.50.11:5555", 5555, ""},
		{"host network, IPv4 first", node("n", internal("fd00::1"), internal("192.168.50.11")), nil, options(HostNetwork), "192.168.50.11:5555", 5555, ""},
		{"host network, IPv6 only", node("n", internal("fd00::1")), nil, options(HostNetwork), "[fd00::1]:5555", 5555, ""},
		{"host network, no address", node("n"), nil, options(HostNetwork), "", 5555, "or use service_type Static"},
		{"static", both, nil, static, "203.0.113.9:1", 5555, ""},
		{"static, by cluster and node", node("m"), nil, static, "203.0.113.10:5555", 5555, ""},
		{"static, not named", node("other"), nil, static, "", 5555, "static_endpoints does not name the node"},
		{"static, bad", node("bad"), nil, static, "", 5555, "static_endpoints: "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := Observe(&tt.node, tt.service, tt.o)
			endpoint := ""
			if got.Endpoint != nil {
				endpoint = got.Endpoint.String()
			}
			if endpoint != tt.endpoint || got.ListenPort != tt.listen || got.Node != tt.node.Name ||
				(got.Missing == "") != (tt.missing == "") || !strings.Contains(got.Missing, tt.missing) {
				t.Errorf("got %s %+v", endpoint, got)
			}
		})
	}
}

// TestBuild: with NodePort, WireGuard listens on the node port itself.
func TestBuild(t *testing.T) {
	n := node("n", internal("192.168.50.11"))
	for _, tt := range []struct {
		kind             Type
		nodePort, listen int32 // 0: no EndpointSlice yet
	}{{LoadBalancer, 0, 5555}, {NodePort, 0, 0}, {NodePort, 30001, 30001}} {
		service, slice, err := Build(&n, options(tt.kind), tt.nodePort)
		if err != nil || service == nil || *service.Spec.ExternalTrafficPolicy != corev1.ServiceExternalTrafficPolicyLocal || len(service.Spec.Selector) > 0 {
			t.Errorf("%s: %+v, %v", tt.kind, service, err)
		}
		listen := int32(0)
		if slice != nil {
			listen = *slice.Ports[0].Port
			if *slice.Endpoints[0].NodeName != "n" || slice.Endpoints[0].Addresses[0] != "192.168.50.11" || !*slice.Endpoints[0].Conditions.Ready {
				t.Errorf("%s: endpoint %+v", tt.kind, slice.Endpoints[0])
			}
		}
		if listen != tt.listen {
			t.Errorf("%s, node port %d: WireGuard at %d, want %d", tt.kind, tt.nodePort, listen, tt.listen)
		}
	}
	bare := node("bare")
	if _, _, err := Build(&bare, options(LoadBalancer), 0); err == nil || !strings.Contains(err.Error(), "node bare has no InternalIP") {
		t.Errorf("a node without address: %v", err)
	}
}

func api(t *testing.T, objects ...client.Object) client.Client {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := clientgoscheme.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	return fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).
		WithTypeConverters(managedfields.NewDeducedTypeConverter()).WithStatusSubresource(&corev1.Service{}).Build()
}

func count(t *testing.T, c client.Client) int {
	t.Helper()
	var services corev1.ServiceList
	var slices discoveryv1.EndpointSliceList
	if err := errors.Join(c.List(t.Context(), &services), c.List(t.Context(), &slices)); err != nil {
		t.Fatal(err)
	}
	return len(services.Items) + len(slices.Items)
}

// TestEnsure: a dry run on an empty cluster says what would be made and makes nothing;
// a second run changes nothing; nodes that are gone are pruned.
func TestEnsure(t *testing.T) {
	c, o := api(t), options(LoadBalancer)
	nodes := []corev1.Node{node("a", internal("192.168.50.11")), node("b", internal("192.168.50.12"))}
	verbs := func(changes []ssa.Change, err error) string {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, c := range changes {
			out = append(out, c.String())
		}
		return strings.Join(out, "; ")
	}
	made := "create Service sdn-tunnel/sdn-tunnel-a; create EndpointSlice sdn-tunnel/sdn-tunnel-a; " +
		"create Service sdn-tunnel/sdn-tunnel-b; create EndpointSlice sdn-tunnel/sdn-tunnel-b"
	if got := verbs(Ensure(t.Context(), c, nodes, o, true)); got != made || count(t, c) != 0 {
		t.Errorf("dry run: %s; %d objects", got, count(t, c))
	}
	if got := verbs(Ensure(t.Context(), c, nodes, o, false)); got != made || count(t, c) != 4 {
		t.Errorf("first run: %s; %d objects", got, count(t, c))
	}
	if got := verbs(Ensure(t.Context(), c, nodes, o, false)); got != "" {
		t.Errorf("second run: %s", got)
	}
	if got := verbs(Prune(t.Context(), c, nodes[:1], o, true)); !strings.HasPrefix(got, "delete Service sdn-tunnel/sdn-tunnel-b") || count(t, c) != 4 {
		t.Errorf("dry prune: %s; %d objects", got, count(t, c))
	}
	if got := verbs(Prune(t.Context(), c, nodes[:1], o, false)); !strings.Contains(got, "EndpointSlice") || count(t, c) != 2 {
		t.Errorf("prune: %s; %d objects", got, count(t, c))
	}
	if verbs(Prune(t.Context(), c, nodes, options(HostNetwork), false)); count(t, c) != 0 {
		t.Errorf("another type leaves %d objects", count(t, c))
	}
	if got := verbs(Ensure(t.Context(), c, nodes, options(HostNetwork), false)); got != "" {
		t.Errorf("host network makes %s", got)
	}
}

// TestWait: a time-out lists what is there and what is missing.
func TestWait(t *testing.T) {
	c, o := api(t), options(LoadBalancer)
	nodes := []corev1.Node{node("a", internal("192.168.50.11")), node("b", internal("192.168.50.12"))}
	if _, err := Ensure(t.Context(), c, nodes, o, false); err != nil {
		t.Fatal(err)
	}
	give := func(name, ip string) {
		var s corev1.Service
		if err := c.Get(t.Context(), client.ObjectKey{Namespace: o.Namespace, Name: Name(name)}, &s); err != nil {
			t.Fatal(err)
		}
		s.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: ip}}
		if err := c.Status().Update(t.Context(), &s); err != nil {
			t.Fatal(err)
		}
	}
	give("a", "203.0.113.200")
	var seen []int
	all, err := Wait(t.Context(), c, nodes, o, time.Millisecond, func(ready, _ int) { seen = append(seen, ready) })
	var late *WaitError
	if !errors.Is(err, ErrNoEndpoint) || !errors.As(err, &late) || len(all) != 2 {
		t.Fatalf("got %v, %v", all, err)
	}
	for _, text := range []string{"cluster east", "1 of 2 nodes have no endpoint", "b (Service sdn-tunnel-b): the load balancer has given no address",
		"made and left in place: a = 203.0.113.200:5555; Service sdn-tunnel-b"} {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("%q is not in: %v", text, err)
		}
	}
	_, err = Wait(t.Context(), c, append(nodes, node("c")), o, time.Millisecond, nil)
	if want := " b (Service sdn-tunnel-b): the load balancer"; err == nil || strings.Count(err.Error(), want) != 1 ||
		!strings.Contains(err.Error(), "c (Service sdn-tunnel-c): the Service is not there yet") {
		t.Errorf("two nodes that wait for different things: %v", err)
	}
	if both := waitError("east", 0, []Observed{{Node: "b", Missing: "no address"}, {Node: "c", Missing: "no address"}}).Error(); !strings.Contains(both,
		"2 of 2 nodes have no endpoint: b (Service sdn-tunnel-b), c (Service sdn-tunnel-c): no address; made") {
		t.Errorf("two nodes that wait for the same: %s", both)
	}
	give("b", "203.0.113.201")
	all, err = Wait(t.Context(), c, nodes, o, time.Minute, nil)
	if err != nil || all[1].Endpoint.String() != "203.0.113.201:5555" || len(seen) == 0 || seen[0] != 1 {
		t.Errorf("got %+v, %v; progress %v", all, err, seen)
	}
}
