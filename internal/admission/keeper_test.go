package admission

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"testing"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sdn-tunnel/sdn-tunnel/internal/apitest"
)

// replica is a Keeper whose clock the test sets.
type replica struct {
	*Keeper
	now time.Time
}

func newReplica(t *testing.T, c client.Client) *replica {
	r := &replica{now: time.Now()}
	r.Keeper = &Keeper{Names: Names{Namespace: "default", Service: "hook", Configuration: "hook"}, Reader: c, Writer: c,
		Log: slog.New(slog.NewTextHandler(t.Output(), nil)), Now: func() time.Time { return r.now }}
	return r
}

func (r *replica) keep(t *testing.T) {
	t.Helper()
	if err := r.Keep(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// trusted tells whether the API server, by the configuration, would trust what the
// replica serves.
func (r *replica) trusted(t *testing.T, c client.Client) error {
	t.Helper()
	var config admissionregistrationv1.ValidatingWebhookConfiguration
	if err := c.Get(t.Context(), client.ObjectKey{Name: "hook"}, &config); err != nil {
		t.Fatal(err)
	}
	cert, err := r.Certificate(nil)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(config.Webhooks[0].ClientConfig.CABundle)
	_, err = cert.Leaf.Verify(x509.VerifyOptions{DNSName: "hook.default.svc", Roots: roots, CurrentTime: r.now})
	return err
}

// TestKeeper: two replicas share one certificate, and replace it at half its life
// without a moment in which the API server does not trust one of them.
func TestKeeper(t *testing.T) {
	c, err := client.New(apitest.Start(t).Config, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	one, two := newReplica(t, c), newReplica(t, c)
	if err := one.Keep(t.Context()); err == nil {
		t.Fatal("there is no Secret, and all is well")
	}
	if _, err := one.Certificate(nil); err == nil {
		t.Fatal("a certificate from nowhere")
	}
	url, none := "https://192.0.2.1/", admissionregistrationv1.SideEffectClassNone
	for _, o := range []client.Object{
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "hook"}},
		&admissionregistrationv1.ValidatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: "hook"},
			Webhooks: []admissionregistrationv1.ValidatingWebhook{{Name: "a.example.com", SideEffects: &none, AdmissionReviewVersions: []string{"v1"},
				ClientConfig: admissionregistrationv1.WebhookClientConfig{URL: &url}}}},
	} {
		if err := c.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	secret := func() (s corev1.Secret) {
		if err := c.Get(t.Context(), client.ObjectKey{Namespace: "default", Name: "hook"}, &s); err != nil {
			t.Fatal(err)
		}
		return s
	}
	both := func(when string) {
		t.Helper()
		for name, r := range map[string]*replica{"the first": one, "the second": two} {
			if err := r.trusted(t, c); err != nil {
				t.Errorf("%s: %s: %v", when, name, err)
			}
		}
	}
	one.keep(t)
	first := secret()
	two.keep(t)
	one.keep(t)
	if now := secret(); now.ResourceVersion != first.ResourceVersion || len(now.Data) != 3 {
		t.Errorf("a second look changed the Secret: %v", now.Data)
	}
	both("at first")

	one.now = one.now.Add(life/2 + time.Hour)
	two.now = one.now
	one.keep(t)
	both("while the second still serves the old one")
	if now := secret(); bytes.Equal(now.Data["tls.crt"], first.Data["tls.crt"]) || authorities(now) != 2 {
		t.Errorf("not replaced, or not with both authorities: %d", authorities(now))
	}
	two.keep(t)
	both("after")
	if a, b := one.current.Load(), two.current.Load(); !bytes.Equal(a.Certificate[0], b.Certificate[0]) {
		t.Error("they serve different ones")
	}

	one.now = one.now.Add(life)
	one.keep(t)
	if n := authorities(secret()); n != 2 {
		t.Errorf("%d authorities are kept", n)
	}

	for name, change := range map[string]func(*corev1.Secret){
		"an emptied Secret":   func(s *corev1.Secret) { s.Data = nil },
		"a broken one":        func(s *corev1.Secret) { s.Data["tls.key"] = []byte("x") },
		"without authorities": func(s *corev1.Secret) { delete(s.Data, "ca.crt") },
	} {
		s := secret()
		change(&s)
		if err := c.Update(t.Context(), &s); err != nil {
			t.Fatal(err)
		}
		one.keep(t)
		if err := one.trusted(t, c); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func authorities(s corev1.Secret) (n int) {
	for block, rest := pem.Decode(s.Data["ca.crt"]); block != nil; block, rest = pem.Decode(rest) {
		n++
	}
	return n
}
