package admission

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	applyadmission "k8s.io/client-go/applyconfigurations/admissionregistration/v1"
	applycorev1 "k8s.io/client-go/applyconfigurations/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sdn-tunnel/sdn-tunnel/api/v1alpha1"
	"github.com/sdn-tunnel/sdn-tunnel/internal/ssa"
)

const (
	// keepInterval is how often the certificate is looked at, keepRetry how soon again
	// when something was not as it should be.
	keepInterval = time.Minute
	keepRetry    = 2 * time.Second
)

// Names are what the deploy has made for the webhook.
type Names struct {
	Namespace string
	// Service is the name of the Service and of the Secret with the certificate.
	Service string
	// Configuration is the name of the ValidatingWebhookConfiguration.
	Configuration string
	// Also are further names that the certificate is for.
	Also []string
}

func (n Names) all() []string {
	return append([]string{n.Service + "." + n.Namespace + ".svc"}, n.Also...)
}

// Keeper keeps the certificate that the webhook serves with, in the Secret that all
// replicas share, and its authority in the webhook's configuration. A new certificate
// is served only when the API server has been told of its authority.
type Keeper struct {
	Names
	// Reader does not cache: a cache would need the right to list.
	Reader client.Reader
	Writer ssa.Writer
	Log    *slog.Logger
	// Now is the clock; nil means time.Now.
	Now func() time.Time

	current atomic.Pointer[tls.Certificate]
	told    string // the last problem that was logged
}

var errNoCertificate = errors.New("the webhook has no certificate yet")

// Certificate is for tls.Config.GetCertificate.
func (k *Keeper) Certificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	if c := k.current.Load(); c != nil {
		return c, nil
	}
	return nil, errNoCertificate
}

// NeedLeaderElection is false: every replica serves.
func (k *Keeper) NeedLeaderElection() bool { return false }

// Start keeps until ctx ends.
func (k *Keeper) Start(ctx context.Context) error {
	for {
		pause := keepInterval
		if err := k.Keep(ctx); err != nil {
			pause = keepRetry
			if err.Error() != k.told && ctx.Err() == nil {
				k.Log.Warn("the admission webhook is not complete", "err", err)
			}
			k.told = err.Error()
		} else if k.told != "" {
			k.Log.Info("the admission webhook is complete")
			k.told = ""
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
	}
}

// Keep looks once whether all is as it should be, and puts it right.
func (k *Keeper) Keep(ctx context.Context) error {
	now := time.Now
	if k.Now != nil {
		now = k.Now
	}
	var secret corev1.Secret
	key := client.ObjectKey{Namespace: k.Namespace, Name: k.Service}
	if err := k.Reader.Get(ctx, key, &secret); err != nil {
		return fmt.Errorf("read the Secret %s of the admission webhook: %w", key, err)
	}
	p := pairOf(&secret)
	cert, why := p.serving(k.all(), now())
	if why != nil {
		var err error
		if p, err = newPair(k.all(), now(), p); err != nil {
			return fmt.Errorf("the admission webhook: %w", err)
		}
		if cert, err = p.serving(k.all(), now()); err != nil {
			return fmt.Errorf("the admission webhook: %w", err)
		}
		if err := k.write(ctx, &secret, p); err != nil {
			return err // perhaps another replica was faster: its pair is found in a moment
		}
		k.Log.Info("the admission webhook has a new certificate", "why", why, "until", cert.Leaf.NotAfter)
	}
	if err := k.announce(ctx, p.authorities); err != nil {
		return err
	}
	k.current.Store(cert)
	return nil
}

// write stores the pair if nobody else has in the meantime.
func (k *Keeper) write(ctx context.Context, secret *corev1.Secret, p pair) error {
	config := applycorev1.Secret(secret.Name, secret.Namespace).WithResourceVersion(secret.ResourceVersion).WithData(p.data())
	if err := k.Writer.Apply(ctx, config, client.FieldOwner(v1alpha1.ManagerController), client.ForceOwnership); err != nil {
		return fmt.Errorf("write the Secret %s/%s of the admission webhook: %w", secret.Namespace, secret.Name, err)
	}
	return nil
}

// announce tells the API server which authorities to trust.
func (k *Keeper) announce(ctx context.Context, authorities []byte) error {
	var is admissionregistrationv1.ValidatingWebhookConfiguration
	if err := k.Reader.Get(ctx, client.ObjectKey{Name: k.Configuration}, &is); err != nil {
		return fmt.Errorf("read the ValidatingWebhookConfiguration %s: %w", k.Configuration, err)
	}
	config := applyadmission.ValidatingWebhookConfiguration(k.Configuration)
	differs := false
	for i := range is.Webhooks {
		differs = differs || !bytes.Equal(is.Webhooks[i].ClientConfig.CABundle, authorities)
		config.WithWebhooks(applyadmission.ValidatingWebhook().WithName(is.Webhooks[i].Name).
			WithClientConfig(applyadmission.WebhookClientConfig().WithCABundle(authorities...)))
	}
	if !differs {
		return nil
	}
	config.WithResourceVersion(is.ResourceVersion)
	if err := k.Writer.Apply(ctx, config, client.FieldOwner(v1alpha1.ManagerController), client.ForceOwnership); err != nil {
		return fmt.Errorf("tell the ValidatingWebhookConfiguration %s its authority: %w", k.Configuration, err)
	}
	k.Log.Info("the API server knows the admission webhook's authority", "configuration", k.Configuration)
	return nil
}
