package dnsoperator

import (
	"testing"

	operatorv1 "github.com/openshift/api/operator/v1"
	operatorfake "github.com/openshift/client-go/operator/clientset/versioned/fake"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kubefake "k8s.io/client-go/kubernetes/fake"

	"github.com/sdn-tunnel/sdn-tunnel/internal/golden"
)

func served() *operatorv1.DNS {
	dns := &operatorv1.DNS{ObjectMeta: metav1.ObjectMeta{Name: "default"}}
	dns.Spec.Servers = []operatorv1.Server{
		{Name: "corp", Zones: []string{"corp.example.com"}, ForwardPlugin: operatorv1.ForwardPlugin{Policy: operatorv1.SequentialForwardingPolicy, Upstreams: []string{"192.0.2.53", "192.0.2.54:5353"}}},
		{Name: "sdn-tunnel", Zones: []string{"cluster.east", "cluster.west"}, ForwardPlugin: operatorv1.ForwardPlugin{Upstreams: []string{"172.30.0.53:53"}}},
	}
	return dns
}

func TestRender(t *testing.T) {
	got, err := Render(served())
	if err != nil {
		t.Fatal(err)
	}
	golden.Check(t, "servers.corefile", got)
}

// TestOnce: the ConfigMap follows the object, and is left alone when nothing differs or
// nobody wants the operator to act.
func TestOnce(t *testing.T) {
	kube, operator := kubefake.NewClientset(), operatorfake.NewClientset(served())
	corefile := func() string {
		cm, err := kube.CoreV1().ConfigMaps("openshift-dns").Get(t.Context(), "dns-default", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return cm.Data["Corefile"]
	}
	for i, want := range []bool{true, false} {
		if changed, err := once(t.Context(), kube, operator); err != nil || changed != want {
			t.Fatalf("pass %d: changed %t, %v", i, changed, err)
		}
	}
	before := corefile()
	for _, state := range []operatorv1.ManagementState{operatorv1.Unmanaged, operatorv1.Managed} {
		bare := served()
		bare.Spec.Servers, bare.Spec.ManagementState = nil, state
		if _, err := operator.OperatorV1().DNSes().Update(t.Context(), bare, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
		acts := state == operatorv1.Managed
		if changed, err := once(t.Context(), kube, operator); err != nil || changed != acts || (corefile() != before) != acts {
			t.Errorf("%s: changed %t, %v", state, changed, err)
		}
	}
	if _, err := once(t.Context(), kube, operatorfake.NewClientset()); err == nil {
		t.Error("an object that is not there is no error")
	}
}
