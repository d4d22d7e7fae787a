package gather

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/sdn-tunnel/sdn-tunnel/api/v1alpha1"
	"github.com/sdn-tunnel/sdn-tunnel/internal/apitest"
	"github.com/sdn-tunnel/sdn-tunnel/internal/meshstatus"
)

const token = "eyJhbGciOiJSUzI1NiIsImtpZCI6IngifQ.eyJzdWIiOiJzeXN0ZW06c2VydmljZWFjY291bnQifQ.c2lnbmF0dXJl"

// needles are secrets that the test puts wherever it can.
var needles = []string{token, "hunter2-in-an-annotation", "hunter2-in-the-environment", "hunter2-in-a-secret", "hunter2-in-a-map", "hunter2-in-a-corefile", "hunter2-in-a-url", "aHVudGVyMiBpbiBhIHNlY3JldA", "MC4CAQAwBQYDK2VwBCIEIG9"}

// unpack reads an archive.
func unpack(t *testing.T, archive []byte) map[string]string {
	t.Helper()
	zip, err := gzip.NewReader(bytes.NewReader(archive))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for r := tar.NewReader(zip); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if h.Mode != 0o600 || files[h.Name] != "" {
			t.Errorf("%s has mode %o, or comes twice", h.Name, h.Mode)
		}
		files[h.Name] = string(text)
	}
}

// withPods has the objects of a real API, and logs and dumps of pods that do not run.
type withPods struct {
	cluster
	mu   sync.Mutex
	asks []string
}

func (c *withPods) log(_ context.Context, pod *corev1.Pod, o *corev1.PodLogOptions) ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asks = append(c.asks, pod.Name+"/"+o.Container)
	return []byte("level=INFO msg=starting\nAuthorization: Bearer " + token + "\n-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIG9\n-----END PRIVATE KEY-----\nlevel=INFO msg=ended\n"), nil
}

func (c *withPods) dump(context.Context, *corev1.Pod) ([]byte, error) {
	return []byte(`{"report": {"node": "east.east-1"}}`), nil
}

// secretive is a cluster with secrets wherever there is room for one.
func secretive(t *testing.T, s *apitest.Server) {
	t.Helper()
	client := s.Clientset(t)
	dyn, err := dynamic.NewForConfig(s.Config)
	if err != nil {
		t.Fatal(err)
	}
	ctx, core := t.Context(), client.CoreV1()
	must := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	s.Namespaces(t, "sdn-tunnel")
	labelled := func(name, component string) metav1.ObjectMeta {
		return metav1.ObjectMeta{Name: name, Labels: map[string]string{"app.kubernetes.io/name": "sdn-tunnel", "app.kubernetes.io/part-of": "sdn-tunnel", "app.kubernetes.io/component": component},
			Annotations: map[string]string{"note": "hunter2-in-an-annotation " + token}}
	}
	must(core.Secrets("sdn-tunnel").Create(ctx, &corev1.Secret{ObjectMeta: labelled("sdn-tunnel-peer-west", "x"),
		StringData: map[string]string{"kubeconfig": "token: " + token, "password": "hunter2-in-a-secret"}}, metav1.CreateOptions{}))
	must(core.ConfigMaps("sdn-tunnel").Create(ctx, &corev1.ConfigMap{ObjectMeta: labelled("dns", "dns"), Data: map[string]string{"key": "hunter2-in-a-map",
		"Corefile": "cluster.west:5353 {\n    errors\n    kubernetes cluster.west {\n        kubeconfig /etc/x ctx\n    }\n    route53 zone {\n        ttl hunter2-in-a-corefile\n    }\n    forward . 192.0.2.1\n    dnstap hunter2-in-a-corefile\n}\nevil hunter2-in-a-corefile {\n    cache hunter2-in-a-corefile\n}\n"}}, metav1.CreateOptions{}))
	must(core.ConfigMaps("sdn-tunnel").Create(ctx, &corev1.ConfigMap{ObjectMeta: labelled("other", "controller"), Data: map[string]string{"a": "hunter2-in-a-map"}}, metav1.CreateOptions{}))
	pod := &corev1.Pod{ObjectMeta: labelled("sdn-tunnel-agent-x", "agent"), Spec: corev1.PodSpec{NodeName: "east-1",
		Containers: []corev1.Container{{Name: "agent", Image: "agent:v1", Args: []string{"--mtu=0"}, Env: []corev1.EnvVar{{Name: "PASSWORD", Value: "hunter2-in-the-environment"}}}}}}
	must(core.Pods("sdn-tunnel").Create(ctx, pod, metav1.CreateOptions{}))
	pod.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "agent", RestartCount: 1, Image: "agent:v1", ImageID: "x"}}
	must(core.Pods("sdn-tunnel").UpdateStatus(ctx, pod, metav1.UpdateOptions{}))
	must(core.Services("sdn-tunnel").Create(ctx, &corev1.Service{ObjectMeta: labelled("sdn-tunnel-east-1", "node"), Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 5555, Protocol: "UDP"}}}}, metav1.CreateOptions{}))
	must(core.Events("sdn-tunnel").Create(ctx, &corev1.Event{ObjectMeta: metav1.ObjectMeta{Name: "e", Namespace: "sdn-tunnel"}, Type: "Warning", Reason: "Failed", Message: "login with " + token,
		InvolvedObject: corev1.ObjectReference{Kind: "Pod", Name: "sdn-tunnel-agent-x", Namespace: "sdn-tunnel"}}, metav1.CreateOptions{}))
	for kind, version := range map[string]string{"LinkedCluster": v1alpha1.GroupVersion.String(), "Stranger": "v1"} {
		must(core.Events("default").Create(ctx, &corev1.Event{ObjectMeta: metav1.ObjectMeta{Name: strings.ToLower(kind), Namespace: "default"}, Type: "Warning", Reason: "Unreachable",
			InvolvedObject: corev1.ObjectReference{APIVersion: version, Kind: kind, Name: "west"}}, metav1.CreateOptions{}))
	}
	must(core.Nodes().Create(ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "east-1", Annotations: map[string]string{"a": "hunter2-in-an-annotation"}}}, metav1.CreateOptions{}))
	link := &unstructured.Unstructured{Object: map[string]any{"apiVersion": v1alpha1.GroupVersion.String(), "kind": "LinkedCluster", "metadata": map[string]any{"name": "west"},
		"spec": map[string]any{"podCIDRs": []any{"10.132.0.0/14"}, "tunnelCIDR": "100.127.4.0/22", "api": map[string]any{"server": "https://root:hunter2-in-a-url@west.example:6443/?token=hunter2-in-a-url", "secret": "sdn-tunnel-peer-west"}}}}
	must(dyn.Resource(v1alpha1.GroupVersion.WithResource("linkedclusters")).Create(ctx, link, metav1.CreateOptions{}))
}

// TestNoSecrets: of a cluster with secrets everywhere, what is needed is packed, and none of
// the secrets.
func TestNoSecrets(t *testing.T) {
	s := apitest.Start(t)
	secretive(t, s)
	pods := &withPods{}
	o := Options{Since: time.Hour, Options: meshstatus.Options{Namespace: "sdn-tunnel", Members: []meshstatus.Member{
		{Name: "east", Open: func(context.Context) (*rest.Config, error) { return s.Config, nil }},
		{Name: "west", Open: func(context.Context) (*rest.Config, error) { return nil, errors.New("no way in") }}}}}
	o.open = func(ctx context.Context, m meshstatus.Member) (cluster, error) {
		c, err := connect(ctx, m)
		pods.cluster = c
		return pods, err
	}
	var archive bytes.Buffer
	missing, err := Run(t.Context(), o, &archive)
	if err != nil || len(missing) != 1 || missing[0].Cluster != "west" {
		t.Errorf("missing %v, %v", missing, err)
	}
	files := unpack(t, archive.Bytes())
	for name, text := range files {
		for _, needle := range needles {
			if strings.Contains(text, needle) {
				t.Errorf("%s has the secret %q:\n%s", name, needle, text)
			}
		}
	}
	if strings.Contains(files[folder+"/east/mesh-events.yaml"], "Stranger") {
		t.Error("events of others are packed")
	}
	for name, wants := range map[string][]string{
		"status.txt": {"CLUSTER", "no way in"}, "status.json": {`"ok": false`}, "missing.txt": {"west: its API: no way in"}, "version.txt": {"sdn-tunnel"},
		"east/linkedclusters.yaml": {"10.132.0.0/14", "server: https://west.example:6443"}, "east/pods.yaml": {"image: agent:v1", "--mtu=0", "nodeName: east-1"},
		"east/services.yaml": {"port: 5555"}, "east/events.yaml": {"reason: Failed"}, "east/mesh-events.yaml": {"reason: Unreachable", "kind: LinkedCluster"}, "east/nodes.yaml": {"name: east-1"},
		"east/configmaps.yaml":                            {"forward . 192.0.2.1", "kubeconfig /etc/x ctx", "cluster.west:5353"},
		"east/nodes/east-1.json":                          {"east.east-1"},
		"east/logs/sdn-tunnel-agent-x/agent.log":          {"msg=starting", "msg=ended", "left out"},
		"east/logs/sdn-tunnel-agent-x/agent.previous.log": {"msg=ended"},
	} {
		for _, want := range wants {
			if !strings.Contains(files[folder+"/"+name], want) {
				t.Errorf("%s lacks %q:\n%s", name, want, files[folder+"/"+name])
			}
		}
	}
	if names := strings.Join(slices.Sorted(mapKeys(files)), "\n"); strings.Contains(names, "secrets") {
		t.Errorf("the files are\n%s", names)
	}
}

func mapKeys(m map[string]string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// TestNothing: no cluster that answers is an error, and says so in the archive.
func TestNothing(t *testing.T) {
	o := Options{Options: meshstatus.Options{Members: []meshstatus.Member{{Name: "west", Open: func(context.Context) (*rest.Config, error) { return nil, errors.New("no way in") }}}}}
	var archive bytes.Buffer
	if _, err := Run(t.Context(), o, &archive); !errors.Is(err, ErrNothing) {
		t.Errorf("got %v", err)
	}
	if files := unpack(t, archive.Bytes()); !strings.Contains(files[folder+"/missing.txt"], "no way in") {
		t.Errorf("the files are %v", files)
	}
}

// TestGuard: what looks like a secret is left out of whatever is packed, and nothing else.
func TestGuard(t *testing.T) {
	for text, whole := range map[string]bool{
		"publicKey: R5vCZMaO3y8HSbIZNriGSt+cloT7qTp7T6OYCQr2+hs=\n": true,
		"https://west.example:6443/a@b\n":                           true,
		"a " + token + " b\n":                                       false,
		"token sha256~abcdefghijklmnopqrstuvwxyz\n":                 false,
		"https://root:pass@west.example\n":                          false,
		"authorization: basic cm9vdDpwYXNz\n":                       false,
	} {
		if got := string(guard([]byte("before\n" + text + "after\n"))); (got == "before\n"+text+"after\n") != whole || !strings.HasPrefix(got, "before\n") || !strings.HasSuffix(got, "after\n") {
			t.Errorf("%q becomes %q", text, got)
		}
	}
}

// TestCorefiles: what a deploy writes is taken as it is, but for its comments.
func TestCorefiles(t *testing.T) {
	files, err := filepath.Glob("../dnsplan/testdata/*.corefile")
	if err != nil || len(files) < 4 {
		t.Fatalf("Corefiles: %v, %v", files, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		want := ""
		for line := range strings.Lines(string(text)) {
			if strings.HasPrefix(strings.TrimSpace(line), "#") {
				line = lineLeftOut
			}
			want += line
		}
		if got := corefile(string(text)); got != want && filepath.Base(file) != "extra.corefile" {
			t.Errorf("%s: %s", file, cmp.Diff(want, got))
		}
	}
}
