package controller_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/sdn-tunnel/sdn-tunnel/api/v1alpha1"
	"github.com/sdn-tunnel/sdn-tunnel/internal/nodeservice"
	"github.com/sdn-tunnel/sdn-tunnel/internal/peeraccess"
	"github.com/sdn-tunnel/sdn-tunnel/internal/version"
)

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

func TestTwoMembers(t *testing.T) {
	east, west := twoMembers(t)
	east.node("east-1", "192.168.50.11")
	east.node("east-2", "192.168.50.12")
	west.node("west-1", "192.168.60.11")
	east.run()
	stopWest := west.run()

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
		stopWest() // a controller that cannot renew its lease ends, and west's is in the API that goes
		west.api.StopAPI()
		eventually(t, "condition", east.condition("west", v1alpha1.ConditionReachable, metav1.ConditionFalse, "west"))
		if east.tunnelNode("west.west-1") == nil {
			t.Error("the mirror is gone")
		}
		west.api.StartAPI(t)
		west.run()
		eventually(t, "condition", east.condition("west", v1alpha1.ConditionReachable, metav1.ConditionTrue, ""))
	})
	t.Run("an identity that is revoked is named in plain words", func(t *testing.T) { revoked(t, east, west) })
	t.Run("events on the member say it all", func(t *testing.T) { eventsSay(t, east) })
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
	for path, want := range map[string]string{"/healthz": "ok", "/readyz": "ok", "/metrics": `sdntunnel_member_nodes{cluster="east"} 2`} {
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

// eventsSay: what happened to west, as `kubectl describe linkedcluster west` finds it.
func eventsSay(t *testing.T, east *member) {
	var lc v1alpha1.LinkedCluster
	if err := east.Get(t.Context(), client.ObjectKey{Name: "west"}, &lc); err != nil {
		t.Fatal(err)
	}
	lines := ""
	eventually(t, "events", func() string {
		var all corev1.EventList
		if err := east.List(t.Context(), &all, client.MatchingFields{"involvedObject.kind": "LinkedCluster",
			"involvedObject.name": "west", "involvedObject.uid": string(lc.UID)}); err != nil {
			t.Fatal(err)
		}
		lines = ""
		for _, e := range all.Items {
			lines += e.Type + " " + e.Reason + ": " + e.Message + "\n"
		}
		for _, want := range []string{"Warning Unreachable: ", "Warning Refused: ", "Normal Reachable: the API server answers again",
			"Normal AccessRenewed: west is read with a new token, until 20"} {
			if !strings.Contains(lines, want) {
				return want + " is not in\n" + lines
			}
		}
		return ""
	})
	t.Logf("%d events:\n%s", strings.Count(lines, "\n"), lines)
	if strings.Contains(lines, "NoAccess") {
		t.Error("a member that was not looked at yet was said to have no access")
	}
	if strings.Contains(lines, "eyJ") || strings.Count(lines, "\n") > 15 {
		t.Error("too many, or one has a token")
	}
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
	eventually(t, "the new token's life is said", func() string {
		var lc v1alpha1.LinkedCluster
		if err := east.Get(t.Context(), client.ObjectKey{Name: "west"}, &lc); err != nil {
			return err.Error()
		}
		if a := lc.Status.Access; a == nil || !a.Expires.Time.Equal(fresh.Expiry) || lc.Status.ControllerVersion != version.Version {
			return fmt.Sprintf("%+v", lc.Status)
		}
		return ""
	})
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
