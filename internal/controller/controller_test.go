package controller_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/sdn-tunnel/sdn-tunnel/api/v1alpha1"
	"github.com/sdn-tunnel/sdn-tunnel/internal/apitest"
	"github.com/sdn-tunnel/sdn-tunnel/internal/controller"
	"github.com/sdn-tunnel/sdn-tunnel/internal/nodeservice"
	"github.com/sdn-tunnel/sdn-tunnel/internal/peeraccess"
	"github.com/sdn-tunnel/sdn-tunnel/internal/rights"
)

const namespace = "sdn-tunnel"

// member is a cluster of the test: a real API server and its controller.
type member struct {
	t    *testing.T
	name string
	api  *apitest.Server
	// probes is where the controller answers /healthz, /readyz and /metrics.
	probes string
	client.Client
}

func newMember(t *testing.T, name string) *member {
	t.Helper()
	api := apitest.Start(t)
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	c, err := client.New(api.Config, client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	m := &member{t: t, name: name, api: api, Client: c}
	m.create(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}})
	m.grant()
	return m
}

// user runs the controller.
const user = "controller"

// grant gives the user the rights that the deploy gives the controller, and no others.
func (m *member) grant() {
	m.t.Helper()
	template, err := rights.Template("controller.yml.j2")
	if err != nil {
		m.t.Fatal(err)
	}
	given, err := rights.Given(template)
	if err != nil {
		m.t.Fatal(err)
	}
	for _, o := range given.Objects(user, namespace) {
		m.create(o)
	}
}

func (m *member) create(o client.Object) {
	m.t.Helper()
	if err := m.Create(m.t.Context(), o); err != nil {
		m.t.Fatalf("%s: create %T %s: %v", m.name, o, o.GetName(), err)
	}
}

func (m *member) node(name, ip string) {
	m.t.Helper()
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}
	m.create(n)
	n.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: ip}}
	if err := m.Status().Update(m.t.Context(), n); err != nil {
		m.t.Fatal(err)
	}
}

func (m *member) linked(name, pods, tunnels string, secret string, server string) {
	m.t.Helper()
	lc := &v1alpha1.LinkedCluster{ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: v1alpha1.LinkedClusterSpec{PodCIDRs: []v1alpha1.CIDR{v1alpha1.CIDR(pods)}, TunnelCIDR: v1alpha1.CIDR(tunnels)}}
	if secret != "" {
		lc.Spec.API = &v1alpha1.ClusterAPI{Server: server, Secret: secret}
	}
	m.create(lc)
}

func (m *member) run() {
	m.t.Helper()
	m.t.Cleanup(m.start(nil))
}

// start runs the controller until the function that it returns is called.
func (m *member) start(annotations map[string]string) (stop func()) {
	m.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		m.t.Fatal(err)
	}
	m.probes = l.Addr().String()
	l.Close()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- controller.Run(ctx, m.api.User(m.t, user), controller.Options{
			Options: nodeservice.Options{Cluster: m.name, Namespace: namespace, Type: nodeservice.NodePort, TunnelPort: 5555,
				Annotations: annotations},
			MetricsAddress: m.probes, LeaderElection: true, Log: slog.New(slog.NewTextHandler(m.t.Output(), nil)).With("member", m.name),
		})
	}()
	return func() {
		cancel()
		if err := <-done; err != nil {
			m.t.Errorf("%s: %v", m.name, err)
		}
	}
}

// TestServiceAnnotations: an annotation that is taken out of the inventory leaves the
// node services as well, though the controller that put it there is gone, and others' stay.
func TestServiceAnnotations(t *testing.T) {
	m := newMember(t, "east")
	m.node("e1", "192.168.50.11")
	key := client.ObjectKey{Namespace: namespace, Name: nodeservice.Name("e1")}
	annotations := func(want string) func() string {
		return func() string {
			var s corev1.Service
			if err := m.Get(t.Context(), key, &s); err != nil {
				return err.Error()
			}
			got := fmt.Sprint(s.Annotations["a"], s.Annotations["b"], s.Annotations["theirs"])
			if got != want {
				return "annotations " + got
			}
			return ""
		}
	}
	stop := m.start(map[string]string{"a": "1", "b": "2"})
	eventually(t, "both", annotations("12"))
	var s corev1.Service
	if err := m.Get(t.Context(), key, &s); err != nil {
		t.Fatal(err)
	}
	s.Annotations["theirs"] = "3"
	if err := m.Update(t.Context(), &s); err != nil {
		t.Fatal(err)
	}
	stop()
	stop = m.start(map[string]string{"b": "2"})
	defer stop()
	eventually(t, "one", annotations("23"))
}

// eventually waits until ok says "", or fails with what it says.
func eventually(t *testing.T, what string, ok func() string) {
	t.Helper()
	deadline := time.Now().Add(40 * time.Second)
	for {
		why := ok()
		if why == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %s", what, why)
		}
		time.Sleep(200 * time.Millisecond)
	}
}

func (m *member) tunnelNode(name string) *v1alpha1.TunnelNode {
	m.t.Helper()
	n := &v1alpha1.TunnelNode{}
	err := m.Get(m.t.Context(), client.ObjectKey{Name: name}, n)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		m.t.Fatal(err)
	}
	return n
}

func (m *member) complete(name string) func() string {
	return func() string {
		switch n := m.tunnelNode(name); {
		case n == nil:
			return name + " is not in " + m.name
		case n.Spec.Endpoint == nil || n.Spec.TunnelAddress == "" || n.Spec.ListenPort == 0:
			return name + " is not complete"
		}
		return ""
	}
}

func (m *member) condition(cluster, kind string, want metav1.ConditionStatus, text string) func() string {
	return func() string {
		var lc v1alpha1.LinkedCluster
		if err := m.Get(m.t.Context(), client.ObjectKey{Name: cluster}, &lc); err != nil {
			return err.Error()
		}
		c := meta.FindStatusCondition(lc.Status.Conditions, kind)
		if c == nil {
			return "no condition " + kind
		}
		if c.Status != want || !strings.Contains(c.Message, text) {
			return kind + "=" + string(c.Status) + " " + c.Reason + ": " + c.Message
		}
		return ""
	}
}

func (m *member) side() peeraccess.Side {
	server, err := peeraccess.ServerOf(m.api.Config)
	if err != nil {
		m.t.Fatal(err)
	}
	return peeraccess.Side{Cluster: m.name, Namespace: namespace, Client: m.Client, Server: server}
}

func TestTwoMembers(t *testing.T) {
	east, west := newMember(t, "east"), newMember(t, "west")
	for _, pair := range [][2]*member{{east, west}, {west, east}} {
		here, there := pair[0], pair[1]
		changes, err := peeraccess.Ensure(t.Context(), there.side(), here.side(), peeraccess.Options{})
		if err != nil || len(changes) == 0 {
			t.Fatalf("peer access: %v %v", changes, err)
		}
		again, err := peeraccess.Ensure(t.Context(), there.side(), here.side(), peeraccess.Options{})
		if err != nil || len(again) != 0 {
			t.Fatalf("a second time: %v %v", again, err)
		}
		for _, lc := range [][3]string{{"east", "10.128.0.0/14", "100.127.0.0/22"}, {"west", "10.132.0.0/14", "100.127.4.0/22"}} {
			secret := ""
			if lc[0] != here.name {
				secret = peeraccess.Name(lc[0])
			}
			here.linked(lc[0], lc[1], lc[2], secret, there.api.Config.Host)
		}
	}
	east.node("east-1", "192.168.50.11")
	east.node("east-2", "192.168.50.12")
	west.node("west-1", "192.168.60.11")
	east.run()
	west.run()

	for _, m := range []*member{east, west} {
		for _, n := range []string{"east.east-1", "east.east-2", "west.west-1"} {
			eventually(t, "mirrors both ways", m.complete(n))
		}
	}
	eventually(t, "reachable", east.condition("west", v1alpha1.ConditionReachable, metav1.ConditionTrue, ""))
	eventually(t, "in sync", east.condition("west", v1alpha1.ConditionInSync, metav1.ConditionTrue, "1 nodes"))
	one, two := east.tunnelNode("east.east-1").Spec, east.tunnelNode("east.east-2").Spec
	if one.TunnelAddress == two.TunnelAddress || one.ListenPort != one.Endpoint.Port || one.ListenPort == two.ListenPort {
		t.Errorf("not unique: %+v %+v", one, two)
	}

	t.Run("the probes answer", func(t *testing.T) { probed(t, east) })
	t.Run("a read-only identity reads what it should and no more", func(t *testing.T) { onlyReads(t, east) })
	t.Run("what a member says of others is refused", func(t *testing.T) { malicious(t, east, west) })
	t.Run("nodes come and go", func(t *testing.T) { nodesComeAndGo(t, east, west) })
	t.Run("a drifted mirror is put right", func(t *testing.T) {
		n := east.tunnelNode("west.west-1")
		n.Spec.ListenPort = 1
		if err := east.Update(t.Context(), n); err != nil {
			t.Fatal(err)
		}
		eventually(t, "repair", func() string {
			if east.tunnelNode("west.west-1").Spec.ListenPort == 1 {
				return "still drifted"
			}
			return ""
		})
	})
	t.Run("mirrors stay while the member does not answer", func(t *testing.T) {
		west.api.StopAPI()
		eventually(t, "condition", east.condition("west", v1alpha1.ConditionReachable, metav1.ConditionFalse, "west"))
		if east.tunnelNode("west.west-1") == nil {
			t.Error("the mirror is gone")
		}
		west.api.StartAPI(t)
		eventually(t, "condition", east.condition("west", v1alpha1.ConditionReachable, metav1.ConditionTrue, ""))
	})
	t.Run("an identity that is revoked is named in plain words", func(t *testing.T) { revoked(t, east, west) })
	t.Run("a member that leaves takes its mirrors along", func(t *testing.T) {
		if err := east.Delete(t.Context(), &v1alpha1.LinkedCluster{ObjectMeta: metav1.ObjectMeta{Name: "west"}}); err != nil {
			t.Fatal(err)
		}
		eventually(t, "garbage collection", func() string {
			if east.tunnelNode("west.west-1") != nil {
				return "the mirror is still there"
			}
			return ""
		})
		if east.tunnelNode("east.east-1") == nil {
			t.Error("the member's own node is gone")
		}
	})
}

func probed(t *testing.T, m *member) {
	for path, want := range map[string]string{"/healthz": "ok", "/readyz": "ok", "/metrics": `sdn_tunnel_nodes{cluster="east"} 2`} {
		eventually(t, path, func() string {
			resp, err := http.Get("http://" + m.probes + path)
			if err != nil {
				return err.Error()
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			if err != nil || resp.StatusCode != http.StatusOK || !strings.Contains(string(body), want) {
				return fmt.Sprintf("%s %s, %v", resp.Status, body, err)
			}
			return ""
		})
	}
}

// revoked: west takes east's identity away, and gives it a new one later.
func revoked(t *testing.T, east, west *member) {
	if _, err := peeraccess.Revoke(t.Context(), west.side(), east.name, peeraccess.Options{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "condition", east.condition("west", v1alpha1.ConditionReachable, metav1.ConditionFalse, "run the deploy again"))
	eventually(t, "in sync", east.condition("west", v1alpha1.ConditionInSync, metav1.ConditionFalse, "are kept"))
	if east.tunnelNode("west.west-1") == nil {
		t.Error("the mirror is gone")
	}
	if _, err := peeraccess.Ensure(t.Context(), west.side(), east.side(), peeraccess.Options{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "condition", east.condition("west", v1alpha1.ConditionReachable, metav1.ConditionTrue, ""))
}

func onlyReads(t *testing.T, east *member) {
	var s corev1.Secret
	if err := east.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: peeraccess.Name("west")}, &s); err != nil {
		t.Fatal(err)
	}
	cfg, token, err := peeraccess.RestConfig(&s)
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.New(cfg, client.Options{Scheme: east.Scheme(), Mapper: east.RESTMapper()})
	if err != nil {
		t.Fatal(err)
	}
	for _, list := range []client.ObjectList{&v1alpha1.TunnelNodeList{}, &corev1.ServiceList{}, &discoveryv1.EndpointSliceList{}} {
		if err := c.List(t.Context(), list); err != nil {
			t.Errorf("%T: %v", list, err)
		}
	}
	for _, list := range []client.ObjectList{&corev1.SecretList{}, &corev1.NodeList{}, &corev1.ConfigMapList{}, &corev1.PodList{}} {
		if err := c.List(t.Context(), list); !apierrors.IsForbidden(err) {
			t.Errorf("%T: got %v, want forbidden", list, err)
		}
	}
	n := &v1alpha1.TunnelNode{ObjectMeta: metav1.ObjectMeta{Name: "west.x"}, Spec: v1alpha1.TunnelNodeSpec{Cluster: "west", Node: "x"}}
	if err := c.Create(t.Context(), n); !apierrors.IsForbidden(err) {
		t.Errorf("create: got %v, want forbidden", err)
	}
	// At half its life the holder renews the token with the token itself.
	fresh, renewed, err := peeraccess.Renew(t.Context(), east.Client, &s, "west", v1alpha1.ManagerController,
		peeraccess.Options{Now: func() time.Time { return token.RenewAt().Add(time.Second) }})
	if err != nil || !renewed || !fresh.Fresh(time.Now()) {
		t.Errorf("renew: %v %v %v", fresh, renewed, err)
	}
}

func malicious(t *testing.T, east, west *member) {
	before := east.tunnelNode("east.east-1").Spec
	// West claims, with its own label, to know better about a node of east.
	fake := west.tunnelNode("east.east-2")
	fake.Labels[v1alpha1.LabelCluster] = "west"
	fake.Spec.Endpoint = &v1alpha1.Endpoint{Host: "203.0.113.66", Port: 1}
	fake.ObjectMeta = metav1.ObjectMeta{Name: "east.evil", Labels: fake.Labels}
	fake.Spec.Node = "evil"
	// West's own controller would remove it at once; an attacker has none.
	stop := make(chan struct{})
	go func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(100 * time.Millisecond):
				_ = west.Create(context.Background(), fake.DeepCopy())
			}
		}
	}()
	defer close(stop)
	// And a node of its own whose subnet is east's.
	west.create(&v1alpha1.TunnelNode{ObjectMeta: metav1.ObjectMeta{Name: "west.thief", Labels: map[string]string{v1alpha1.LabelCluster: "west"}},
		Spec: v1alpha1.TunnelNodeSpec{Cluster: "west", Node: "thief", HostSubnets: []v1alpha1.CIDR{"10.128.0.0/23"},
			PublicKey: "YWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWE=", Endpoint: &v1alpha1.Endpoint{Host: "203.0.113.9", Port: 9}}})
	eventually(t, "refusal", east.condition("west", v1alpha1.ConditionAccepted, metav1.ConditionFalse, ""))
	if east.tunnelNode("east.evil") != nil {
		t.Error("a node that west invented for east was taken over")
	}
	if after := east.tunnelNode("east.east-1").Spec; after.Endpoint.Host != before.Endpoint.Host || after.TunnelAddress != before.TunnelAddress {
		t.Errorf("disturbed: %+v", after)
	}
}

func nodesComeAndGo(t *testing.T, east, west *member) {
	address := east.tunnelNode("east.east-1").Spec.TunnelAddress
	east.node("east-3", "192.168.50.13")
	eventually(t, "a new node in the other member", west.complete("east.east-3"))
	if err := east.Delete(t.Context(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "east-3"}}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a deleted node", func() string {
		var s corev1.Service
		err := east.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: nodeservice.Name("east-3")}, &s)
		if east.tunnelNode("east.east-3") != nil || west.tunnelNode("east.east-3") != nil || !apierrors.IsNotFound(err) {
			return "something of it is left"
		}
		return ""
	})
	if now := east.tunnelNode("east.east-1").Spec.TunnelAddress; now != address {
		t.Errorf("tunnel address moved from %s to %s", address, now)
	}
}
