package rotation

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/sdn-tunnel/sdn-tunnel/api/v1alpha1"
	"github.com/sdn-tunnel/sdn-tunnel/internal/peeraccess"
)

// world are two clusters whose agents and controllers are functions: they act when a node
// is asked for a new key.
type world struct {
	*testing.T
	apis map[string]client.Client
	// asked is what becomes of a request.
	asked map[string]func(w *world, name, request string)

	mu    sync.Mutex
	lines []string
}

// newWorld has two nodes in each cluster, which answer unless asked says something else.
func newWorld(t *testing.T, asked map[string]func(*world, string, string)) *world {
	t.Helper()
	w := &world{T: t, apis: map[string]client.Client{}, asked: asked}
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	for _, cluster := range []string{"east", "west"} {
		w.apis[cluster] = fake.NewClientBuilder().WithScheme(scheme).WithStatusSubresource(&v1alpha1.TunnelNode{}).
			WithInterceptorFuncs(interceptor.Funcs{Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption) error {
				err := c.Patch(ctx, o, p, opts...)
				if err != nil && strings.Contains(err.Error(), "test operation") {
					return apierrors.NewInvalid(schema.GroupKind{Kind: "TunnelNode"}, o.GetName(), nil) // as API servers do
				}
				if err != nil || p.Type() != types.MergePatchType {
					return err
				}
				act := w.asked[o.GetName()]
				if act == nil {
					act = answers
				}
				act(w, o.GetName(), o.GetAnnotations()[v1alpha1.AnnotationRotateKey])
				return nil
			}}).Build()
		for _, name := range []string{"east.n1", "east.n2", "west.n1", "west.w2"} {
			w.create(cluster, name, "1")
		}
	}
	return w
}

func (w *world) create(in, name, uid string) {
	cluster, node, _ := strings.Cut(name, ".")
	n := &v1alpha1.TunnelNode{ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID(uid)},
		Spec: v1alpha1.TunnelNodeSpec{Cluster: cluster, Node: node, PublicKey: "old"}}
	if err := w.apis[in].Create(w.Context(), n); err != nil {
		w.Fatal(err)
	}
}

// change changes a node where it is.
func (w *world) change(in, name string, change func(*v1alpha1.TunnelNode)) {
	var n v1alpha1.TunnelNode
	if err := w.apis[in].Get(w.Context(), client.ObjectKey{Name: name}, &n); err != nil {
		w.Fatal(err)
	}
	change(&n)
	status := n.Status
	if err := w.apis[in].Update(w.Context(), &n); err != nil {
		w.Fatal(err)
	}
	n.Status = status
	if err := w.apis[in].Status().Update(w.Context(), &n); err != nil {
		w.Fatal(err)
	}
}

func (w *world) remove(name string) {
	n := &v1alpha1.TunnelNode{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if err := w.apis[home(name)].Delete(w.Context(), n); err != nil {
		w.Fatal(err)
	}
}

func home(name string) string {
	cluster, _, _ := strings.Cut(name, ".")
	return cluster
}

// switches is the agent's share, of which one peer hears.
func switches(w *world, name, request string) {
	w.change(home(name), name, func(n *v1alpha1.TunnelNode) {
		n.Spec.PublicKey = "new"
		n.Status.Key = &v1alpha1.KeyStatus{Request: request, Confirmed: 1}
		n.Status.Peers = &v1alpha1.PeerCounts{Up: 1}
	})
}

func mirrors(w *world, name string) {
	for cluster := range w.apis {
		if cluster != home(name) {
			w.change(cluster, name, func(n *v1alpha1.TunnelNode) { n.Spec.PublicKey = "new" })
		}
	}
}

func answers(w *world, name, request string) {
	switches(w, name, request)
	mirrors(w, name)
}

// says has the agent say something of the key, and nothing else happen.
func says(change func(n *v1alpha1.TunnelNode, request string)) func(*world, string, string) {
	return func(w *world, name, request string) {
		w.change(home(name), name, func(n *v1alpha1.TunnelNode) { change(n, request) })
	}
}

// keys replaces keys and gives what was said.
func (w *world) keys(o Options) (string, error) {
	for _, cluster := range []string{"east", "west"} {
		o.Members = append(o.Members, Member{Side: peeraccess.Side{Cluster: cluster, Client: w.apis[cluster]}, API: w.apis[cluster]})
	}
	o.Timeout, o.Say = 10*time.Second, func(format string, args ...any) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.lines = append(w.lines, fmt.Sprintf(format, args...))
	}
	err := Keys(w.Context(), o)
	return strings.Join(w.lines, "\n"), err
}

// TestWhichKeys: whose keys are meant.
func TestWhichKeys(t *testing.T) {
	for _, tt := range []struct {
		cluster, node, want, err string
	}{
		{"", "", "east.n1 east.n2 west.n1 west.w2", ""},
		{"west", "", "west.n1 west.w2", ""},
		{"", "n1", "east.n1 west.n1", ""},
		{"west", "n1", "west.n1", ""},
		{"", "east.n1", "east.n1", ""},
		{"north", "", "", `the inventory has no cluster "north"`},
		{"", "n9", "", "no TunnelNode n9: kubectl get tunnelnodes"},
		{"", "east.n9", "", "no TunnelNode east.n9: "},
		{"", "north.n1", "", "no TunnelNode north.n1: "},
	} {
		t.Run(tt.cluster+"/"+tt.node, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var asked []string
				note := func(w *world, name, request string) {
					asked = append(asked, name)
					answers(w, name, request)
				}
				w := newWorld(t, map[string]func(*world, string, string){"east.n1": note, "east.n2": note, "west.n1": note, "west.w2": note})
				said, err := w.keys(Options{Cluster: tt.cluster, Node: tt.node})
				if tt.err != "" {
					if err == nil || !strings.Contains(err.Error(), tt.err) || said != "" {
						t.Fatalf("%v\n%s", err, said)
					}
					return
				}
				if got := strings.Join(asked, " "); err != nil || got != tt.want {
					t.Errorf("asked %q: %v", got, err)
				}
				if want := fmt.Sprintf("%d nodes have new keys", len(asked)); !strings.Contains(said, want) || !strings.Contains(said, "1 of 1 peers have answered to it") {
					t.Errorf("said:\n%s", said)
				}
			})
		})
	}
}

// TestKeysThatFail: what goes wrong with one node is said in plain words, the rest goes on,
// and no request stays that an agent might answer later.
func TestKeysThatFail(t *testing.T) {
	for name, tt := range map[string]struct {
		act func(w *world, name, request string)
		// said has the line of the node; failed: it is one of those that the verb fails for.
		said   string
		failed bool
	}{
		"silent": {func(*world, string, string) {}, "its agent does not answer: is it running?", true},
		"too old": {says(func(n *v1alpha1.TunnelNode, _ string) { n.Status.AgentVersion = "v0.1.0" }),
			"its agent, of version v0.1.0, replaces no keys: upgrade it", true},
		"hindered": {says(func(n *v1alpha1.TunnelNode, _ string) {
			n.Status.Key = &v1alpha1.KeyStatus{Failure: "west may not hear of a new key"}
		}), "west may not hear of a new key", true},
		"undone": {says(func(n *v1alpha1.TunnelNode, request string) {
			n.Status.Key = &v1alpha1.KeyStatus{Request: request, Failure: "the new key was not taken up"}
		}), "the new key was not taken up", true},
		"unheard": {switches, "cluster west has not heard of the new key", true},
		"unconfirmed": {func(w *world, name, request string) {
			answers(w, name, request)
			w.change("east", name, func(n *v1alpha1.TunnelNode) { n.Status.Peers.Up = 3 })
		}, "1 of 3 peers have answered to the new key", true},
		"removed at once": {func(w *world, name, _ string) { w.remove(name) }, "the node was removed meanwhile: it needs no new key", false},
		"removed while its agent works": {func(w *world, name, _ string) {
			time.AfterFunc(2*time.Second, func() { w.remove(name) })
		}, "the node was removed meanwhile: it needs no new key", false},
		"removed before the others know": {func(w *world, name, request string) {
			switches(w, name, request)
			time.AfterFunc(2*time.Second, func() { w.remove(name) })
		}, "the node was removed meanwhile: it needs no new key", false},
		"removed before its peers answer": {func(w *world, name, request string) {
			answers(w, name, request)
			w.change("east", name, func(n *v1alpha1.TunnelNode) { n.Status.Key.Confirmed = 0 })
			time.AfterFunc(2*time.Second, func() { w.remove(name) })
		}, "the node was removed meanwhile: it needs no new key", false},
		"removed, and made anew": {func(w *world, name, _ string) {
			time.AfterFunc(2*time.Second, func() {
				w.remove(name)
				w.create("east", name, "2")
			})
		}, "the node was removed meanwhile: it needs no new key", false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, map[string]func(*world, string, string){"east.n1": tt.act})
				said, err := w.keys(Options{})
				t.Logf("%v\n%s", err, said)
				if !strings.Contains(said, "east.n1: ") || !strings.Contains(said, tt.said) {
					t.Errorf("said:\n%s", said)
				}
				if want := "1 of 4 nodes have no new key: east.n1: "; tt.failed && (err == nil || !strings.Contains(err.Error(), want)) {
					t.Errorf("failed with %v", err)
				}
				if !tt.failed && (err != nil || !strings.Contains(said, "3 nodes have new keys")) {
					t.Errorf("failed with %v, said:\n%s", err, said)
				}
				for _, other := range []string{"east.n2", "west.n1", "west.w2"} {
					w.change(home(other), other, func(n *v1alpha1.TunnelNode) {
						if n.Spec.PublicKey != "new" {
							t.Errorf("%s has no new key", other)
						}
					})
				}
				var all v1alpha1.TunnelNodeList
				if err := w.apis["east"].List(t.Context(), &all); err != nil {
					t.Fatal(err)
				}
				for _, n := range all.Items {
					answered := n.Status.Key != nil && n.Status.Key.Request == n.Annotations[v1alpha1.AnnotationRotateKey]
					if n.Annotations[v1alpha1.AnnotationRotateKey] != "" && !answered {
						t.Errorf("%s is still asked for a new key", n.Name)
					}
				}
			})
		})
	}
}

// TestOneKeyOfNone: the one node that was meant and is removed is a failure.
func TestOneKeyOfNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, map[string]func(*world, string, string){"east.n1": func(w *world, name, _ string) { w.remove(name) }})
		if said, err := w.keys(Options{Node: "east.n1"}); err == nil || !strings.Contains(err.Error(), "east.n1: the node was removed meanwhile") {
			t.Errorf("%v\n%s", err, said)
		}
	})
}
