package controller

import (
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/managedfields"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/sdn-tunnel/sdn-tunnel/api/v1alpha1"
	"github.com/sdn-tunnel/sdn-tunnel/internal/mesh"
	"github.com/sdn-tunnel/sdn-tunnel/internal/meshobj"
	"github.com/sdn-tunnel/sdn-tunnel/internal/nodeservice"
)

var started = time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)

func linked(name string, pods, services, tunnels string) *v1alpha1.LinkedCluster {
	return &v1alpha1.LinkedCluster{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1alpha1.LinkedClusterSpec{
		PodCIDRs: []v1alpha1.CIDR{v1alpha1.CIDR(pods)}, ServiceCIDRs: []v1alpha1.CIDR{v1alpha1.CIDR(services)}, TunnelCIDR: v1alpha1.CIDR(tunnels)}}
}

func keyOf(n int) string { return mesh.Key{byte(n), 7}.String() }

// tunnel is a node that can be a peer; age orders claims, n makes all that it says its own.
func tunnel(cluster, node string, age, n int, subnet, tunnel string) *v1alpha1.TunnelNode {
	return &v1alpha1.TunnelNode{
		ObjectMeta: metav1.ObjectMeta{Name: cluster + "." + node, CreationTimestamp: metav1.NewTime(started.Add(time.Duration(age) * time.Hour))},
		Spec: v1alpha1.TunnelNodeSpec{Cluster: cluster, Node: node, PublicKey: keyOf(n), ListenPort: 5555,
			Endpoint:    &v1alpha1.Endpoint{Host: "203.0.113." + string(rune('0'+n)), Port: 5555},
			HostSubnets: []v1alpha1.CIDR{v1alpha1.CIDR(subnet)}, TunnelAddress: tunnel},
	}
}

func honest() []*v1alpha1.TunnelNode {
	return []*v1alpha1.TunnelNode{
		tunnel("east", "e1", 1, 1, "10.128.0.0/23", "100.127.0.1"),
		tunnel("east", "e2", 2, 2, "10.128.2.0/23", "100.127.0.2"),
		tunnel("west", "w1", 3, 3, "10.132.0.0/23", "100.127.4.1"),
		tunnel("third", "t1", 4, 4, "10.136.0.0/23", "100.127.8.1"),
	}
}

func members3() []*v1alpha1.LinkedCluster {
	return []*v1alpha1.LinkedCluster{
		linked("east", "10.128.0.0/14", "172.30.0.0/16", "100.127.0.0/22"),
		linked("west", "10.132.0.0/14", "172.31.0.0/16", "100.127.4.0/22"),
		linked("third", "10.136.0.0/14", "172.29.0.0/16", "100.127.8.0/22"),
	}
}

// api is a fake API that holds the objects.
func api(t *testing.T, objects ...client.Object) client.Client {
	t.Helper()
	scheme := runtime.NewScheme()
	kinds := runtime.NewSchemeBuilder(clientgoscheme.AddToScheme, v1alpha1.AddToScheme)
	if err := kinds.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	return fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).
		WithTypeConverters(managedfields.NewDeducedTypeConverter()).
		WithStatusSubresource(&v1alpha1.LinkedCluster{}, &v1alpha1.TunnelNode{}).
		WithIndex(&v1alpha1.TunnelNode{}, clusterIndex, func(o client.Object) []string {
			n, _ := o.(*v1alpha1.TunnelNode)
			return []string{n.Spec.Cluster}
		}).Build()
}

func objects(clusters []*v1alpha1.LinkedCluster, nodes []*v1alpha1.TunnelNode) (all []client.Object) {
	for _, c := range clusters {
		all = append(all, c)
	}
	for _, n := range nodes {
		all = append(all, n)
	}
	return all
}

// judge runs the reconciler once, in east.
func judge(t *testing.T, c client.Client) {
	t.Helper()
	beats := 0
	r := &status{
		Client: c, options: Options{Options: nodeservice.Options{Cluster: "east", TunnelPort: 5555}},
		remotes: &remotes{}, mirrors: &mirrors{}, services: &services{}, addresses: &addresses{}, foreign: &names{}, shares: newShares(), beat: func() { beats++ },
	}
	if _, err := r.Reconcile(t.Context(), request(statusKey)); err != nil || beats != 1 {
		t.Fatalf("reconcile: %v, %d beats", err, beats)
	}
}

func conditionOf(t *testing.T, c client.Client, cluster, kind string) metav1.Condition {
	t.Helper()
	var lc v1alpha1.LinkedCluster
	if err := c.Get(t.Context(), client.ObjectKey{Name: cluster}, &lc); err != nil {
		t.Fatal(err)
	}
	found := meta.FindStatusCondition(lc.Status.Conditions, kind)
	if found == nil {
		t.Fatalf("%s has no condition %s", cluster, kind)
	}
	return *found
}

// planOf is the plan that the agent of node self makes of the objects.
func planOf(clusters []*v1alpha1.LinkedCluster, nodes []*v1alpha1.TunnelNode, self mesh.Ref) mesh.DataPlane {
	var cs []v1alpha1.LinkedCluster
	var ns []v1alpha1.TunnelNode
	for _, c := range clusters {
		cs = append(cs, *c)
	}
	for _, n := range nodes {
		ns = append(ns, *n)
	}
	view, _ := meshobj.FromObjects(cs, ns, self, 5555)
	return mesh.Compute(view)
}

// othersOf are a plan's peers without the liar.
func othersOf(dp mesh.DataPlane) []mesh.Peer {
	return slices.DeleteFunc(dp.Peers, func(p mesh.Peer) bool { return p.Ref.Node == "liar" })
}

// TestLies: what a member may not say is refused, named in a condition and counted,
// and nothing else is disturbed: neither the other members' conditions nor any peer.
func TestLies(t *testing.T) {
	for _, tt := range []struct {
		name   string
		lie    func(n *v1alpha1.TunnelNode)
		reason mesh.Reason
		text   string
	}{
		{"the subnet of another member", func(n *v1alpha1.TunnelNode) { n.Spec.HostSubnets = []v1alpha1.CIDR{"10.136.0.0/23"} },
			mesh.OutsideDeclared, "10.136.0.0/23 is in none of the podCIDRs of west"},
		{"a subnet of this cluster", func(n *v1alpha1.TunnelNode) { n.Spec.HostSubnets = []v1alpha1.CIDR{"10.128.0.0/23"} },
			mesh.OutsideDeclared, "10.128.0.0/23"},
		{"everything", func(n *v1alpha1.TunnelNode) { n.Spec.HostSubnets = []v1alpha1.CIDR{"0.0.0.0/0"} },
			mesh.OutsideDeclared, "0.0.0.0/0"},
		{"a subnet of another node of its own", func(n *v1alpha1.TunnelNode) { n.Spec.HostSubnets = []v1alpha1.CIDR{"10.132.0.0/24"} },
			mesh.Overlap, "west.w1"},
		{"the key of a node of this cluster", func(n *v1alpha1.TunnelNode) { n.Spec.PublicKey = keyOf(1) },
			mesh.DuplicateKey, "east.e1 has this key"},
		{"the key of another member's node", func(n *v1alpha1.TunnelNode) { n.Spec.PublicKey = keyOf(4) },
			mesh.DuplicateKey, "third.t1 has this key"},
		{"no key at all", func(n *v1alpha1.TunnelNode) { n.Spec.PublicKey = mesh.Key{}.String() },
			mesh.InvalidKey, "all zero"},
		{"the endpoint of another node", func(n *v1alpha1.TunnelNode) { n.Spec.Endpoint.Host = "203.0.113.4" },
			mesh.DuplicateAddress, "third.t1"},
		{"an endpoint inside the mesh", func(n *v1alpha1.TunnelNode) { n.Spec.Endpoint.Host = "10.128.0.7" },
			mesh.Overlap, "10.128.0.7 lies in a network that the mesh itself carries"},
		{"a tunnel address of this cluster", func(n *v1alpha1.TunnelNode) { n.Spec.TunnelAddress = "100.127.0.1" },
			mesh.OutsideDeclared, "100.127.0.1 is not in 100.127.4.0/22"},
		{"the tunnel address of another node", func(n *v1alpha1.TunnelNode) { n.Spec.TunnelAddress = "100.127.4.1" },
			mesh.DuplicateAddress, "west.w1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			liar := tunnel("west", "liar", 5, 6, "10.132.2.0/23", "100.127.4.2")
			tt.lie(liar)
			nodes := append(honest(), liar)
			for _, self := range []mesh.Ref{{Cluster: "east", Node: "e1"}, {Cluster: "third", Node: "t1"}} {
				if is, was := othersOf(planOf(members3(), nodes, self)), othersOf(planOf(members3(), honest(), self)); !slices.EqualFunc(is, was, samePeer) {
					t.Errorf("%s: the lie disturbs others:\n%v\n%v", self, was, is)
				}
			}
			c := api(t, objects(members3(), nodes)...)
			judge(t, c)
			accepted := conditionOf(t, c, "west", v1alpha1.ConditionAccepted)
			if accepted.Status != metav1.ConditionFalse || !strings.Contains(accepted.Message, tt.text) || !strings.Contains(accepted.Message, "west.liar") {
				t.Errorf("condition of west: %+v", accepted)
			}
			for _, other := range []string{"east", "third"} {
				if a := conditionOf(t, c, other, v1alpha1.ConditionAccepted); a.Status != metav1.ConditionTrue {
					t.Errorf("condition of %s: %+v", other, a)
				}
			}
			if n := testutil.ToFloat64(refusedObjects.WithLabelValues("west", string(tt.reason))); n != 1 {
				t.Errorf("the metric counts %v of %s", n, tt.reason)
			}
		})
	}
}

func samePeer(a, b mesh.Peer) bool {
	return a.Ref == b.Ref && a.PublicKey == b.PublicKey && a.Endpoint == b.Endpoint && slices.Equal(a.AllowedIPs, b.AllowedIPs)
}

// TestLieWithOlderMirror: where a liar's mirror is the older one, a third member may
// take its word about a key; then the loser has no peer there, and the liar gets none
// of the loser's prefixes: it fails closed.
func TestLieWithOlderMirror(t *testing.T) {
	liar := tunnel("west", "liar", 0, 6, "10.132.2.0/23", "100.127.4.2")
	liar.Spec.PublicKey = keyOf(4) // that of third.t1
	nodes := append(honest(), liar)
	for _, self := range []mesh.Ref{{Cluster: "east", Node: "e1"}, {Cluster: "west", Node: "w1"}, {Cluster: "third", Node: "t1"}} {
		for _, p := range planOf(members3(), nodes, self).Peers {
			for _, ip := range p.AllowedIPs {
				if p.Ref.Cluster == "west" && !strings.HasPrefix(ip.String(), "10.132.") && !strings.HasPrefix(ip.String(), "100.127.4.") {
					t.Errorf("%s lets %s send from %s", self, p.Ref, ip)
				}
			}
		}
	}
}

// TestPoolFull: the node for which no address is left is named, with the remedy, on
// its own object and on its cluster's; the others keep what they have.
func TestLastHeard(t *testing.T) {
	since := metav1.NewTime(time.Unix(1_790_000_000, 0))
	reachable := func(s metav1.ConditionStatus) []metav1.Condition {
		return []metav1.Condition{{Type: v1alpha1.ConditionReachable, Status: s, LastTransitionTime: since}}
	}
	now := since.Add(time.Hour)
	for name, tt := range map[string]struct {
		health
		was  []metav1.Condition
		want time.Time
	}{
		"it answers":             {health{heard: now}, reachable(metav1.ConditionTrue), now},
		"it did":                 {health{heard: now}, reachable(metav1.ConditionFalse), now},
		"away since long":        {health{}, reachable(metav1.ConditionFalse), since.Time},
		"the start":              {health{}, reachable(metav1.ConditionTrue), time.Time{}},
		"nothing is known of it": {health{}, nil, time.Time{}},
	} {
		if got := lastHeard(tt.health, tt.was); !got.Equal(tt.want) {
			t.Errorf("%s: %v, want %v", name, got, tt.want)
		}
	}
}

func TestPoolFull(t *testing.T) {
	east := linked("east", "10.128.0.0/14", "172.30.0.0/16", "100.127.0.0/30") // two addresses
	list := []client.Object{east}
	for _, name := range []string{"e1", "e2", "e3"} {
		list = append(list, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name},
			Status: corev1.NodeStatus{Addresses: []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "192.168.50.1"}}}})
	}
	c := api(t, list...)
	queue := &notifier{}
	r := &nodes{Client: c, options: nodeservice.Options{Cluster: "east", Namespace: "sdn-tunnel", Type: nodeservice.HostNetwork, TunnelPort: 5555},
		status: queue, log: slog.New(slog.DiscardHandler)}
	for _, name := range []string{"e1", "e2", "e3", "e3"} {
		again, err := r.Reconcile(t.Context(), request(name))
		if err != nil || (again.RequeueAfter > 0) != (name == "e3") {
			t.Fatalf("%s: %+v, %v", name, again, err)
		}
	}
	var n v1alpha1.TunnelNode
	if err := c.Get(t.Context(), client.ObjectKey{Name: "east.e3"}, &n); err != nil {
		t.Fatal(err)
	}
	said := meta.FindStatusCondition(n.Status.Conditions, v1alpha1.ConditionEndpointReady)
	if n.Spec.TunnelAddress != "" || said == nil || said.Reason != "PoolFull" || !strings.Contains(said.Message, "larger tunnel_pool") {
		t.Errorf("TunnelNode: %q, %+v", n.Spec.TunnelAddress, said)
	}
	if len(queue.early) == 0 {
		t.Error("the conditions are not computed anew")
	}
	if got := r.addresses.without(); len(got) != 1 || !strings.HasPrefix(got[0], "node e3: ") {
		t.Errorf("without an address: %v", got)
	}
	if in := local(&finding{}, r.addresses.without())[1]; in.Status != metav1.ConditionFalse || !strings.Contains(in.Message, "node e3") {
		t.Errorf("condition of the cluster: %+v", in)
	}
	// A node that leaves makes room.
	if err := c.Delete(t.Context(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "e1"}}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"e1", "e3"} {
		if again, err := r.Reconcile(t.Context(), request(name)); err != nil || again.RequeueAfter > 0 {
			t.Fatalf("%s: %+v, %v", name, again, err)
		}
	}
	if err := c.Get(t.Context(), client.ObjectKey{Name: "east.e3"}, &n); err != nil || n.Spec.TunnelAddress != "100.127.0.1" {
		t.Errorf("e3 has %q, %v", n.Spec.TunnelAddress, err)
	}
	if got := r.addresses.without(); len(got) != 0 {
		t.Errorf("without an address: %v", got)
	}
}
