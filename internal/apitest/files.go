package apitest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	apiextensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apiextensionsclient "k8s.io/apiextensions-apiserver/pkg/client/clientset/clientset"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"
)

// writeCerts writes what kube-apiserver reads its identities from.
func (s *Server) writeCerts() error {
	serving, err := s.ca.issue("kube-apiserver")
	if err != nil {
		return err
	}
	for name, content := range map[string][]byte{
		"ca.crt": s.ca.pem, "apiserver.crt": serving.cert, "apiserver.key": serving.key,
	} {
		if err := os.WriteFile(filepath.Join(s.dir, name), content, 0o600); err != nil {
			return fmt.Errorf("write %s: %w", name, err)
		}
	}
	return nil
}

// apiArgs are kube-apiserver's. No controller runs here, so the admission plugin
// that waits for the default service account is off.
func apiArgs(dir string, etcdPort, securePort uint16) []string {
	file := func(name string) string { return filepath.Join(dir, name) }
	return []string{
		"--etcd-servers=http://127.0.0.1:" + strconv.Itoa(int(etcdPort)),
		"--bind-address=127.0.0.1", "--advertise-address=127.0.0.1", "--endpoint-reconciler-type=none",
		"--secure-port=" + strconv.Itoa(int(securePort)),
		"--tls-cert-file=" + file("apiserver.crt"), "--tls-private-key-file=" + file("apiserver.key"),
		"--client-ca-file=" + file("ca.crt"),
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file=" + file("apiserver.key"),
		"--service-account-signing-key-file=" + file("apiserver.key"),
		"--service-cluster-ip-range=172.30.0.0/16",
		"--authorization-mode=Node,RBAC", "--allow-privileged=true",
		"--disable-admission-plugins=ServiceAccount",
	}
}

// ownCRDs finds the project's CRDs from anywhere inside the source tree.
func ownCRDs() ([]string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return nil, fmt.Errorf("find the source tree: %w", err)
	}
	for ; dir != "/"; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err != nil {
			continue
		}
		found, err := filepath.Glob(filepath.Join(dir, "roles/tunnel/files/crds/*.yaml"))
		if err == nil && len(found) > 0 {
			return found, nil
		}
	}
	return nil, errors.New("find the project's CRDs: no roles/tunnel/files/crds in a parent of the working directory")
}

// installCRDs creates the CRDs of the files and waits until they are served, which is a
// little after the API server has taken them.
func installCRDs(ctx context.Context, access *rest.Config, files []string) error {
	clients, err := apiextensionsclient.NewForConfig(access)
	if err != nil {
		return fmt.Errorf("make a client for CRDs: %w", err)
	}
	crds := clients.ApiextensionsV1().CustomResourceDefinitions()
	var names []string
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			return fmt.Errorf("read a CRD: %w", err)
		}
		for _, document := range bytes.Split(content, []byte("\n---\n")) {
			var crd apiextensions.CustomResourceDefinition
			if err := yaml.UnmarshalStrict(document, &crd); err != nil {
				return fmt.Errorf("read the CRD in %s: %w", file, err)
			}
			if crd.Name == "" {
				continue
			}
			if _, err := crds.Create(ctx, &crd, metav1.CreateOptions{}); err != nil {
				return fmt.Errorf("create CRD %s: %w", crd.Name, err)
			}
			names = append(names, crd.Name)
		}
	}
	for _, name := range names {
		err := wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, 30*time.Second, true, func(ctx context.Context) (bool, error) {
			crd, err := crds.Get(ctx, name, metav1.GetOptions{})
			if err != nil || !established(crd) {
				return false, err
			}
			return served(clients.Discovery(), crd), nil
		})
		if err != nil {
			return fmt.Errorf("wait for CRD %s: %w", name, err)
		}
	}
	return nil
}

// served tells whether the API server lists the kind in all its versions.
func served(api discovery.ServerResourcesInterface, crd *apiextensions.CustomResourceDefinition) bool {
	for _, v := range crd.Spec.Versions {
		if !v.Served {
			continue
		}
		list, err := api.ServerResourcesForGroupVersion(crd.Spec.Group + "/" + v.Name)
		if err != nil || !slices.ContainsFunc(list.APIResources, func(r metav1.APIResource) bool { return r.Name == crd.Spec.Names.Plural }) {
			return false
		}
	}
	return true
}

func established(crd *apiextensions.CustomResourceDefinition) bool {
	for _, c := range crd.Status.Conditions {
		if c.Type == apiextensions.Established {
			return c.Status == apiextensions.ConditionTrue
		}
	}
	return false
}

// logTail is the end of each program's log, for a failed start.
func (s *Server) logTail() string {
	var out bytes.Buffer
	for _, name := range []string{"etcd.log", "kube-apiserver.log"} {
		content, err := os.ReadFile(filepath.Join(s.dir, name))
		if err != nil {
			continue
		}
		if len(content) > 4000 {
			content = content[len(content)-4000:]
		}
		fmt.Fprintf(&out, "--- %s\n%s\n", name, content)
	}
	return out.String()
}
