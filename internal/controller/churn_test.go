package controller_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sdn-tunnel/sdn-tunnel/api/v1alpha1"
	"github.com/sdn-tunnel/sdn-tunnel/internal/mesh"
	"github.com/sdn-tunnel/sdn-tunnel/internal/meshobj"
)

const (
	churned = 20
	atOnce  = 5 // that are there beside the ones that stay
)

// agentOf does the share of a node's agent: its key and its subnet, which are its own.
func (m *member) agentOf(node string, n byte) {
	m.t.Helper()
	patch := fmt.Sprintf(`{"apiVersion":%q,"kind":"TunnelNode","metadata":{"name":"%s.%s"},"spec":{"cluster":%[2]q,"node":%[3]q,"publicKey":%[4]q,"hostSubnets":["10.%[5]d.%[6]d.0/23"]}}`,
		v1alpha1.GroupVersion.String(), m.name, node, mesh.Key{n, m.name[0]}.String(), map[string]int{"east": 128, "west": 132}[m.name], 2*n)
	o := &v1alpha1.TunnelNode{ObjectMeta: metav1.ObjectMeta{Name: m.name + "." + node}}
	if err := m.Patch(m.t.Context(), o, client.RawPatch("application/apply-patch+yaml", []byte(patch)),
		client.FieldOwner(v1alpha1.ManagerAgent), client.ForceOwnership); err != nil {
		m.t.Fatal(err)
	}
}

// plan is what the agent of a node of this member makes of the objects that are there.
func (m *member) plan(node string) mesh.DataPlane {
	m.t.Helper()
	var clusters v1alpha1.LinkedClusterList
	var nodes v1alpha1.TunnelNodeList
	for _, list := range []client.ObjectList{&clusters, &nodes} {
		if err := m.List(m.t.Context(), list); err != nil {
			m.t.Fatal(err)
		}
	}
	view, _ := meshobj.FromObjects(clusters.Items, nodes.Items, mesh.Ref{Cluster: m.name, Node: node}, 5555)
	return mesh.Compute(view)
}

// peer is one peer of a plan, in words; empty: it is none.
func peer(dp mesh.DataPlane, of string) string {
	for _, p := range dp.Peers {
		if p.Ref.String() == of {
			return fmt.Sprintf("%+v", p)
		}
	}
	return ""
}

// holds is what there is in a member: names, and of TunnelNodes what they say.
func (m *member) holds() (all []string) {
	m.t.Helper()
	var services corev1.ServiceList
	var endpoints discoveryv1.EndpointSliceList
	var nodes v1alpha1.TunnelNodeList
	for _, list := range []client.ObjectList{&services, &endpoints, &nodes} {
		if err := m.List(m.t.Context(), list); err != nil {
			m.t.Fatal(err)
		}
	}
	for _, s := range services.Items {
		all = append(all, fmt.Sprintf("Service %s/%s %s generation %d", s.Namespace, s.Name, s.UID, s.Generation))
	}
	for _, s := range endpoints.Items {
		all = append(all, fmt.Sprintf("EndpointSlice %s/%s %s generation %d", s.Namespace, s.Name, s.UID, s.Generation))
	}
	for _, n := range nodes.Items {
		all = append(all, fmt.Sprintf("TunnelNode %s %s generation %d %s", n.Name, n.UID, n.Generation, n.Spec.TunnelAddress))
	}
	slices.Sort(all)
	return all
}

// slowest keeps the longest of some times.
type slowest time.Duration

func (s *slowest) note(began time.Time) {
	*s = max(*s, slowest(time.Since(began)))
}

// TestChurn: twenty nodes join and leave, a few at once and more in all than there are
// tunnel addresses. Nothing of them is left in either cluster, what there is of the others
// is not written, and at no time does anything change between them.
func TestChurn(t *testing.T) {
	east, west := twoMembers(t)
	for _, m := range []*member{east, west} {
		var lc v1alpha1.LinkedCluster
		if err := m.Get(t.Context(), client.ObjectKey{Name: "east"}, &lc); err != nil {
			t.Fatal(err)
		}
		lc.Spec.TunnelCIDR = "100.127.0.0/29"
		if err := m.Update(t.Context(), &lc); err != nil {
			t.Fatal(err)
		}
		m.node(m.name+"-1", map[string]string{"east": "192.168.50.10", "west": "192.168.60.10"}[m.name])
		m.run()
	}
	for _, m := range []*member{east, west} {
		eventually(t, "its own node", m.complete(m.name+"."+m.name+"-1"))
		m.agentOf(m.name+"-1", 1)
	}
	eventually(t, "the pair that stays", func() string {
		if peer(east.plan("east-1"), "west.west-1") == "" || peer(west.plan("west-1"), "east.east-1") == "" {
			return "they are no peers"
		}
		return ""
	})
	before := [2][]string{east.holds(), west.holds()}

	stop, undisturbed := make(chan struct{}), sync.WaitGroup{}
	var looks atomic.Int32
	for _, pair := range []struct {
		m          *member
		self, peer string
	}{{east, "east-1", "west.west-1"}, {west, "west-1", "east.east-1"}} {
		want := peer(pair.m.plan(pair.self), pair.peer)
		undisturbed.Go(func() {
			for {
				select {
				case <-stop:
					return
				case <-time.After(100 * time.Millisecond):
				}
				looks.Add(1)
				if got := peer(pair.m.plan(pair.self), pair.peer); got != want {
					t.Errorf("for %s peer %s was %s and is %s", pair.self, pair.peer, want, got)
					return
				}
			}
		})
	}
	joining, leaving := comeAndGo(t, east, west)
	eventually(t, "nothing of them is left", func() string {
		return cmp.Diff(before, [2][]string{east.holds(), west.holds()})
	})
	close(stop)
	undisturbed.Wait()
	t.Logf("%d joins of at most %.2f s until all know the node, and as many leaves of at most %.2f s until nobody has anything of it; the pair that stays was looked at %d times",
		churned, time.Duration(joining).Seconds(), time.Duration(leaving).Seconds(), looks.Load())
	eventually(t, "no member misses anything", east.condition("east", v1alpha1.ConditionInSync, metav1.ConditionTrue, "every node"))
	eventually(t, "no mirror is behind", west.condition("east", v1alpha1.ConditionInSync, metav1.ConditionTrue, "1 nodes"))
}

// comeAndGo has nodes join and leave east, and gives the longest that anyone took to know.
func comeAndGo(t *testing.T, east, west *member) (joining, leaving slowest) {
	t.Helper()
	leave := func(i int) {
		name, began := fmt.Sprintf("auto-%d", i), time.Now()
		if err := east.Delete(t.Context(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}); err != nil {
			t.Fatal(err)
		}
		eventually(t, "it is gone everywhere", func() string {
			for _, m := range []*member{east, west} {
				for _, line := range m.holds() {
					if strings.Contains(line, name+" ") {
						return "in " + m.name + " there is " + line
					}
				}
			}
			return peer(west.plan("west-1"), "east."+name)
		})
		leaving.note(began)
	}
	for i := 1; i <= churned; i++ {
		name, began := fmt.Sprintf("auto-%d", i), time.Now()
		east.node(name, fmt.Sprintf("192.168.50.%d", 10+i))
		east.agentOf(name, byte(1+i))
		eventually(t, "it is a peer in the other cluster", func() string {
			if peer(west.plan("west-1"), "east."+name) == "" {
				return name + " is no peer"
			}
			return ""
		})
		joining.note(began)
		if i > atOnce {
			leave(i - atOnce)
		}
	}
	for i := churned - atOnce + 1; i <= churned; i++ {
		leave(i)
	}
	return joining, leaving
}
