package controller_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	networkv1 "github.com/openshift/api/network/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	mcsv1alpha1 "sigs.k8s.io/mcs-api/pkg/apis/v1alpha1"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/sdn-tunnel/sdn-tunnel/api/v1alpha1"
	"github.com/sdn-tunnel/sdn-tunnel/internal/apitest"
	"github.com/sdn-tunnel/sdn-tunnel/internal/controller"
	"github.com/sdn-tunnel/sdn-tunnel/internal/nodeservice"
	"github.com/sdn-tunnel/sdn-tunnel/internal/peeraccess"
	"github.com/sdn-tunnel/sdn-tunnel/internal/rights"
)

const namespace = "sdn-tunnel"

// mcsDefinitions are those of the Multi-Cluster Services API, as a deploy installs them.
var mcsDefinitions = []string{
	"../../roles/tunnel/files/mcs/multicluster.x-k8s.io_serviceexports.yaml",
	"../../roles/tunnel/files/mcs/multicluster.x-k8s.io_serviceimports.yaml",
}

// member is a cluster of the test: a real API server and its controller.
type member struct {
	t    *testing.T
	name string
	api  *apitest.Server
	// probes is where the controller answers /healthz, /readyz and /metrics.
	probes string
	// webhook is the admission webhook that the controller serves, if any.
	webhook controller.WebhookOptions
	// attachment is how tunnels are wired to the pod network, "host" or "ovs".
	attachment string
	// exportedOnly: nothing here balances the services of others.
	exportedOnly bool
	client.Client
}

// newMember is a cluster that has the definitions of more kinds.
func newMember(t *testing.T, name string, more ...string) *member {
	t.Helper()
	api := apitest.Start(t, append(more, mcsDefinitions...)...)
	c := api.Client(t, clientgoscheme.AddToScheme, v1alpha1.AddToScheme, mcsv1alpha1.Install, networkv1.Install)
	m := &member{t: t, name: name, api: api, attachment: "host", Client: c}
	m.api.Namespaces(t, namespace)
	m.grant("controller.yml.j2", user)
	return m
}

// user runs the controller.
const user = "controller"

// grant gives a user the rights that a template of the deploy gives, and no others.
func (m *member) grant(template, user string) {
	m.t.Helper()
	path, err := rights.Template(template)
	if err != nil {
		m.t.Fatal(err)
	}
	given, err := rights.Given(path)
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
	if name == "west" {
		lc.Spec.ServiceCIDRs = []v1alpha1.CIDR{"172.30.0.0/16"} // what the test's API servers hand out
	}
	if secret != "" {
		lc.Spec.API = &v1alpha1.ClusterAPI{Server: server, Secret: secret}
	}
	m.create(lc)
}

// run runs the controller until the test ends or stop is called.
func (m *member) run() (stop func()) {
	m.t.Helper()
	stop = sync.OnceFunc(m.start(nil))
	m.t.Cleanup(stop)
	return stop
}

// start runs the controller until the function that it returns is called.
func (m *member) start(annotations map[string]string) (stop func()) {
	m.t.Helper()
	ports, err := apitest.FreePorts(1)
	if err != nil {
		m.t.Fatal(err)
	}
	m.probes = fmt.Sprintf("127.0.0.1:%d", ports[0])
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- controller.Run(ctx, m.api.User(m.t, user), controller.Options{
			Options: nodeservice.Options{Cluster: m.name, Namespace: namespace, Type: nodeservice.NodePort, TunnelPort: 5555,
				Annotations: annotations},
			Webhook: m.webhook, ExportedOnly: m.exportedOnly, MetricsAddress: m.probes, LeaderElection: true, Log: slog.New(slog.NewTextHandler(m.t.Output(), nil)).With("member", m.name),
		})
	}()
	return func() {
		cancel()
		if err := <-done; err != nil {
			m.t.Errorf("%s: %v", m.name, err)
		}
	}
}

// eventually waits until ok says "", or fails with what it says. After an outage a watch is
// tried again within a minute.
func eventually(t *testing.T, what string, ok func() string) {
	t.Helper()
	deadline := time.Now().Add(3 * time.Minute)
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

// twoMembers are linked, without nodes, and their controllers do not run.
func twoMembers(t *testing.T) (east, west *member) {
	t.Helper()
	east, west = newMember(t, "east"), newMember(t, "west")
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
	return east, west
}
