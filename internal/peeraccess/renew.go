package peeraccess

import (
	"context"
	"fmt"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"

	"github.com/sdn-tunnel/sdn-tunnel/internal/ssa"
)

// renewTimeout bounds the request for a new token.
const renewTimeout = 15 * time.Second

// RestConfig is the client configuration of a Secret, and the token in it. It takes
// from the Secret the server, its authority and the token, nothing else, and trusts the
// server with nothing: no redirect is followed, what it answers is bounded, and its
// messages come as Plain text.
func RestConfig(s *corev1.Secret) (*rest.Config, Token, error) {
	raw, ok := s.Data[KubeconfigKey]
	if !ok {
		return nil, Token{}, fmt.Errorf("the Secret %s/%s has no key %q: run the deploy again", s.Namespace, s.Name, KubeconfigKey)
	}
	server, token, err := ParseKubeconfig(raw)
	if err != nil {
		return nil, Token{}, fmt.Errorf("the Secret %s/%s: %w: run the deploy again", s.Namespace, s.Name, err)
	}
	return server.config(token), token, nil
}

func (s Server) config(t Token) *rest.Config {
	return guarded(&rest.Config{
		Host:            s.URL,
		BearerToken:     t.raw,
		TLSClientConfig: rest.TLSClientConfig{CAData: s.CAData, ServerName: s.TLSServerName},
	})
}

// Renew replaces a Secret's token by a new one if half its life is over, asking the
// granting cluster with the old one. It returns the token that the Secret has then. Keys
// for files that do not fit the token are put right.
func Renew(ctx context.Context, c ssa.Writer, s *corev1.Secret, cluster string, owner string, o Options) (Token, bool, error) {
	cfg, token, err := RestConfig(s)
	if err != nil {
		return Token{}, false, err
	}
	server, _, err := ParseKubeconfig(s.Data[KubeconfigKey])
	if err != nil {
		return token, false, err
	}
	if token.Fresh(o.now()) {
		if inStep(s, cluster, server, token) {
			return token, false, nil
		}
		return token, false, WriteSecret(ctx, c, s.Namespace, cluster, server, token, owner)
	}
	ctx, cancel := context.WithTimeout(ctx, renewTimeout)
	defer cancel()
	core, err := v1.NewForConfig(cfg)
	if err != nil {
		return token, false, fmt.Errorf("renew the access to %s: %w", cluster, err)
	}
	expiration := o.Expiration
	if expiration == 0 {
		expiration = DefaultExpiration
	}
	seconds := int64(expiration.Seconds())
	answer, err := core.ServiceAccounts(token.Namespace).CreateToken(ctx, token.Account, &authenticationv1.TokenRequest{
		Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &seconds}}, metav1.CreateOptions{})
	if err != nil {
		return token, false, fmt.Errorf("renew the access to %s (%s): %w", cluster, token, err)
	}
	fresh, err := parseToken(answer.Status.Token)
	if err != nil {
		return token, false, fmt.Errorf("renew the access to %s: %w", cluster, err)
	}
	return fresh, true, WriteSecret(ctx, c, s.Namespace, cluster, server, fresh, owner)
}
