package facts

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	configv1 "github.com/openshift/api/config/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/version"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/sdn-tunnel/sdn-tunnel/internal/meshplan"
)

func text(ps []netip.Prefix) string {
	var out []string
	for _, p := range ps {
		out = append(out, p.String())
	}
	return strings.Join(out, " ")
}

func TestParseVersion(t *testing.T) {
	for _, tt := range []struct {
		major, minor string
		want         [2]int // {0, 0}: an error
	}{
		{"1", "24", [2]int{1, 24}},
		{"1", "27+", [2]int{1, 27}},
		{"1", "30-eks", [2]int{1, 30}},
		{"", "", [2]int{}},
		{"v1", "x", [2]int{}},
	} {
		major, minor, err := parseVersion(&version.Info{Major: tt.major, Minor: tt.minor, GitVersion: "v1.2.3"})
		if [2]int{major, minor} != tt.want || (err != nil) != (tt.want == [2]int{}) {
			t.Errorf("%q.%q: %d.%d, %v", tt.major, tt.minor, major, minor, err)
		}
	}
}

func TestFromNetwork(t *testing.T) {
	entries := func(cidrs ...string) (out []configv1.ClusterNetworkEntry) {
		for _, c := range cidrs {
			out = append(out, configv1.ClusterNetworkEntry{CIDR: c, HostPrefix: 23})
		}
		return out
	}
	for _, tt := range []struct {
		name                 string
		network              configv1.Network
		kind, pods, services string
		err                  string
	}{
		{"the status goes before the spec", configv1.Network{
			Spec:   configv1.NetworkSpec{NetworkType: "OVNKubernetes", ClusterNetwork: entries("10.0.0.0/14"), ServiceNetwork: []string{"10.96.0.0/16"}},
			Status: configv1.NetworkStatus{NetworkType: "OpenShiftSDN", ClusterNetwork: entries("10.128.0.0/14", "10.140.0.0/14"), ServiceNetwork: []string{"172.30.0.0/16"}},
		}, "OpenShiftSDN", "10.128.0.0/14 10.140.0.0/14", "172.30.0.0/16", ""},
		{"a new cluster has a spec only", configv1.Network{
			Spec: configv1.NetworkSpec{NetworkType: "OpenShiftSDN", ClusterNetwork: entries("10.128.0.1/14"), ServiceNetwork: []string{"172.30.0.0/16"}},
		}, "OpenShiftSDN", "10.128.0.0/14", "172.30.0.0/16", ""},
		{"nothing", configv1.Network{}, "", "", "", ""},
		{"a bad pod network", configv1.Network{Spec: configv1.NetworkSpec{ClusterNetwork: entries("10.128/14")}},
			"", "", "", "networks.config.openshift.io cluster: clusterNetwork"},
		{"a bad service network", configv1.Network{Status: configv1.NetworkStatus{ServiceNetwork: []string{"x"}}},
			"", "", "", "networks.config.openshift.io cluster: serviceNetwork"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := fromNetwork(&tt.network)
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("got %v, want %q", err, tt.err)
				}
				return
			}
			if err != nil || got.platform != meshplan.OpenShift || got.networkType != tt.kind || text(got.pods) != tt.pods || text(got.services) != tt.services {
				t.Errorf("got %+v, %v", got, err)
			}
		})
	}
}

func TestCover(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"", ""},
		{"10.244.0.0/24", "10.244.0.0/24"},
		{"10.244.0.0/24 10.244.1.0/24", "10.244.0.0/23"},
		{"10.244.3.0/24 10.244.0.0/24", "10.244.0.0/22"},
		{"10.244.0.0/16 10.244.1.0/24", "10.244.0.0/16"},
		{"10.244.1.0/24 10.244.0.0/16", "10.244.0.0/16"},
		{"10.244.0.0/24 fd00:1::/64 fd00:2::/64", "10.244.0.0/24 fd00::/30"},
	} {
		in, err := prefixes(strings.Fields(tt.in)...)
		if err != nil {
			t.Fatal(err)
		}
		if got := text(cover(in)); got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.in, got, tt.want)
		}
	}
}

func controlPlanePod(component string, command ...string) runtime.Object {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: component, Namespace: "kube-system", Labels: map[string]string{"component": component}},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{Command: command}}}}
}

// TestVanilla: the places where installers leave the networks, one by one.
func TestVanilla(t *testing.T) {
	kubeadm := func(content string) runtime.Object {
		return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "kubeadm-config", Namespace: "kube-system"},
			Data: map[string]string{"ClusterConfiguration": content}}
	}
	node := func(name, cidr string) runtime.Object {
		return &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.NodeSpec{PodCIDR: cidr}}
	}
	for _, tt := range []struct {
		name           string
		objects        []runtime.Object
		pods, services string
		err            string
	}{
		{"nothing", nil, "", "", ""},
		{"kubeadm", []runtime.Object{kubeadm("networking:\n  podSubnet: 10.244.0.0/16,fd00::/48\n  serviceSubnet: 10.96.0.0/12\n")},
			"10.244.0.0/16 fd00::/48", "10.96.0.0/12", ""},
		{"the control plane's flags", []runtime.Object{
			controlPlanePod("kube-controller-manager", "kube-controller-manager", "--cluster-cidr=10.244.0.0/16"),
			controlPlanePod("kube-apiserver", "kube-apiserver", "--service-cluster-ip-range=10.96.0.0/12"),
		}, "10.244.0.0/16", "10.96.0.0/12", ""},
		{"the nodes' ranges are the last resort", []runtime.Object{
			controlPlanePod("kube-apiserver", "kube-apiserver", "--service-cluster-ip-range=10.96.0.0/12"),
			node("a", "10.244.0.0/24"), node("b", "10.244.1.0/24")},
			"10.244.0.0/23", "10.96.0.0/12", ""},
		{"kubeadm's goes first", []runtime.Object{kubeadm("networking: {podSubnet: 10.244.0.0/16}"), node("a", "10.1.0.0/24")},
			"10.244.0.0/16", "", ""},
		{"kubeadm's is no YAML", []runtime.Object{kubeadm("networking: [")}, "", "", "ConfigMap kubeadm-config: ClusterConfiguration"},
		{"kubeadm's is no prefix", []runtime.Object{kubeadm("networking: {podSubnet: 10.244}")}, "", "", "ConfigMap kubeadm-config"},
		{"a flag is no prefix", []runtime.Object{controlPlanePod("kube-controller-manager", "--cluster-cidr=x")}, "", "", "the control plane's flags"},
		{"a node's range is no prefix", []runtime.Object{node("a", "x")}, "", "", "node a: podCIDRs"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := vanilla(t.Context(), fake.NewClientset(tt.objects...))
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("got %v, want %q", err, tt.err)
				}
				return
			}
			if err != nil || got.platform != meshplan.Kubernetes || text(got.pods) != tt.pods || text(got.services) != tt.services {
				t.Errorf("got %+v, %v", got, err)
			}
		})
	}
}

func TestNodeFacts(t *testing.T) {
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "a"},
		Spec: corev1.NodeSpec{Unschedulable: true, PodCIDRs: []string{"10.244.0.0/24"}},
		Status: corev1.NodeStatus{
			Addresses: []corev1.NodeAddress{
				{Type: corev1.NodeHostName, Address: "a"}, {Type: corev1.NodeInternalIP, Address: "192.168.50.11"},
				{Type: corev1.NodeInternalIP, Address: "a.example"}, {Type: corev1.NodeExternalIP, Address: "203.0.113.1"}},
			Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}},
		}}
	got := nodeFacts(n, nil)
	if got.Schedulable || !got.Ready || len(got.InternalIPs) != 1 || len(got.ExternalIPs) != 1 || text(got.HostSubnets) != "10.244.0.0/24" {
		t.Errorf("without OpenShift SDN: %+v", got)
	}
	sdn := map[string][]netip.Prefix{"a": {netip.MustParsePrefix("10.128.0.0/23")}}
	if got := nodeFacts(n, sdn); !slices.Equal(got.HostSubnets, sdn["a"]) {
		t.Errorf("with it: %v", got.HostSubnets)
	}
	if got := nodeFacts(n, map[string][]netip.Prefix{}); got.HostSubnets != nil {
		t.Errorf("a node that OpenShift SDN has not given one: %v", got.HostSubnets)
	}
}
