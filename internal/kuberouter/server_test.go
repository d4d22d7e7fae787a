package kuberouter

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	"github.com/sdn-tunnel/sdn-tunnel/internal/nettest"
)

// TestServerServesInformers: all that kube-router lists and watches comes, or it would end
// after a minute; the node is its own; and changes follow.
func TestServerServesInformers(t *testing.T) {
	s := told(mirror("web", vip, 0, "10.132.0.1"))
	v, _ := s.view("west")
	api := httptest.NewServer((&server{view: v, node: nodeObject("east-1", "100.127.0.9")}).handler())
	t.Cleanup(api.CloseClientConnections)
	client, err := kubernetes.NewForConfig(&rest.Config{Host: api.URL})
	if err != nil {
		t.Fatal(err)
	}
	factory := informers.NewSharedInformerFactory(client, 0)
	all := map[string]cache.SharedIndexInformer{
		"services": factory.Core().V1().Services().Informer(), "endpoints": factory.Core().V1().Endpoints().Informer(),
		"slices": factory.Discovery().V1().EndpointSlices().Informer(), "pods": factory.Core().V1().Pods().Informer(),
		"nodes": factory.Core().V1().Nodes().Informer(), "namespaces": factory.Core().V1().Namespaces().Informer(),
		"policies": factory.Networking().V1().NetworkPolicies().Informer(),
	}
	stop := make(chan struct{})
	t.Cleanup(func() {
		close(stop)
		api.CloseClientConnections()
		factory.Shutdown()
	})
	factory.Start(stop)
	has := func(what string, want map[string]int) {
		t.Helper()
		nettest.Eventually(t, 5*time.Second, what, func() bool {
			for name, informer := range all {
				if !informer.HasSynced() || len(informer.GetStore().List()) != want[name] {
					return false
				}
			}
			return true
		})
	}
	has("at first", map[string]int{"services": 1, "slices": 2, "nodes": 1})
	s.Set(mirror("other", emptyVIP, 0, "10.132.0.1"))
	has("one more", map[string]int{"services": 2, "slices": 4, "nodes": 1})
	s.Delete("west-web-1")
	has("one less", map[string]int{"services": 1, "slices": 2, "nodes": 1})
	node, err := client.CoreV1().Nodes().Get(t.Context(), "east-1", metav1.GetOptions{})
	if err != nil || node.Status.Addresses[0].Address != "100.127.0.9" {
		t.Errorf("the node: %+v, %v", node, err)
	}
}

// TestServerRefuses: it is to read only, has no other node and no other resource.
func TestServerRefuses(t *testing.T) {
	h := (&server{view: newView(), node: nodeObject("east-1", "100.127.0.9")}).handler()
	for _, tt := range []struct {
		method, path string
		want         int
	}{
		{"GET", "/api/v1/nodes/east-1", 200}, {"GET", "/api/v1/services", 200},
		{"GET", "/api/v1/nodes/east-2", 404}, {"GET", "/api/v1/secrets", 404}, {"GET", "/", 404},
		{"POST", "/api/v1/services", 405}, {"PUT", "/api/v1/nodes/east-1", 405}, {"DELETE", "/api/v1/services", 405},
		{"PATCH", "/api/v1/secrets", 405},
	} {
		out := httptest.NewRecorder()
		h.ServeHTTP(out, httptest.NewRequest(tt.method, tt.path, nil))
		if out.Code != tt.want {
			t.Errorf("%s %s: %d, want %d: %s", tt.method, tt.path, out.Code, tt.want, out.Body)
		}
	}
}

// TestServerWatch: a watch from what is not remembered is told to list again, and each ends
// when it was asked to.
func TestServerWatch(t *testing.T) {
	h := (&server{view: newView(), node: nodeObject("east-1", "100.127.0.9")}).handler()
	ask := func(query string) string {
		out := httptest.NewRecorder()
		h.ServeHTTP(out, httptest.NewRequest(http.MethodGet, "/api/v1/services?watch=true&"+query, nil))
		return out.Body.String()
	}
	if got := ask("resourceVersion=1000"); !strings.Contains(got, `"ERROR"`) || !strings.Contains(got, `"code":410`) {
		t.Errorf("from the future: %s", got)
	}
	if got := ask("resourceVersion=1&timeoutSeconds=1"); got != "" {
		t.Errorf("nothing has changed: %s", got)
	}
}
