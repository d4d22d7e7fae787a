package agent

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	networkv1 "github.com/openshift/api/network/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sdn-tunnel/sdn-tunnel/api/v1alpha1"
	"github.com/sdn-tunnel/sdn-tunnel/internal/apitest"
	"github.com/sdn-tunnel/sdn-tunnel/internal/mesh"
)

// agentRights are those that the package's documentation lists.
var agentRights = []rbacv1.PolicyRule{
	{APIGroups: []string{"sdntunnel.io"}, Resources: []string{"linkedclusters"}, Verbs: []string{"get", "list", "watch"}},
	{APIGroups: []string{"sdntunnel.io"}, Resources: []string{"tunnelnodes"}, Verbs: []string{"get", "list", "watch", "create", "patch"}},
	{APIGroups: []string{"sdntunnel.io"}, Resources: []string{"tunnelnodes/status"}, Verbs: []string{"patch"}},
	{APIGroups: []string{""}, Resources: []string{"nodes"}, Verbs: []string{"get", "list", "watch"}},
	{APIGroups: []string{"network.openshift.io"}, Resources: []string{"hostsubnets"}, Verbs: []string{"get", "list", "watch"}},
}

// eventRights are those in the namespace where the Events of TunnelNodes are.
var eventRights = []rbacv1.PolicyRule{{APIGroups: []string{"events.k8s.io"}, Resources: []string{"events"}, Verbs: []string{"create"}}}

func administrator(t *testing.T, s *apitest.Server) client.Client {
	t.Helper()
	return s.Client(t, v1alpha1.AddToScheme, corev1.AddToScheme, rbacv1.AddToScheme, networkv1.Install)
}

func fixtures() []client.Object {
	member := func(name, pods, services, tunnel string) client.Object {
		return &v1alpha1.LinkedCluster{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1alpha1.LinkedClusterSpec{
			PodCIDRs: []v1alpha1.CIDR{v1alpha1.CIDR(pods)}, ServiceCIDRs: []v1alpha1.CIDR{v1alpha1.CIDR(services)},
			TunnelCIDR: v1alpha1.CIDR(tunnel),
		}}
	}
	return []client.Object{
		&rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "agent"}, Rules: agentRights},
		&rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "agent"},
			RoleRef:  rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "agent"},
			Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: "agent"}}},
		&rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "agent"}, Rules: eventRights},
		&rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "agent"},
			RoleRef:  rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "agent"},
			Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: "agent"}}},
		&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "east-1"}},
		&networkv1.HostSubnet{ObjectMeta: metav1.ObjectMeta{Name: "east-1"}, Host: "east-1", HostIP: "192.168.50.11", Subnet: "10.128.0.0/23"},
		member("east", "10.128.0.0/14", "172.30.0.0/16", "100.127.0.0/22"),
		member("west", "10.132.0.0/14", "172.31.0.0/16", "100.127.4.0/22"),
		&v1alpha1.TunnelNode{ObjectMeta: metav1.ObjectMeta{Name: "west.west-1"}, Spec: v1alpha1.TunnelNodeSpec{
			Cluster: "west", Node: "west-1", PublicKey: mesh.Key{9}.String(), TunnelAddress: "100.127.4.1",
			HostSubnets: []v1alpha1.CIDR{"10.132.0.0/23"}, NodeAddresses: []string{"192.168.60.11"},
			Endpoint: &v1alpha1.Endpoint{Host: "192.168.60.200", Port: 5555},
		}},
	}
}

// TestAgentWithAPI: with the documented rights and no others, the agent publishes its
// node, follows the mesh, keeps the controller's fields, and survives an outage.
func TestAgentWithAPI(t *testing.T) {
	s := apitest.Start(t, "testdata/hostsubnets.yaml")
	admin, ctx := administrator(t, s), t.Context()
	for _, o := range fixtures() {
		if err := admin.Create(ctx, o); err != nil {
			t.Fatalf("create %s: %v", o.GetName(), err)
		}
	}
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "east-1"}}
	if err := admin.Get(ctx, client.ObjectKeyFromObject(node), node); err != nil {
		t.Fatal(err)
	}
	node.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "192.168.50.11"}}
	if err := admin.Status().Update(ctx, node); err != nil {
		t.Fatal(err)
	}

	part, dir, keys := newFake("wireguard"), t.TempDir(), &fakeKeys{current: 7, since: time.Now()}
	a, err := New(Config{Self: east1, Port: 5555, StateDir: dir, API: s.User(t, "agent"), Timing: quick, Log: slog.New(slog.DiscardHandler)},
		DataPlane{Parts: []Part{part}, Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	running, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- a.Run(running) }()

	own := func() v1alpha1.TunnelNode {
		var n v1alpha1.TunnelNode
		_ = admin.Get(ctx, client.ObjectKey{Name: "east.east-1"}, &n) // not yet there: zero
		return n
	}
	eventually(t, "the node is published", func() bool {
		n := own().Spec
		return n.PublicKey == mesh.Key{7}.String() && slices.Equal(n.HostSubnets, []v1alpha1.CIDR{"10.128.0.0/23"}) &&
			slices.Equal(n.NodeAddresses, []string{"192.168.50.11"})
	})
	handOut(t, ctx, admin)
	eventually(t, "the remote peer is configured", has(part, 1))
	eventually(t, "Ready is said", func() bool { return meta.IsStatusConditionTrue(own().Status.Conditions, v1alpha1.ConditionReady) })
	if n := own(); n.Spec.TunnelAddress != "100.127.0.1" || !meta.IsStatusConditionTrue(n.Status.Conditions, v1alpha1.ConditionAccepted) {
		t.Errorf("the object after all: %+v", n)
	}
	quiet(t, own)
	asksForKeys(t, a, admin, own, keys)
	part.do(func() { part.have = map[string]bool{} }) // something else does
	part.event()
	eventsSay(t, admin, own(), "Warning KeyNotReplaced: the node's key was not replaced (reason: asked for): west may not hear of a new key",
		"Normal KeyReplaced: the node has a new key (reason: asked for), its public half is "+mesh.Key{8}.String(),
		"Normal Repaired: put back what something else on the node had changed: wireguard: add west.west-1")

	s.StopAPI()
	eventually(t, "the outage is noticed", func() bool { return !a.cluster.Connected() })
	if _, have := part.counts(); have != 1 || a.Ready() != nil {
		t.Errorf("an outage of the API disturbs the data plane: %d peers, %v", have, a.Ready())
	}
	report, err := ReadReport(ctx, dir)
	if err != nil || report.APIConnected || !report.Ready || report.TunnelAddress != "100.127.0.1" {
		t.Errorf("the report during the outage: %+v, %v", report, err)
	}
	s.StartAPI(t)
	if err := admin.Delete(ctx, &v1alpha1.TunnelNode{ObjectMeta: metav1.ObjectMeta{Name: "west.west-1"}}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it follows again after the outage", has(part, 0))
	stop()
	if err := <-done; err != nil {
		t.Errorf("ended with %v", err)
	}
}

// asksForKeys: each value of the annotation replaces the key once, unless a member would
// not hear of it.
func asksForKeys(t *testing.T, a *Agent, admin client.Client, own func() v1alpha1.TunnelNode, keys *fakeKeys) {
	t.Helper()
	ask := func(request string) {
		n := own()
		patch := client.MergeFrom(n.DeepCopy())
		n.Annotations = map[string]string{v1alpha1.AnnotationRotateKey: request}
		if err := admin.Patch(t.Context(), &n, patch); err != nil {
			t.Fatal(err)
		}
	}
	reachable := func(is metav1.ConditionStatus) {
		var lc v1alpha1.LinkedCluster
		if err := admin.Get(t.Context(), client.ObjectKey{Name: "west"}, &lc); err != nil {
			t.Fatal(err)
		}
		meta.SetStatusCondition(&lc.Status.Conditions, metav1.Condition{Type: v1alpha1.ConditionReachable, Status: is, Reason: "Test", Message: "is asleep"})
		if err := admin.Status().Update(t.Context(), &lc); err != nil {
			t.Fatal(err)
		}
	}
	reachable(metav1.ConditionFalse)
	eventually(t, "the agent hears of it", func() bool { return a.rotator.hindrance() != nil })
	ask("one")
	eventually(t, "the hindrance is said", func() bool {
		k := own().Status.Key
		return k != nil && strings.Contains(k.Failure, "west may not hear of a new key") && strings.Contains(k.Failure, "is asleep")
	})
	if is := keys.state(); is != [3]byte{7, 0, 0} {
		t.Errorf("the key was replaced all the same: %v", is)
	}
	reachable(metav1.ConditionTrue)
	eventually(t, "the key is replaced", func() bool {
		n := own()
		return n.Spec.PublicKey == mesh.Key{8}.String() && n.Status.Key != nil && n.Status.Key.Request == "one" && n.Status.Key.Failure == ""
	})
	time.Sleep(time.Second)
	if is := keys.state(); is != [3]byte{8, 0, 0} {
		t.Errorf("asked once, the keys are %v", is)
	}
}

// eventsSay waits for events of the node, as people who describe it see them.
func eventsSay(t *testing.T, admin client.Client, n v1alpha1.TunnelNode, want ...string) {
	t.Helper()
	lines := ""
	eventually(t, "its events", func() bool {
		var all corev1.EventList
		if err := admin.List(t.Context(), &all, client.InNamespace("default")); err != nil {
			t.Fatal(err)
		}
		lines = ""
		for _, e := range all.Items {
			if e.InvolvedObject.UID == n.UID && e.InvolvedObject.Kind == "TunnelNode" && e.InvolvedObject.Name == n.Name {
				lines += e.Type + " " + e.Reason + ": " + e.Message + "\n"
			}
		}
		return !slices.ContainsFunc(want, func(line string) bool { return !strings.Contains(lines, line) })
	})
	t.Logf("events:\n%s", lines)
}

// handOut does the controller's share.
func handOut(t *testing.T, ctx context.Context, admin client.Client) {
	t.Helper()
	patch := []byte(`{"spec":{"tunnelAddress":"100.127.0.1","endpoint":{"host":"192.168.50.200","port":5555}}}`)
	n := &v1alpha1.TunnelNode{ObjectMeta: metav1.ObjectMeta{Name: "east.east-1"}}
	if err := admin.Patch(ctx, n, client.RawPatch("application/merge-patch+json", patch)); err != nil {
		t.Fatal(err)
	}
}

// quiet sees that nothing is written while nothing changes.
func quiet(t *testing.T, own func() v1alpha1.TunnelNode) {
	t.Helper()
	before, since := own().ResourceVersion, time.Now()
	eventually(t, "what was on its way is written", func() bool {
		if is := own().ResourceVersion; is != before {
			before, since = is, time.Now()
		}
		return time.Since(since) > 2*time.Second
	})
	time.Sleep(2500 * time.Millisecond)
	if after := own().ResourceVersion; after != before {
		t.Errorf("the TunnelNode was written from %s to %s although nothing changed", before, after)
	}
}
