package sdn

import (
	"fmt"
	"os"
	"strings"
	"testing"

	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sdn-tunnel/sdn-tunnel/internal/lab/sdn/tables"
)

func sandbox(name string) string { return fmt.Sprintf("sdnp%d-%s", os.Getpid(), name) }

func TestMultitenant(t *testing.T) {
	c := newCluster(t, tables.Multitenant)
	a, b := c.nodes[0], c.nodes[1]
	red1, red2 := a.addPod(sandbox("red1"), "red"), a.addPod(sandbox("red2"), "red")
	redB, blueB := b.addPod(sandbox("redb"), "red"), b.addPod(sandbox("blueb"), "blue")
	global := b.addPod(sandbox("default"), "default")

	reaches(t, red1.sandbox, red2.ip)
	reaches(t, red1.sandbox, redB.ip)
	reaches(t, a.ns, red1.ip)
	reaches(t, a.ns, blueB.ip)
	reaches(t, red1.sandbox, global.ip)
	reaches(t, global.sandbox, blueB.ip)
	refused(t, red1.sandbox, blueB.ip)
	refused(t, redB.sandbox, blueB.ip)
	if out, err := a.cni("CHECK", red1.sandbox, "red"); err != nil {
		t.Errorf("CNI CHECK: %v: %s", err, out)
	}

	t.Run("daemon restarted: the bridge and foreign flows are kept", func(t *testing.T) {
		a.ofctl("add-flow", bridge, "cookie=0x73646e74756e0001,table=30,priority=350,ip,nw_dst=10.132.0.0/14,actions=drop")
		stop(a.daemon)
		a.startDaemon(tables.Multitenant, c.file)
		added := a.addPod(sandbox("red3"), "red")
		reaches(t, red1.sandbox, added.ip)
		reaches(t, red1.sandbox, redB.ip)
		if !strings.Contains(a.ofctl("dump-flows", bridge, "table=30"), "nw_dst=10.132.0.0/14") {
			t.Error("the foreign flow is gone")
		}
	})
	t.Run("ovs-vswitchd restarted: everything is made again", func(t *testing.T) {
		stop(a.vswitchd)
		a.startSwitch()
		reaches(t, red1.sandbox, redB.ip)
		reaches(t, a.ns, red1.ip)
		refused(t, red1.sandbox, blueB.ip)
	})
	t.Run("bridge deleted: everything is made again", func(t *testing.T) {
		if out, err := a.in("ovs-vsctl", "--timeout=5", "--db=unix:"+a.dir+"/db.sock", "del-br", bridge).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		reaches(t, red1.sandbox, redB.ip)
		reaches(t, a.ns, red2.ip)
	})
	t.Run("pod deleted twice", func(t *testing.T) {
		for range 2 {
			if out, err := a.cni("DEL", red2.sandbox, "red"); err != nil {
				t.Fatalf("CNI DEL: %v: %s", err, out)
			}
		}
		if strings.Contains(a.ofctl("dump-flows", bridge), red2.ip+" ") {
			t.Error("flows of the pod are left")
		}
		refused(t, red1.sandbox, red2.ip)
	})
}

func TestNetworkPolicy(t *testing.T) {
	c := newCluster(t, tables.NetworkPolicy)
	a, b := c.nodes[0], c.nodes[1]
	red, redB := a.addPod(sandbox("nred"), "red"), b.addPod(sandbox("nredb"), "red")
	blue, blueB := a.addPod(sandbox("nblue"), "blue"), b.addPod(sandbox("nblueb"), "blue")
	reaches(t, blueB.sandbox, red.ip)

	c.state.Policies = []*networkingv1.NetworkPolicy{{
		ObjectMeta: metav1.ObjectMeta{Namespace: "red", Name: "same-namespace"},
		Spec: networkingv1.NetworkPolicySpec{Ingress: []networkingv1.NetworkPolicyIngressRule{{
			From: []networkingv1.NetworkPolicyPeer{{PodSelector: &metav1.LabelSelector{}}},
		}}},
	}}
	c.write(t)
	eventually(t, "isolation", func() error {
		if ping(blue.sandbox, red.ip) == nil || ping(blueB.sandbox, red.ip) == nil {
			return fmt.Errorf("another namespace still reaches the isolated one")
		}
		return nil
	})
	reaches(t, redB.sandbox, red.ip)
	reaches(t, red.sandbox, blueB.ip)
	reaches(t, a.ns, red.ip)
}
