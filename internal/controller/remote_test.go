package controller

import (
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/sdn-tunnel/sdn-tunnel/api/v1alpha1"
	"github.com/sdn-tunnel/sdn-tunnel/internal/peeraccess"
)

// evil is a member, west, whose API server answers as the test likes.
type evil struct {
	list  func(w http.ResponseWriter, r *http.Request)
	watch func(w http.ResponseWriter, r *http.Request)
}

func (e evil) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	switch {
	case strings.Contains(r.URL.Path, "linkedclusters"):
		_ = json.NewEncoder(w).Encode(linked("west", "10.132.0.0/14", "172.31.0.0/16", "100.127.4.0/22"))
	case r.URL.Query().Get("watch") != "":
		e.watch(w, r)
	default:
		e.list(w, r)
	}
}

// remote watches the member until the test ends.
func (e evil) remote(t *testing.T) *remote {
	t.Helper()
	srv := httptest.NewTLSServer(e)
	t.Cleanup(srv.Close)
	encode := base64.RawURLEncoding.EncodeToString
	c := clientcmdapi.NewConfig()
	c.Clusters["c"] = &clientcmdapi.Cluster{Server: srv.URL,
		CertificateAuthorityData: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})}
	c.AuthInfos["c"] = &clientcmdapi.AuthInfo{Token: "e30." + encode([]byte(`{"sub":"system:serviceaccount:a:b","iat":1,"exp":2}`)) + ".x"}
	c.Contexts["c"] = &clientcmdapi.Context{Cluster: "c", AuthInfo: "c"}
	c.CurrentContext = "c"
	raw, err := clientcmd.Write(*c)
	if err != nil {
		t.Fatal(err)
	}
	cfg, _, err := peeraccess.RestConfig(&corev1.Secret{Data: map[string][]byte{peeraccess.KubeconfigKey: raw}})
	if err != nil {
		t.Fatal(err)
	}
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	r, err := newRemote("west", "test", cfg, scheme)
	if err != nil {
		t.Fatal(err)
	}
	r.changed, r.moved = func(string) {}, func() {}
	r.start(t.Context())
	t.Cleanup(r.stop)
	return r
}

func page(w http.ResponseWriter, next string, nodes ...*v1alpha1.TunnelNode) {
	list := v1alpha1.TunnelNodeList{ListMeta: metav1.ListMeta{ResourceVersion: "7", Continue: next}}
	list.APIVersion, list.Kind = v1alpha1.GroupVersion.String(), "TunnelNodeList"
	for _, n := range nodes {
		list.Items = append(list.Items, *n)
	}
	_ = json.NewEncoder(w).Encode(list)
}

func send(w http.ResponseWriter, kind string, o any) error {
	if n, ok := o.(*v1alpha1.TunnelNode); ok {
		n.APIVersion, n.Kind = v1alpha1.GroupVersion.String(), tunnelNodeKind
	}
	return json.NewEncoder(w).Encode(map[string]any{"type": kind, "object": o})
}

func node(i int) *v1alpha1.TunnelNode {
	return tunnel("west", fmt.Sprintf("w%d", i), 1, 1, "10.132.0.0/23", "100.127.4.1")
}

func silent(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

// TestRemoteOfHostileMember: whatever a member's API server does, it is said in a
// condition and takes a bounded part of the memory.
func TestRemoteOfHostileMember(t *testing.T) {
	first := func(w http.ResponseWriter, _ *http.Request) { page(w, "", node(0)) }
	huge := node(1)
	huge.Spec.HostSubnets = make([]v1alpha1.CIDR, 10_000)
	long := node(2)
	long.Name = strings.Repeat("x", 300)
	for name, tt := range map[string]struct {
		evil
		want  string // the condition's message
		nodes string // that are known then
	}{
		"good": {evil{first, func(w http.ResponseWriter, r *http.Request) {
			_ = send(w, "ADDED", node(1))
			_ = send(w, "BOOKMARK", &v1alpha1.TunnelNode{ObjectMeta: metav1.ObjectMeta{ResourceVersion: "9"}})
			w.(http.Flusher).Flush()
			silent(w, r)
		}}, "answers", "west.w0 west.w1"},
		"pages": {evil{func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Query().Get("continue") == "" {
				page(w, "more", node(0))
				return
			}
			page(w, "", node(1))
		}, silent}, "answers", "west.w0 west.w1"},
		"pages without end": {evil{func(w http.ResponseWriter, _ *http.Request) { page(w, "more", node(0)) }, silent},
			"more than 100 pages", ""},
		"nodes without end": {evil{func(w http.ResponseWriter, _ *http.Request) {
			many := make([]*v1alpha1.TunnelNode, maxNodes/2)
			for i := range many {
				many[i] = node(i)
			}
			page(w, "more", many...)
		}, silent}, "more than 5000 nodes", ""},
		"a huge mark of the next page": {evil{func(w http.ResponseWriter, _ *http.Request) { page(w, strings.Repeat("x", 1<<20), node(0)) }, silent},
			"a mark of more than 8 KiB", ""},
		"a list without end": {evil{func(w http.ResponseWriter, _ *http.Request) {
			for _, err := fmt.Fprint(w, `{"kind":"TunnelNodeList","items":[`); err == nil; {
				_, err = fmt.Fprint(w, strings.Repeat("{},", 1000))
			}
		}, silent}, "a list of more than 16 MiB", ""},
		"a redirect": {evil{func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://127.0.0.1:6443/", http.StatusMovedPermanently)
		}, silent}, "redirects are not followed", ""},
		"a huge message": {evil{func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusInternalServerError)
			fmt.Fprint(w, "\x1b[2J"+strings.Repeat("long ", 10_000))
		}, silent}, "long long", ""},
		"a node that is too large, and one with too long a name": {evil{func(w http.ResponseWriter, _ *http.Request) { page(w, "", node(0), huge, long) }, silent},
			"answers", "west.w0 west.w1(refused)"},
		"a watch with nodes without end": {evil{first, func(w http.ResponseWriter, _ *http.Request) {
			for i := 0; send(w, "ADDED", node(i)) == nil; i++ {
			}
		}}, "speaks of more than 5000 nodes", "*"},
		"a watch with an event without end": {evil{first, func(w http.ResponseWriter, _ *http.Request) {
			for _, err := fmt.Fprint(w, `{"type":"ADDED","object":{"a":"`); err == nil; {
				_, err = fmt.Fprint(w, strings.Repeat("x", 10_000))
			}
		}}, "an event of more than 2 MiB", "west.w0"},
		"a watch that ends with a huge message": {evil{first, func(w http.ResponseWriter, r *http.Request) {
			_ = send(w, "ERROR", metav1.Status{TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: "Failure",
				Code: 500, Message: "\x07" + strings.Repeat("long ", 10_000)})
		}}, "broke off: long", "west.w0"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := tt.remote(t)
			var message, known string
			for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
				message, known = reachableCondition("west", r.state(), nil).Message, knownTo(r)
				if strings.Contains(message, tt.want) && (tt.nodes == "*" || known == tt.nodes) {
					break
				}
			}
			if !strings.Contains(message, tt.want) || tt.nodes != "*" && known != tt.nodes {
				t.Errorf("condition %q, nodes %q", message, known)
			}
			if len([]rune(message)) > 1024 || strings.ContainsAny(message, "\x1b\x07\n") {
				t.Errorf("not plain: %q", message)
			}
			if n := len(r.names()); n > maxNodes {
				t.Errorf("%d nodes are kept", n)
			}
		})
	}
}

// knownTo lists the nodes that a remote knows, if they are few.
func knownTo(r *remote) string {
	names := r.names()
	if len(names) > 10 {
		return fmt.Sprintf("%d nodes", len(names))
	}
	for i, name := range names {
		if n := r.get(name); n != nil && n.Annotations[annotationRefused] != "" {
			names[i] += "(refused)"
		}
	}
	return strings.Join(names, " ")
}

// TestClosed: what our own client says of a connection is not held against the member.
func TestClosed(t *testing.T) {
	for message, want := range map[string]bool{
		`an error on the server ("unable to decode an event from the watch stream: http2: response body closed") has prevented the request from succeeding`:      true,
		`an error on the server ("unable to decode an event from the watch stream: http2: client connection lost") has prevented the request from succeeding`:    true,
		`an error on the server ("unable to decode an event from the watch stream: invalid character 'x' in literal") has prevented the request from succeeding`: false,
		"http2: the member's own words": false,
	} {
		if got := closed(&metav1.Status{Message: message}); got != want {
			t.Errorf("%s: %v", message, got)
		}
	}
}
