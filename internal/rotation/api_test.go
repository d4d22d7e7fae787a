package rotation

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sdn-tunnel/sdn-tunnel/api/v1alpha1"
	"github.com/sdn-tunnel/sdn-tunnel/internal/apitest"
	"github.com/sdn-tunnel/sdn-tunnel/internal/controller"
	"github.com/sdn-tunnel/sdn-tunnel/internal/nodeservice"
	"github.com/sdn-tunnel/sdn-tunnel/internal/peeraccess"
)

const (
	namespace = "sdn-tunnel"
	// effective is how long a credential that was taken away may still be good for.
	effective = 5 * time.Second
)

// cluster is a real API server with the real controller.
type cluster struct {
	Member
	api *apitest.Server
}

func newCluster(t *testing.T, name string) cluster {
	t.Helper()
	api := apitest.Start(t, "../../roles/tunnel/files/mcs/multicluster.x-k8s.io_serviceexports.yaml", "../../roles/tunnel/files/mcs/multicluster.x-k8s.io_serviceimports.yaml")
	c := api.Client(t, clientgoscheme.AddToScheme, v1alpha1.AddToScheme)
	server, err := peeraccess.ServerOf(api.Config)
	if err != nil {
		t.Fatal(err)
	}
	api.Namespaces(t, namespace)
	return cluster{Member{Side: peeraccess.Side{Cluster: name, Namespace: namespace, Client: c, Server: server}, API: c}, api}
}

// run runs the controller until the test ends.
func (c cluster) run(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- controller.Run(ctx, c.api.Config, controller.Options{MetricsAddress: "0", Log: slog.New(slog.DiscardHandler),
			Options: nodeservice.Options{Cluster: c.Cluster, Namespace: namespace, Type: nodeservice.NodePort, TunnelPort: 5555}})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the controller of %s: %v", c.Cluster, err)
		}
	})
}

// link lets two clusters read each other.
func link(t *testing.T, here, there cluster) {
	t.Helper()
	if _, err := peeraccess.Ensure(t.Context(), there.Side, here.Side, peeraccess.Options{}); err != nil {
		t.Fatal(err)
	}
	for name, networks := range map[string][2]v1alpha1.CIDR{"east": {"10.128.0.0/14", "100.127.0.0/22"}, "west": {"10.132.0.0/14", "100.127.4.0/22"}} {
		lc := &v1alpha1.LinkedCluster{ObjectMeta: metav1.ObjectMeta{Name: name},
			Spec: v1alpha1.LinkedClusterSpec{PodCIDRs: []v1alpha1.CIDR{networks[0]}, TunnelCIDR: networks[1]}}
		if name != here.Cluster {
			lc.Spec.API = &v1alpha1.ClusterAPI{Server: there.api.Config.Host, Secret: peeraccess.Name(name)}
		}
		if err := here.API.Create(t.Context(), lc); err != nil {
			t.Fatal(err)
		}
	}
}

// identity is what here reads of with, as it is now.
func (c cluster) identity(t *testing.T, of cluster) *rest.Config {
	t.Helper()
	var s corev1.Secret
	if err := c.API.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: peeraccess.Name(of.Cluster)}, &s); err != nil {
		t.Fatal(err)
	}
	cfg, _, err := peeraccess.RestConfig(&s)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// reader reads a cluster with an identity.
func (c cluster) reader(t *testing.T, identity *rest.Config) client.WithWatch {
	t.Helper()
	r, err := client.NewWithWatch(identity, client.Options{Scheme: c.API.Scheme(), Mapper: c.API.RESTMapper()})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// reads tells whether an identity can read services.
func reads(t *testing.T, r client.Client) error { return r.List(t.Context(), &corev1.ServiceList{}) }

func (c cluster) reachable(t *testing.T, other string) string {
	t.Helper()
	var lc v1alpha1.LinkedCluster
	if err := c.API.Get(t.Context(), client.ObjectKey{Name: other}, &lc); err != nil {
		t.Fatal(err)
	}
	if cond := meta.FindStatusCondition(lc.Status.Conditions, v1alpha1.ConditionReachable); cond != nil {
		return cond.Reason
	}
	return ""
}

func eventually(t *testing.T, what string, within time.Duration, ok func() bool) time.Duration {
	t.Helper()
	began := time.Now()
	for !ok() {
		if time.Since(began) > within {
			t.Fatalf("not within %v: %s", within, what)
		}
		time.Sleep(20 * time.Millisecond)
	}
	return time.Since(began)
}

// TestCredentials: with real API servers and controllers, former tokens are refused within
// seconds and for good, also those that an API server has just found valid, and the
// clusters read each other with new ones.
func TestCredentials(t *testing.T) {
	east, west := newCluster(t, "east"), newCluster(t, "west")
	link(t, east, west)
	link(t, west, east)
	east.run(t)
	west.run(t)
	eventually(t, "they read each other", time.Minute, func() bool {
		return east.reachable(t, "west") == "Answers" && west.reachable(t, "east") == "Answers"
	})

	former := east.reader(t, west.identity(t, east))
	if err := reads(t, former); err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var refused, again time.Duration
	var watching sync.WaitGroup
	began := time.Now()
	watching.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(50 * time.Millisecond):
			}
			err := reads(t, former)
			if err != nil && refused == 0 {
				refused = time.Since(began)
			} else if err == nil && refused != 0 {
				again = time.Since(began)
			}
		}
	})
	o := Options{Members: []Member{east.Member, west.Member}, Timeout: time.Minute,
		Say: func(format string, args ...any) {
			t.Logf("%5.1f s: %s", time.Since(began).Seconds(), fmt.Sprintf(format, args...))
		}}
	if err := Credentials(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	took := time.Since(began)
	close(stop)
	watching.Wait()
	t.Logf("a former token, just used, was refused after %.2f s; new ones were in use after %.1f s", refused.Seconds(), took.Seconds())
	if refused == 0 || refused > effective || again != 0 {
		t.Errorf("a former token was refused after %v (0: never) and good again after %v (0: never)", refused, again)
	}
	if err := reads(t, former); !apierrors.IsUnauthorized(err) {
		t.Errorf("the former token now: %v", err)
	}
	if err := reads(t, east.reader(t, west.identity(t, east))); err != nil {
		t.Errorf("the new one: %v", err)
	}

	t.Run("revoked for good", func(t *testing.T) { revoked(t, east, west) })
	t.Run("nothing is taken away while a cluster is away", func(t *testing.T) {
		west.api.StopAPI()
		err := Credentials(t.Context(), Options{Members: o.Members, Timeout: 5 * time.Second, Say: t.Logf})
		if err == nil || !strings.Contains(err.Error(), "nothing was changed") || !strings.Contains(err.Error(), "west") {
			t.Errorf("%v", err)
		}
		west.api.StartAPI(t)
		if err := reads(t, west.reader(t, east.identity(t, west))); err != nil {
			t.Errorf("east cannot read west any more: %v", err)
		}
	})
	if err := Credentials(t.Context(), Options{Members: o.Members, Cluster: "north"}); err == nil || !strings.Contains(err.Error(), `no cluster "north"`) {
		t.Errorf("an unknown cluster: %v", err)
	}
}

// revoked: what a cluster may do ends with its rights, for requests and, within the time
// that the API server grants a watch, for those that are open.
func revoked(t *testing.T, east, west cluster) {
	held := east.reader(t, west.identity(t, east))
	open, err := held.Watch(t.Context(), &corev1.ServiceList{}, &client.ListOptions{Raw: &metav1.ListOptions{TimeoutSeconds: new(int64(600))}})
	if err != nil {
		t.Fatal(err)
	}
	defer open.Stop()
	if _, err := peeraccess.Revoke(t.Context(), east.Side, "west", peeraccess.Options{}); err != nil {
		t.Fatal(err)
	}
	took := eventually(t, "the token is refused", effective, func() bool { return reads(t, held) != nil })
	said := eventually(t, "its holder says so", time.Minute, func() bool { return west.reachable(t, "east") != "Answers" })
	_, err = held.Watch(t.Context(), &corev1.ServiceList{})
	if err == nil {
		t.Error("another watch is granted")
	}
	t.Logf("refused %.3f s after the revocation, and west says %s after %.1f s: %v", took.Seconds(), west.reachable(t, "east"), said.Seconds(), err)
	// Kubernetes checks a request when it begins. This is what operators are told; if
	// API servers ever end such watches, they can be told better.
	went := false
	for end := time.After(2 * time.Second); !went; {
		select {
		case _, there := <-open.ResultChan():
			went = !there
		case <-end:
			t.Log("a watch that was open goes on")
			went = true
		}
	}
	if _, err := peeraccess.Ensure(t.Context(), east.Side, west.Side, peeraccess.Options{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a deploy lets it read again", 90*time.Second, func() bool { return west.reachable(t, "east") == "Answers" })
}

// TestWithdraw: a request that was answered, or never made, is no error to a real API
// server, nor is a node that is gone; one that is there is taken back.
func TestWithdraw(t *testing.T) {
	c := newCluster(t, "east")
	n := &v1alpha1.TunnelNode{ObjectMeta: metav1.ObjectMeta{Name: "east.n1"}, Spec: v1alpha1.TunnelNodeSpec{Cluster: "east", Node: "n1"}}
	if err := c.API.Create(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	is := func() string {
		if err := c.API.Get(t.Context(), client.ObjectKeyFromObject(n), n); err != nil {
			t.Fatal(err)
		}
		return n.Annotations[v1alpha1.AnnotationRotateKey]
	}
	for _, step := range []struct{ ask, withdraw, left string }{
		{"", "a", ""}, {"a", "a", ""}, {"b", "a", "b"}, {"c", "c", ""},
	} {
		if step.ask != "" {
			if err := annotate(t.Context(), &c.Member, n.Name, step.ask); err != nil {
				t.Fatal(err)
			}
		}
		if err := withdraw(&c.Member, n.Name, step.withdraw); err != nil || is() != step.left {
			t.Errorf("%+v: %q is left, %v", step, is(), err)
		}
	}
	if err := withdraw(&c.Member, "east.gone", "a"); err != nil {
		t.Error(err)
	}
	if err := annotate(t.Context(), &c.Member, "east.gone", "a"); !errors.Is(err, errRemoved) {
		t.Errorf("a node that is gone: %v", err)
	}
}
