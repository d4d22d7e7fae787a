package apitest

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// ToolsEnv names the directory that holds kube-apiserver and etcd.
const ToolsEnv = "SDN_TUNNEL_TOOLS"

// startTimeout bounds the start of each program.
const startTimeout = 90 * time.Second

// Server is a Kubernetes API of its own for one test.
type Server struct {
	// Config is an administrator's access.
	Config *rest.Config

	dir, tools string
	ca         *authority
	etcd, api  *process
	args       []string
}

// Start runs etcd and kube-apiserver, waits until the API is ready and installs the
// project's CRDs and those of the further files. It skips the test where there are
// no programs for it. The server ends with the test.
func Start(tb testing.TB, crdFiles ...string) *Server {
	tb.Helper()
	tools := os.Getenv(ToolsEnv)
	if tools == "" {
		tb.Skipf("SKIPPED: %s is not set: it names a directory with kube-apiserver and etcd, such as the cache of the lab's tools", ToolsEnv)
	}
	for _, program := range []string{"kube-apiserver", "etcd"} {
		if _, err := os.Stat(filepath.Join(tools, program)); err != nil {
			tb.Skipf("SKIPPED: %s=%s lacks %s: %v", ToolsEnv, tools, program, err)
		}
	}
	s := &Server{dir: tb.TempDir(), tools: tools}
	tb.Cleanup(s.close)
	ctx, cancel := context.WithTimeout(context.Background(), 3*startTimeout)
	defer cancel()
	if err := s.start(ctx); err != nil {
		tb.Fatalf("start the test API: %v\n%s", err, s.logTail())
	}
	own, err := ownCRDs()
	if err != nil {
		tb.Fatal(err)
	}
	if err := installCRDs(ctx, s.Config, append(own, crdFiles...)); err != nil {
		tb.Fatalf("install CRDs: %v", err)
	}
	return s
}

// Client is an administrator's client that knows the kinds of objects that are added.
func (s *Server) Client(tb testing.TB, kinds ...func(*runtime.Scheme) error) client.Client {
	tb.Helper()
	scheme := runtime.NewScheme()
	builder := runtime.NewSchemeBuilder(kinds...)
	if err := builder.AddToScheme(scheme); err != nil {
		tb.Fatal(err)
	}
	c, err := client.New(s.Config, client.Options{Scheme: scheme})
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

// Clientset is an administrator's client of Kubernetes' own kinds.
func (s *Server) Clientset(tb testing.TB) kubernetes.Interface {
	tb.Helper()
	c, err := kubernetes.NewForConfig(s.Config)
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

// Namespaces makes namespaces.
func (s *Server) Namespaces(tb testing.TB, names ...string) {
	tb.Helper()
	c := s.Clientset(tb).CoreV1().Namespaces()
	for _, name := range names {
		ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
		if _, err := c.Create(tb.Context(), ns, metav1.CreateOptions{}); err != nil {
			tb.Fatalf("make the namespace %s: %v", name, err)
		}
	}
}

// User returns the access of a user in groups, with no rights but those that RBAC
// gives, e.g. "system:node:n1" in "system:nodes".
func (s *Server) User(tb testing.TB, user string, groups ...string) *rest.Config {
	tb.Helper()
	id, err := s.ca.issue(user, groups...)
	if err != nil {
		tb.Fatal(err)
	}
	return s.access(id)
}

// Kubeconfig writes the access to a file of mode 0600 and returns its path.
func (s *Server) Kubeconfig(tb testing.TB, access *rest.Config) string {
	tb.Helper()
	c := clientcmdapi.NewConfig()
	c.Clusters["test"] = &clientcmdapi.Cluster{Server: access.Host, CertificateAuthorityData: access.CAData}
	c.AuthInfos["test"] = &clientcmdapi.AuthInfo{
		ClientCertificateData: access.CertData, ClientKeyData: access.KeyData, Token: access.BearerToken,
	}
	c.Contexts["test"] = &clientcmdapi.Context{Cluster: "test", AuthInfo: "test"}
	c.CurrentContext = "test"
	path := filepath.Join(tb.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*c, path); err != nil {
		tb.Fatalf("write a kubeconfig: %v", err)
	}
	return path
}

// StopAPI ends kube-apiserver, as an outage of it; etcd and what it holds stay.
func (s *Server) StopAPI() {
	if s.api != nil {
		s.api.stop()
		s.api = nil
	}
}

// StartAPI starts kube-apiserver again, at the same address, after StopAPI.
func (s *Server) StartAPI(tb testing.TB) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	if err := s.startAPI(ctx); err != nil {
		tb.Fatalf("start kube-apiserver again: %v\n%s", err, s.logTail())
	}
}

func (s *Server) start(ctx context.Context) error {
	ports, err := FreePorts(3)
	if err != nil {
		return err
	}
	client, peer, secure := ports[0], ports[1], ports[2]
	if s.ca, err = newAuthority(); err != nil {
		return err
	}
	admin, err := s.ca.issue("admin", "system:masters")
	if err != nil {
		return err
	}
	if err := s.writeCerts(); err != nil {
		return err
	}
	s.Config = s.access(admin)
	s.Config.Host = fmt.Sprintf("https://127.0.0.1:%d", secure)
	s.args = apiArgs(s.dir, client, secure)
	if err := s.startEtcd(ctx, client, peer); err != nil {
		return err
	}
	return s.startAPI(ctx)
}

func (s *Server) startEtcd(ctx context.Context, client, peer uint16) error {
	clientURL, peerURL := fmt.Sprintf("http://127.0.0.1:%d", client), fmt.Sprintf("http://127.0.0.1:%d", peer)
	p, err := start(filepath.Join(s.dir, "etcd.log"), filepath.Join(s.tools, "etcd"),
		"--name=test", "--data-dir="+filepath.Join(s.dir, "etcd"), "--unsafe-no-fsync",
		"--listen-client-urls="+clientURL, "--advertise-client-urls="+clientURL,
		"--listen-peer-urls="+peerURL, "--initial-advertise-peer-urls="+peerURL,
		"--initial-cluster=test="+peerURL)
	if err != nil {
		return err
	}
	s.etcd = p
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	return p.until(ctx, func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, clientURL+"/health", nil)
		if err != nil {
			return err
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("etcd /health says %s", resp.Status)
		}
		return nil
	})
}

func (s *Server) startAPI(ctx context.Context) error {
	p, err := start(filepath.Join(s.dir, "kube-apiserver.log"), filepath.Join(s.tools, "kube-apiserver"), s.args...)
	if err != nil {
		return err
	}
	s.api = p
	clients, err := kubernetes.NewForConfig(s.Config)
	if err != nil {
		return fmt.Errorf("make a client: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	return p.until(ctx, func(ctx context.Context) error {
		return clients.Discovery().RESTClient().Get().AbsPath("/readyz").Do(ctx).Error()
	})
}

func (s *Server) close() {
	s.StopAPI()
	if s.etcd != nil {
		s.etcd.stop()
	}
}

// access is the way in for one certificate.
func (s *Server) access(id pair) *rest.Config {
	c := &rest.Config{QPS: -1}
	if s.Config != nil {
		c.Host = s.Config.Host
	}
	c.CAData, c.CertData, c.KeyData = s.ca.pem, id.cert, id.key
	return c
}
