package e2e

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"testing"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/sdn-tunnel/sdn-tunnel/internal/lab/underlay"
)

// operatorNamespace is the network namespace that deploys run in.
func (l *lab) operatorNamespace() string { return l.name + "-operator" }

// proxy puts a real API server before the operator as it is not: every request goes to
// target, with its access, but those for the paths of answers. Writes fail the test. It
// gives the kubeconfig of the way in.
func (l *lab) proxy(t *testing.T, target *rest.Config, answers map[string]any) labCluster {
	t.Helper()
	transport, err := rest.TransportFor(target)
	if err != nil {
		t.Fatal(err)
	}
	to, err := url.Parse(target.Host)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/", &httputil.ReverseProxy{Transport: transport, Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(to) }})
	for path, answer := range answers {
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(answer)
		})
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet {
			t.Errorf("something was changed: %s %s", r.Method, r.URL)
		}
		mux.ServeHTTP(w, r)
	}))
	err = underlay.In(l.operatorNamespace(), func() (err error) {
		_ = server.Listener.Close()
		server.Listener, err = net.Listen("tcp", "127.0.0.1:0")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	server.StartTLS()
	t.Cleanup(server.Close)
	return labCluster{Kubeconfig: kubeconfigOf(t, server)}
}

func kubeconfigOf(t *testing.T, server *httptest.Server) string {
	t.Helper()
	c := clientcmdapi.NewConfig()
	c.Clusters["proxy"] = &clientcmdapi.Cluster{
		Server:                   server.URL,
		CertificateAuthorityData: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}),
	}
	c.Contexts["proxy"] = &clientcmdapi.Context{Cluster: "proxy"}
	c.CurrentContext = "proxy"
	file := filepath.Join(t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*c, file); err != nil {
		t.Fatal(err)
	}
	return file
}

// admin is the access to a cluster of the lab, which only the operator's namespace has.
func (l *lab) admin(t *testing.T, cluster string) *rest.Config {
	t.Helper()
	cfg, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(
		&clientcmd.ClientConfigLoadingRules{ExplicitPath: l.access(t)[cluster].Kubeconfig},
		&clientcmd.ConfigOverrides{CurrentContext: cluster}).ClientConfig()
	if err != nil {
		t.Fatal(err)
	}
	cfg.Dial = func(ctx context.Context, network, address string) (conn net.Conn, err error) {
		err = underlay.In(l.operatorNamespace(), func() (err error) {
			conn, err = (&net.Dialer{}).DialContext(ctx, network, address)
			return err
		})
		return conn, err
	}
	return cfg
}
