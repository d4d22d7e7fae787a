package controller

import (
	"log/slog"
	"testing"

	"k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/sdn-tunnel/sdn-tunnel/api/v1alpha1"
)

// TestOldNodeNewClaim: a member cannot use the age of an old node of its own to take
// the key or the endpoint of a newer node of another member.
func TestOldNodeNewClaim(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*v1alpha1.TunnelNode)
		taken  bool
	}{
		"another member's key":          {func(n *v1alpha1.TunnelNode) { n.Spec.PublicKey = keyOf(4) }, true},
		"another member's endpoint":     {func(n *v1alpha1.TunnelNode) { n.Spec.Endpoint.Host = "203.0.113.4" }, true},
		"the same, written differently": {func(n *v1alpha1.TunnelNode) { n.Spec.Endpoint.Host = "::ffff:203.0.113.4" }, true},
		"a key of its own":              {func(n *v1alpha1.TunnelNode) { n.Spec.PublicKey = keyOf(8) }, false},
		"an endpoint of its own":        {func(n *v1alpha1.TunnelNode) { n.Spec.Endpoint.Host = "203.0.113.99" }, false},
	} {
		t.Run(name, func(t *testing.T) {
			c := api(t, objects(members3(), honest())...)
			said := tunnel("west", "w1", 3, 3, "10.132.0.0/23", "100.127.4.1")
			tt.change(said)
			store := cache.NewStore(cache.MetaNamespaceKeyFunc)
			if err := store.Add(said); err != nil {
				t.Fatal(err)
			}
			west := &remote{cluster: "west", store: store, health: health{synced: true}}
			r := &mirrors{Client: c, cluster: "east", remotes: &remotes{byName: map[string]*remote{"west": west}},
				queue: &notifier{}, status: &notifier{}, log: slog.New(slog.DiscardHandler)}
			again, err := r.Reconcile(t.Context(), request("west.w1"))
			if err != nil {
				t.Fatal(err)
			}
			var is v1alpha1.TunnelNode
			if err := c.Get(t.Context(), client.ObjectKey{Name: "west.w1"}, &is); err != nil {
				t.Fatal(err)
			}
			kept := is.Spec.PublicKey == keyOf(3) && is.Spec.Endpoint.Host == "203.0.113.3"
			refused := r.refusals.of("west")["west.w1"] != ""
			if kept != tt.taken || refused != tt.taken || (again.RequeueAfter > 0) != tt.taken {
				t.Errorf("kept %t, refused %t, again %v; want all %t", kept, refused, again, tt.taken)
			}
		})
	}
}

// TestLabelMatters: a node whose label is taken away is looked at, so that it is put back.
func TestLabelMatters(t *testing.T) {
	was, is := honest()[0], honest()[0]
	if tunnelNodeMatters.Update(event.UpdateEvent{ObjectOld: was, ObjectNew: is}) {
		t.Error("nothing changed, and it matters")
	}
	was.Labels = map[string]string{v1alpha1.LabelCluster: "east"}
	if !tunnelNodeMatters.Update(event.UpdateEvent{ObjectOld: was, ObjectNew: is}) {
		t.Error("the label is gone, and it does not matter")
	}
}
