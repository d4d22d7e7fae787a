package controller_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	networkv1 "github.com/openshift/api/network/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sdn-tunnel/sdn-tunnel/api/v1alpha1"
	"github.com/sdn-tunnel/sdn-tunnel/internal/apitest"
	"github.com/sdn-tunnel/sdn-tunnel/internal/controller"
	"github.com/sdn-tunnel/sdn-tunnel/internal/rights"
)

const agents = "system:serviceaccount:sdn-tunnel:sdn-tunnel"

// template makes the objects of a template of the role.
func (m *member) template(name string, change func(*unstructured.Unstructured)) {
	m.t.Helper()
	path, err := rights.Template(name)
	if err != nil {
		m.t.Fatal(err)
	}
	for _, o := range apitest.Template(m.t, path, map[string]any{"tunnel_appname": "sdn-tunnel", "tunnel_namespace": namespace,
		"tunnel_service_account_name": "sdn-tunnel", "tunnel_cluster": m.name,
		"tunnel_plan": map[string]any{"attachment": m.attachment}}) {
		if change != nil {
			change(o)
		}
		m.create(o)
	}
}

// agent is a client with the rights of the agents and a token that says what extra does.
func (m *member) agent(extra map[string]string) client.Client {
	m.t.Helper()
	cfg := rest.CopyConfig(m.api.Config)
	cfg.Impersonate = rest.ImpersonationConfig{UserName: agents, Groups: []string{"system:authenticated"}, Extra: map[string][]string{}}
	for key, value := range extra {
		cfg.Impersonate.Extra["authentication.kubernetes.io/"+key] = []string{value}
	}
	c, err := client.New(cfg, client.Options{Scheme: m.Scheme(), Mapper: m.RESTMapper()})
	if err != nil {
		m.t.Fatal(err)
	}
	return c
}

// tunnels makes nodes with all that the controller writes, and a mirror.
func (m *member) tunnels() {
	for _, name := range []string{"east.e1", "east.e2", "west.w1"} {
		cluster, node, _ := strings.Cut(name, ".")
		m.create(&v1alpha1.TunnelNode{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{v1alpha1.LabelCluster: cluster}},
			Spec: v1alpha1.TunnelNodeSpec{Cluster: cluster, Node: node, ListenPort: 5555, TunnelAddress: "100.127.0.1",
				Endpoint: &v1alpha1.Endpoint{Host: "203.0.113.1", Port: 5555}}})
	}
}

// attempt is one thing that an agent tries.
type attempt struct {
	name, object, patch string
	create, status      bool
	refusal             string // empty: it may
}

// onlyItsOwn refuses a host subnet.
const onlyItsOwn = "hostSubnets of node e1 may only be what the cluster gave it: [10.128.0.0/23]"

// attempts are those of the agent on node e1, which is to be told from others.
var attempts = []attempt{
	{name: "its own addresses", object: "east.e1", patch: `{"spec":{"nodeAddresses":["192.168.50.11"]}}`},
	{name: "its own status", object: "east.e1", patch: `{"status":{"cable":"wireguard"}}`, status: true},
	{name: "another node", object: "east.e2", patch: `{"spec":{"nodeAddresses":["192.168.50.66"]}}`, refusal: "agent of node e1 may only write the TunnelNode east.e1"},
	{name: "another node's status", object: "east.e2", patch: `{"status":{"cable":"x"}}`, status: true, refusal: "may only write the TunnelNode east.e1"},
	{name: "another cluster's node", object: "west.w1", patch: `{"spec":{"listenPort":1}}`, refusal: "may only write the TunnelNode east.e1"},
	{name: "its endpoint", object: "east.e1", patch: `{"spec":{"endpoint":{"host":"192.0.2.1"}}}`, refusal: "endpoint is the controller's to write"},
	{name: "no endpoint", object: "east.e1", patch: `{"spec":{"endpoint":null}}`, refusal: "endpoint is the controller's to write"},
	{name: "its tunnel address", object: "east.e1", patch: `{"spec":{"tunnelAddress":"100.127.0.9"}}`, refusal: "tunnelAddress is the controller's to write"},
	{name: "its port", object: "east.e1", patch: `{"spec":{"listenPort":1}}`, refusal: "listenPort is the controller's to write"},
	{name: "to be a gateway", object: "east.e1", patch: `{"spec":{"gateway":true}}`, refusal: "gateway is the controller's to write"},
	{name: "its labels", object: "east.e1", patch: `{"metadata":{"labels":{"sdntunnel.io/cluster":"west"}}}`, refusal: "an agent does not touch labels"},
	{name: "a finalizer", object: "east.e1", patch: `{"metadata":{"finalizers":["example.com/stuck"]}}`, refusal: "an agent does not touch finalizers"},
	{name: "an owner", object: "east.e1", patch: `{"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"Node","name":"e1","uid":"x"}]}}`,
		refusal: "an agent does not touch ownerReferences"},
	{name: "its own host subnet", object: "east.e1", patch: `{"spec":{"hostSubnets":["10.128.0.0/23"]}}`},
	{name: "another node's host subnet", object: "east.e1", patch: `{"spec":{"hostSubnets":["10.128.2.0/23"]}}`, refusal: onlyItsOwn},
	{name: "both host subnets", object: "east.e1", patch: `{"spec":{"hostSubnets":["10.128.0.0/23","10.128.2.0/23"]}}`, refusal: onlyItsOwn},
	{name: "a part of a host subnet", object: "east.e1", patch: `{"spec":{"hostSubnets":["10.128.0.0/24"]}}`, refusal: onlyItsOwn},
	{name: "no host subnet", object: "east.e1", patch: `{"spec":{"hostSubnets":null}}`},
	{name: "annotations", object: "east.e1", patch: `{"metadata":{"annotations":{"a":"b"}}}`},
	{name: "a new node of another", object: "east.e9", create: true, refusal: "may only write the TunnelNode east.e1"},
}

// attemptAll tries all, and making the own node anew.
func (m *member) attemptAll(t *testing.T, identity map[string]string) {
	t.Helper()
	agent := m.agent(identity)
	for _, a := range attempts {
		t.Run(a.name, func(t *testing.T) { m.attempt(t, agent, a) })
	}
	if err := m.Delete(t.Context(), &v1alpha1.TunnelNode{ObjectMeta: metav1.ObjectMeta{Name: "east.e1"}}); err != nil {
		t.Fatal(err)
	}
	m.attempt(t, agent, attempt{object: "east.e1", create: true, patch: `{"spec":{"gateway":true}}`, refusal: "gateway is the controller's to write"})
	m.attempt(t, agent, attempt{object: "east.e1", create: true, patch: `{"metadata":{"labels":{"a":"b"}}}`, refusal: "an agent does not touch labels"})
	m.attempt(t, agent, attempt{object: "east.e1", create: true, patch: `{"spec":{"hostSubnets":["10.128.2.0/23"]}}`, refusal: onlyItsOwn})
	m.attempt(t, agent, attempt{object: "east.e1", create: true, patch: `{"spec":{"hostSubnets":["10.128.0.0/23"]}}`})
	if err := m.Delete(t.Context(), &v1alpha1.TunnelNode{ObjectMeta: metav1.ObjectMeta{Name: "east.e1"}}); err != nil {
		t.Fatal(err)
	}
}

func (m *member) attempt(t *testing.T, agent client.Client, a attempt) {
	t.Helper()
	cluster, node, _ := strings.Cut(a.object, ".")
	n := &v1alpha1.TunnelNode{ObjectMeta: metav1.ObjectMeta{Name: a.object}, Spec: v1alpha1.TunnelNodeSpec{Cluster: cluster, Node: node}}
	var err error
	switch patch := client.RawPatch(types.MergePatchType, []byte(a.patch)); {
	case a.create:
		if a.patch != "" {
			if err := json.Unmarshal([]byte(a.patch), n); err != nil {
				t.Fatal(err)
			}
		}
		err = agent.Create(t.Context(), n)
	case a.status:
		err = agent.Status().Patch(t.Context(), n, patch)
	default:
		err = agent.Patch(t.Context(), n, patch)
	}
	if (err == nil) != (a.refusal == "") || err != nil && !strings.Contains(err.Error(), a.refusal) {
		t.Errorf("%s %s: got %v, want %q", a.object, a.patch, err, a.refusal)
	}
}

// sdnMember is a cluster of OpenShift SDN.
func sdnMember(t *testing.T, name string) *member {
	t.Helper()
	m := newMember(t, name, "../agent/testdata/hostsubnets.yaml")
	m.attachment = "ovs"
	return m
}

// grantAgents makes two nodes, and gives the agents the rights that the deploy gives them.
func (m *member) grantAgents() {
	m.t.Helper()
	m.grant("agent-rbac.yml.j2", agents)
	for name, subnet := range map[string]string{"e1": "10.128.0.0/23", "e2": "10.128.2.0/23"} {
		n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.NodeSpec{PodCIDR: subnet, PodCIDRs: []string{subnet}}}
		if m.attachment == "ovs" { // what matters there is the HostSubnet
			n.Spec = corev1.NodeSpec{}
			m.create(&networkv1.HostSubnet{ObjectMeta: metav1.ObjectMeta{Name: name}, Host: name, HostIP: "192.0.2.1", Subnet: subnet})
		}
		m.create(n)
	}
}

// TestAdmissionPolicy: the policy refuses what the table says.
func TestAdmissionPolicy(t *testing.T) {
	m := sdnMember(t, "east")
	m.grantAgents()
	m.tunnels()
	m.template("admission.yml.j2", nil)
	agent := m.agent(map[string]string{"node-name": "e1"})
	eventually(t, "the policy is in force", m.refused(agent, "east.e2", `{"spec":{"nodeAddresses":["192.168.50.66"]}}`))
	eventually(t, "that of host subnets, too", m.refused(agent, "east.e1", `{"spec":{"hostSubnets":["10.128.2.0/23"]}}`))
	eventually(t, "that of new objects, too", m.refusedNew(agent))
	m.attemptAll(t, map[string]string{"node-name": "e1"})
	m.attempt(t, m.agent(nil), attempt{object: "east.e2", patch: `{"spec":{"nodeAddresses":[]}}`, refusal: "names no node"})
}

// refused waits until an agent's write is refused.
func (m *member) refused(agent client.Client, name, patch string) func() string {
	return func() string {
		err := agent.Patch(m.t.Context(), &v1alpha1.TunnelNode{ObjectMeta: metav1.ObjectMeta{Name: name}},
			client.RawPatch(types.MergePatchType, []byte(patch)), client.DryRunAll)
		if err == nil || !strings.Contains(err.Error(), "may only") {
			return fmt.Sprint(err)
		}
		return ""
	}
}

// refusedNew waits until an object that has no label yet is refused host subnets of others,
// by a binding of its own. That it is there already would be found later.
func (m *member) refusedNew(agent client.Client) func() string {
	return func() string {
		n := &v1alpha1.TunnelNode{ObjectMeta: metav1.ObjectMeta{Name: "east.e1"},
			Spec: v1alpha1.TunnelNodeSpec{Cluster: "east", Node: "e1", HostSubnets: []v1alpha1.CIDR{"10.128.2.0/23"}}}
		err := agent.Create(m.t.Context(), n, client.DryRunAll)
		if err == nil || !strings.Contains(err.Error(), onlyItsOwn) {
			return fmt.Sprint(err)
		}
		return ""
	}
}

// TestAdmissionWebhook: where there is no policy, the controller's webhook refuses the
// same, also by the pod of a token that names no node; without a controller nothing is
// written, and all can be deleted.
func TestAdmissionWebhook(t *testing.T) {
	t.Run("OpenShift SDN", func(t *testing.T) { admissionWebhook(t, sdnMember(t, "east")) })
	t.Run("another network", func(t *testing.T) { admissionWebhook(t, newMember(t, "east")) })
}

func admissionWebhook(t *testing.T, m *member) {
	m.grantAgents()
	m.tunnels()
	ports, err := apitest.FreePorts(1)
	if err != nil {
		t.Fatal(err)
	}
	port := int(ports[0])
	m.webhook = controller.WebhookOptions{Port: port, Service: "sdn-tunnel-webhook", Configuration: "sdn-tunnel-agent",
		AgentServiceAccount: "sdn-tunnel", Names: []string{"127.0.0.1"}}
	m.template("admission-webhook.yml.j2", func(o *unstructured.Unstructured) { // there is no network of services here
		if hooks, ok, _ := unstructured.NestedSlice(o.Object, "webhooks"); ok {
			hooks[0].(map[string]any)["clientConfig"] = map[string]any{"url": fmt.Sprintf("https://127.0.0.1:%d/tunnelnodes", port)}
			o.Object["webhooks"] = hooks
		}
	})
	stop := m.start(nil)
	running := true
	defer func() {
		if running {
			stop()
		}
	}()
	agent := m.agent(map[string]string{"node-name": "e1"})
	eventually(t, "the webhook is in force", m.refused(agent, "east.e2", `{"spec":{"nodeAddresses":["192.168.50.66"]}}`))

	t.Run("by node", func(t *testing.T) { m.attemptAll(t, map[string]string{"node-name": "e1"}) })
	t.Run("by pod", func(t *testing.T) { byPod(t, m) })
	stop()
	running = false
	t.Run("without a controller", func(t *testing.T) {
		m.attempt(t, agent, attempt{object: "east.e2", patch: `{"spec":{"nodeAddresses":["192.168.50.1"]}}`, refusal: "failed calling webhook"})
		m.linked("west", "10.132.0.0/14", "100.127.4.0/22", "", "")
		if err := m.DeleteAllOf(t.Context(), &v1alpha1.TunnelNode{}); err != nil {
			t.Error(err)
		}
	})
}

// byPod: before 1.30 a token names its pod, and the pod its node.
func byPod(t *testing.T, m *member) {
	pod := func(name, account string) *corev1.Pod {
		p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
			Spec: corev1.PodSpec{NodeName: "e1", ServiceAccountName: account, Containers: []corev1.Container{{Name: "c", Image: "i"}}}}
		m.create(p)
		return p
	}
	one, other := pod("agent-1", "sdn-tunnel"), pod("other", "default")
	m.create(&v1alpha1.TunnelNode{ObjectMeta: metav1.ObjectMeta{Name: "east.e1", Labels: map[string]string{v1alpha1.LabelCluster: "east"}},
		Spec: v1alpha1.TunnelNodeSpec{Cluster: "east", Node: "e1", ListenPort: 5555, TunnelAddress: "100.127.0.1",
			Endpoint: &v1alpha1.Endpoint{Host: "203.0.113.1", Port: 5555}}})
	m.attemptAll(t, map[string]string{"pod-name": one.Name, "pod-uid": string(one.UID)})
	const patch = `{"spec":{"nodeAddresses":["192.168.50.2"]}}`
	for name, identity := range map[string]map[string]string{
		"no pod":                {},
		"a pod made anew":       {"pod-name": one.Name, "pod-uid": "another"},
		"a pod that is gone":    {"pod-name": "gone", "pod-uid": "x"},
		"a pod without its uid": {"pod-name": one.Name},
		"a pod of another":      {"pod-name": other.Name, "pod-uid": string(other.UID)},
	} {
		t.Run(name, func(t *testing.T) {
			m.attempt(t, m.agent(identity), attempt{object: "east.e2", patch: patch, refusal: "names no node, and no pod"})
		})
	}
}
