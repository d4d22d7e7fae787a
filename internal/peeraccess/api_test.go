package peeraccess_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sdn-tunnel/sdn-tunnel/api/v1alpha1"
	"github.com/sdn-tunnel/sdn-tunnel/internal/apitest"
	"github.com/sdn-tunnel/sdn-tunnel/internal/peeraccess"
	"github.com/sdn-tunnel/sdn-tunnel/internal/ssa"
)

// pair are two members in two namespaces of one API server.
type pair struct {
	*testing.T
	api        *apitest.Server
	admin      client.Client
	east, west peeraccess.Side
}

func newPair(t *testing.T) *pair {
	t.Helper()
	s := apitest.Start(t)
	admin := s.Client(t, clientgoscheme.AddToScheme, v1alpha1.AddToScheme)
	server, err := peeraccess.ServerOf(s.Config)
	if err != nil {
		t.Fatal(err)
	}
	side := func(name string) peeraccess.Side {
		return peeraccess.Side{Cluster: name, Namespace: name, Client: admin, Server: server}
	}
	return &pair{T: t, api: s, admin: admin, east: side("east"), west: side("west")}
}

// ensure lets west read east and returns what changed, which never shows a token.
func (p *pair) ensure(o peeraccess.Options) string {
	p.Helper()
	changes, err := peeraccess.Ensure(p.Context(), p.east, p.west, o)
	if err != nil {
		p.Fatal(err)
	}
	return p.words(changes)
}

func (p *pair) words(changes []ssa.Change) string {
	p.Helper()
	raw, err := json.Marshal(changes)
	if err != nil {
		p.Fatal(err)
	}
	if strings.Contains(string(raw)+fmt.Sprint(changes), "eyJ") {
		p.Errorf("a change shows a token: %s", raw)
	}
	var out []string
	for _, c := range changes {
		out = append(out, c.String())
	}
	return strings.Join(out, "; ")
}

func (p *pair) secret() *corev1.Secret {
	var s corev1.Secret
	if err := p.admin.Get(p.Context(), client.ObjectKey{Namespace: "west", Name: peeraccess.Name("east")}, &s); err != nil {
		return nil
	}
	return &s
}

// as is a client with the identity in the Secret.
func (p *pair) as(s *corev1.Secret) client.Client {
	p.Helper()
	cfg, _, err := peeraccess.RestConfig(s)
	if err != nil {
		p.Fatal(err)
	}
	c, err := client.New(cfg, client.Options{Scheme: p.admin.Scheme(), Mapper: p.admin.RESTMapper()})
	if err != nil {
		p.Fatal(err)
	}
	return c
}

// reads tells whether the identity in the Secret may list TunnelNodes.
func (p *pair) reads(s *corev1.Secret) error {
	p.Helper()
	return p.as(s).List(p.Context(), &v1alpha1.TunnelNodeList{})
}

// readsWhatIsShared: in all namespaces, what services there are, and nothing else.
func (p *pair) readsWhatIsShared(s *corev1.Secret) {
	p.Helper()
	peer := p.as(s)
	for _, c := range []struct {
		group, resource, verb string
		may                   bool
	}{
		{"sdntunnel.io", "linkedclusters", "watch", true},
		{"", "services", "get", true},
		{"", "services", "list", true},
		{"", "services", "watch", true},
		{"", "services", "create", false},
		{"", "services", "delete", false},
		{"", "namespaces", "watch", true},
		{"discovery.k8s.io", "endpointslices", "watch", true},
		{"discovery.k8s.io", "endpointslices", "patch", false},
		{"multicluster.x-k8s.io", "serviceexports", "watch", true},
		{"multicluster.x-k8s.io", "serviceimports", "list", false},
		{"", "endpoints", "list", false},
		{"", "secrets", "list", false},
		{"", "configmaps", "list", false},
		{"", "pods", "list", false},
		{"", "nodes", "list", false},
	} {
		review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{
			ResourceAttributes: &authorizationv1.ResourceAttributes{Group: c.group, Resource: c.resource, Verb: c.verb}}}
		if err := peer.Create(p.Context(), review); err != nil {
			p.Fatal(err)
		}
		if review.Status.Allowed != c.may {
			p.Errorf("%s %s.%s: allowed %v, want %v", c.verb, c.resource, c.group, review.Status.Allowed, c.may)
		}
	}
}

// readsFromFiles: mounted anywhere, the Secret's keys are a kubeconfig that works and
// has no token in it, so that a renewal changes the token's file only.
func (p *pair) readsFromFiles(s *corev1.Secret) {
	p.Helper()
	dir := p.TempDir()
	for _, key := range []string{peeraccess.FileKubeconfigKey, peeraccess.TokenKey} {
		if err := os.WriteFile(filepath.Join(dir, key), s.Data[key], 0o600); err != nil {
			p.Fatal(err)
		}
	}
	if strings.Contains(string(s.Data[peeraccess.FileKubeconfigKey]), "eyJ") {
		p.Error("the kubeconfig for files has the token in it")
	}
	cfg, err := clientcmd.BuildConfigFromFlags("", filepath.Join(dir, peeraccess.FileKubeconfigKey))
	if err != nil {
		p.Fatal(err)
	}
	c, err := client.New(cfg, client.Options{Scheme: p.admin.Scheme(), Mapper: p.admin.RESTMapper()})
	if err != nil {
		p.Fatal(err)
	}
	if err := c.List(p.Context(), &v1alpha1.TunnelNodeList{}); err != nil {
		p.Errorf("by the mounted files: %v", err)
	}
}

// staysInStep: keys for files that someone changed are put right by the renewal without
// a new token, and by a deploy; so is a Secret of an earlier version, which has none.
func (p *pair) staysInStep() {
	p.Helper()
	for _, key := range []string{peeraccess.FileKubeconfigKey, peeraccess.TokenKey} {
		want := p.secret()
		broken := want.DeepCopy()
		delete(broken.Data, key)
		if err := p.admin.Update(p.Context(), broken); err != nil {
			p.Fatal(err)
		}
		if _, renewed, err := peeraccess.Renew(p.Context(), p.admin, p.secret(), "east", "test", peeraccess.Options{}); err != nil || renewed {
			p.Errorf("without %s: renewed %t, %v", key, renewed, err)
		}
		if diff := cmp.Diff(want.Data, p.secret().Data); diff != "" {
			p.Errorf("without %s: the renewal did not put it back: %s", key, diff)
		}
		broken = p.secret()
		broken.Data[key] = []byte("changed")
		if err := p.admin.Update(p.Context(), broken); err != nil {
			p.Fatal(err)
		}
		if got := p.ensure(peeraccess.Options{}); got != "update Secret west/sdn-tunnel-peer-east" {
			p.Errorf("a deploy where %s was changed: %s", key, got)
		}
	}
}

// TestEnsure: an identity's whole life, each step said before it is done.
func TestEnsure(t *testing.T) {
	p := newPair(t)
	made := "create ServiceAccount east/sdn-tunnel-peer-west; create ClusterRole sdn-tunnel-peer; create ClusterRoleBinding sdn-tunnel-peer-west; " +
		"create Role east/sdn-tunnel-peer-west; create RoleBinding east/sdn-tunnel-peer-west; create Secret west/sdn-tunnel-peer-east"
	if got := p.ensure(peeraccess.Options{DryRun: true}); got != made || p.secret() != nil {
		t.Errorf("dry run on empty clusters: %s", got)
	}
	p.api.Namespaces(t, "east", "west")
	if got := p.ensure(peeraccess.Options{}); got != made {
		t.Errorf("first run: %s", got)
	}
	first := p.secret()
	if err := p.reads(first); err != nil {
		t.Error(err)
	}
	p.readsWhatIsShared(first)
	p.readsFromFiles(first)
	if got := p.ensure(peeraccess.Options{}); got != "" {
		t.Errorf("second run: %s", got)
	}

	_, token, err := peeraccess.RestConfig(first)
	if err != nil {
		t.Fatal(err)
	}
	late := peeraccess.Options{Now: func() time.Time { return token.RenewAt().Add(time.Minute) }}
	early := peeraccess.Options{Now: func() time.Time { return token.RenewAt().Add(-time.Second) }}
	if got := p.ensure(early); got != "" {
		t.Errorf("before half its life: %s", got)
	}
	if _, renewed, err := peeraccess.Renew(t.Context(), p.admin, first, "east", "test", early); err != nil || renewed {
		t.Errorf("renewed before half its life: %t, %v", renewed, err)
	}
	if _, renewed, err := peeraccess.Renew(t.Context(), p.admin, first, "east", "test", late); err != nil || !renewed {
		t.Errorf("renewed after half its life: %t, %v", renewed, err)
	}
	if p.secret().ResourceVersion == first.ResourceVersion {
		t.Error("the renewed token is not in the Secret")
	}
	if got := p.ensure(late); got != "update Secret west/sdn-tunnel-peer-east" {
		t.Errorf("a deploy after half its life: %s", got)
	}

	p.staysInStep()
	p.interrupted()
	p.revoke()
	if got := p.ensure(peeraccess.Options{}); !strings.Contains(got, "update Secret") {
		t.Errorf("after the revocation: %s", got)
	}
	if err := p.reads(p.secret()); err != nil {
		t.Error(err)
	}
	p.removeAll()
}

// interrupted: who was to replace the token made the account anew and got no further. The
// next deploy sees that the token is void.
func (p *pair) interrupted() {
	p.Helper()
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "east", Name: peeraccess.Name("west")}}
	if err := p.admin.Get(p.Context(), client.ObjectKeyFromObject(account), account); err != nil {
		p.Fatal(err)
	}
	again := account.DeepCopy()
	again.UID, again.ResourceVersion = "", ""
	if err := p.admin.Delete(p.Context(), account); err != nil {
		p.Fatal(err)
	}
	if err := p.admin.Create(p.Context(), again); err != nil {
		p.Fatal(err)
	}
	if got := p.ensure(peeraccess.Options{}); !strings.HasSuffix(got, "update Secret west/sdn-tunnel-peer-east") {
		p.Errorf("a deploy where the account was made anew: %q", got)
	}
	if err := p.reads(p.secret()); err != nil {
		p.Error(err)
	}
	if got := p.ensure(peeraccess.Options{}); got != "" {
		p.Errorf("a second one: %s", got)
	}
}

// revoke: the token is void when the account is gone, and cannot renew itself.
func (p *pair) revoke() {
	p.Helper()
	old := p.secret()
	changes, err := peeraccess.Revoke(p.Context(), p.east, "west", peeraccess.Options{DryRun: true})
	if err != nil || len(changes) != 4 || p.reads(old) != nil {
		p.Errorf("dry revocation: %v, %v", changes, err)
	}
	if changes, err = peeraccess.Revoke(p.Context(), p.east, "west", peeraccess.Options{}); err != nil || len(changes) != 4 {
		p.Errorf("revocation: %v, %v", changes, err)
	}
	if changes, err = peeraccess.Revoke(p.Context(), p.east, "west", peeraccess.Options{}); err != nil || len(changes) != 0 {
		p.Errorf("a second one: %v, %v", changes, err)
	}
	deadline := time.Now().Add(30 * time.Second)
	for p.reads(old) == nil {
		if time.Now().After(deadline) {
			p.Fatal("the token still reads")
		}
		time.Sleep(200 * time.Millisecond)
	}
	_, _, err = peeraccess.Renew(p.Context(), p.admin, old, "east", "test", peeraccess.Options{Now: func() time.Time { return time.Now().Add(1e6 * time.Hour) }})
	if err == nil || strings.Contains(err.Error(), "eyJ") || !strings.Contains(err.Error(), "renew the access to east") {
		p.Errorf("a revoked token renews itself: %v", err)
	}
}

func (p *pair) removeAll() {
	p.Helper()
	for _, side := range []peeraccess.Side{p.east, p.west} {
		for range 2 {
			if _, err := peeraccess.RemoveAll(p.Context(), side, peeraccess.Options{}); err != nil {
				p.Fatal(err)
			}
		}
	}
	var accounts corev1.ServiceAccountList
	var bindings rbacv1.ClusterRoleBindingList
	if err := p.admin.List(p.Context(), &accounts, client.HasLabels{v1alpha1.LabelCluster}); err != nil || len(accounts.Items) > 0 {
		p.Errorf("accounts left: %v, %v", accounts.Items, err)
	}
	if err := p.admin.List(p.Context(), &bindings, client.HasLabels{v1alpha1.LabelCluster}); err != nil || len(bindings.Items) > 0 {
		p.Errorf("bindings left: %v, %v", bindings.Items, err)
	}
	var role rbacv1.ClusterRole
	if err := p.admin.Get(p.Context(), client.ObjectKey{Name: "sdn-tunnel-peer"}, &role); err == nil {
		p.Error("the ClusterRole is left")
	}
	if p.secret() != nil {
		p.Error("the Secret is left")
	}
}
