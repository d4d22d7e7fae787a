package facts_test

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"

	configv1 "github.com/openshift/api/config/v1"
	networkv1 "github.com/openshift/api/network/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sdn-tunnel/sdn-tunnel/api/v1alpha1"
	"github.com/sdn-tunnel/sdn-tunnel/internal/apitest"
	"github.com/sdn-tunnel/sdn-tunnel/internal/facts"
	"github.com/sdn-tunnel/sdn-tunnel/internal/meshplan"
)

// TestGather reads a real API server that becomes one kind of cluster after the other.
func TestGather(t *testing.T) {
	s := apitest.Start(t, apitest.ModuleFiles(t, "github.com/openshift/api", "config/v1/zz_generated.crd-manifests/*_networks.crd.yaml",
		"network/v1/zz_generated.crd-manifests/*_clusternetworks.crd.yaml", "network/v1/zz_generated.crd-manifests/*_hostsubnets.crd.yaml")...)
	admin := s.Client(t, clientgoscheme.AddToScheme, v1alpha1.AddToScheme, configv1.Install, networkv1.Install)
	create := func(objects ...client.Object) {
		t.Helper()
		for _, o := range objects {
			if err := admin.Create(t.Context(), o); err != nil {
				t.Fatalf("create %T %s: %v", o, o.GetName(), err)
			}
		}
	}

	t.Run("nothing tells the pod networks", func(t *testing.T) {
		_ = refused(t, s.Config, facts.Given{Name: "east"}, "podCIDRs", "looked at networks.config.openshift.io", "set pod_cidrs")
	})
	t.Run("what the operator says is enough", func(t *testing.T) {
		got := gather(t, s.Config, facts.Given{Name: "east", PodCIDRs: []netip.Prefix{netip.MustParsePrefix("10.244.0.0/16")}})
		if got.Platform != meshplan.Kubernetes || len(got.Nodes) != 0 || got.Major != 1 || got.Minor < 24 || len(got.ServiceCIDRs) != 1 {
			t.Errorf("got %+v", got)
		}
	})
	t.Run("forbidden", func(t *testing.T) {
		err := refused(t, s.User(t, "nobody"), facts.Given{Name: "east"}, "rights", `"nobody"`, "use an account that may read")
		if !apierrors.IsForbidden(err) {
			t.Errorf("the cause is lost: %v", err)
		}
	})
	t.Run("another Kubernetes", func(t *testing.T) {
		labels := map[string]string{"a": "b"}
		create(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1"}, Spec: corev1.NodeSpec{PodCIDR: "10.244.0.0/24", PodCIDRs: []string{"10.244.0.0/24"}}},
			&appsv1.DaemonSet{ObjectMeta: metav1.ObjectMeta{Name: "calico-node", Namespace: "default"}, Spec: appsv1.DaemonSetSpec{
				Selector: &metav1.LabelSelector{MatchLabels: labels},
				Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels},
					Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "i"}}}}}})
		got := gather(t, s.Config, facts.Given{Name: "east"})
		want := []netip.Prefix{netip.MustParsePrefix("10.244.0.0/24")}
		if got.NetworkType != "Calico" || !slices.Equal(got.PodCIDRs, want) || len(got.Nodes) != 1 || !slices.Equal(got.Nodes[0].HostSubnets, want) {
			t.Errorf("got %+v", got)
		}
	})

	network := &configv1.Network{ObjectMeta: metav1.ObjectMeta{Name: "cluster"}, Spec: configv1.NetworkSpec{NetworkType: "OpenShiftSDN"}}
	t.Run("OpenShift without its ClusterNetwork", func(t *testing.T) {
		create(network)
		_, err := facts.Gather(t.Context(), s.Config, "east")
		if err == nil || !strings.Contains(err.Error(), "clusternetworks.network.openshift.io default") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("OpenShift SDN's own objects", func(t *testing.T) {
		create(&networkv1.ClusterNetwork{ObjectMeta: metav1.ObjectMeta{Name: "default"}, Network: "10.128.0.0/14", HostSubnetLength: 9,
			ServiceNetwork: "172.30.0.0/16", ClusterNetworks: []networkv1.ClusterNetworkEntry{{CIDR: "10.128.0.0/14", HostSubnetLength: 9}}},
			&networkv1.HostSubnet{ObjectMeta: metav1.ObjectMeta{Name: "n1"}, Host: "n1", HostIP: "192.168.50.11", Subnet: "10.128.0.0/23"},
			&v1alpha1.LinkedCluster{ObjectMeta: metav1.ObjectMeta{Name: "east"}, Spec: v1alpha1.LinkedClusterSpec{
				PodCIDRs: []v1alpha1.CIDR{"10.128.0.0/14"}, TunnelCIDR: "100.127.8.0/22"}})
		openShiftSDN(t, gather(t, s.Config, facts.Given{Name: "east"}))
	})
	t.Run("OpenShift's Network", func(t *testing.T) {
		network.Status = configv1.NetworkStatus{NetworkType: "OpenShiftSDN", ServiceNetwork: []string{"172.30.0.0/16"},
			ClusterNetwork: []configv1.ClusterNetworkEntry{{CIDR: "10.128.0.0/14", HostPrefix: 23}}}
		if err := admin.Update(t.Context(), network); err != nil {
			t.Fatal(err)
		}
		openShiftSDN(t, gather(t, s.Config, facts.Given{Name: "east"}))
	})
	t.Run("another network type is told as it is", func(t *testing.T) {
		network.Status.NetworkType = "OVNKubernetes"
		if err := admin.Update(t.Context(), network); err != nil {
			t.Fatal(err)
		}
		if got := gather(t, s.Config, facts.Given{Name: "east"}); got.Platform != meshplan.OpenShift || got.NetworkType != "OVNKubernetes" {
			t.Errorf("got %+v", got)
		}
	})
	t.Run("no answer", func(t *testing.T) {
		s.StopAPI()
		_, err := facts.Gather(t.Context(), s.Config, "east")
		if err == nil || !strings.Contains(err.Error(), "cluster east") {
			t.Errorf("got %v", err)
		}
	})
}

func gather(t *testing.T, cfg *rest.Config, given facts.Given) meshplan.Facts {
	t.Helper()
	got, err := facts.GatherWith(t.Context(), cfg, given)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// refused wants an Error about field whose message has the texts.
func refused(t *testing.T, cfg *rest.Config, given facts.Given, field string, texts ...string) error {
	t.Helper()
	_, err := facts.GatherWith(context.Background(), cfg, given)
	var e *facts.Error
	if !errors.As(err, &e) || e.Field != field || e.Cluster != given.Name {
		t.Fatalf("got %v, want an error about %s", err, field)
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("%q is not in: %v", text, err)
		}
	}
	return err
}

func openShiftSDN(t *testing.T, got meshplan.Facts) {
	t.Helper()
	if got.Platform != meshplan.OpenShift || got.NetworkType != "OpenShiftSDN" ||
		!slices.Equal(got.PodCIDRs, []netip.Prefix{netip.MustParsePrefix("10.128.0.0/14")}) ||
		!slices.Equal(got.ServiceCIDRs, []netip.Prefix{netip.MustParsePrefix("172.30.0.0/16")}) ||
		len(got.Nodes) != 1 || !slices.Equal(got.Nodes[0].HostSubnets, []netip.Prefix{netip.MustParsePrefix("10.128.0.0/23")}) ||
		got.TunnelCIDRs["east"] != netip.MustParsePrefix("100.127.8.0/22") {
		t.Errorf("got %+v", got)
	}
}
