package kubeaccess

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/version"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

const (
	// The default of client-go (5 requests a second) makes a cluster of 100 nodes wait.
	queriesPerSecond = 100
	burst            = 200
	// checkTimeout bounds the first request, so that a silent address is an error soon.
	checkTimeout = 10 * time.Second
)

// Access is a cluster that answered.
type Access struct {
	// Config is the client configuration.
	Config *rest.Config
	// Version is what the API server says of itself.
	Version version.Info

	args  Args
	token string // obtained by login, to be taken back
}

// Config is Open for callers that need no logout: those with a kubeconfig, and tests.
func Config(ctx context.Context, a Args) (*rest.Config, error) {
	acc, err := Open(ctx, a)
	if err != nil {
		return nil, err
	}
	return acc.Config, nil
}

// Open makes a client configuration from a and asks the API server once with it, so
// that a wrong address, an untrusted certificate and bad credentials are told apart
// before any work. Close the Access when done.
func Open(ctx context.Context, a Args) (*Access, error) {
	if err := a.validate(); err != nil {
		return nil, err
	}
	var err error
	if a, err = a.atHome(); err != nil {
		return nil, err
	}
	acc := &Access{args: a}
	if a.URL != "" {
		err = acc.login(ctx)
	} else {
		acc.Config, err = fromKubeconfig(a)
	}
	if err != nil {
		return nil, err
	}
	acc.Config.QPS, acc.Config.Burst = queriesPerSecond, burst
	acc.Config.UserAgent = "sdn-tunnel"
	if err := acc.check(ctx); err != nil {
		return nil, errors.Join(err, acc.Close(ctx))
	}
	return acc, nil
}

func fromKubeconfig(a Args) (*rest.Config, error) {
	fail := func(field, problem, remedy string, err error) error {
		return &Error{Kind: ErrInvalid, Cluster: a.cluster(), Field: field, Problem: problem, Remedy: remedy, Err: err}
	}
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = a.Kubeconfig
	overrides := &clientcmd.ConfigOverrides{CurrentContext: a.Context}
	cfg, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, overrides).ClientConfig()
	if err != nil {
		field := "kubeconfig"
		if a.Context != "" && !errors.Is(err, os.ErrNotExist) {
			field = "context"
		}
		return nil, fail(field, err.Error(), "check the file and the context's name", err)
	}
	if cfg.Insecure {
		return nil, fail("kubeconfig", "it says insecure-skip-tls-verify, and certificates are always verified here",
			"take that line out and give the cluster's certificate-authority, or set ca_file", nil)
	}
	if a.CAFile != "" {
		ca, err := readCA(a)
		if err != nil {
			return nil, err
		}
		cfg.CAFile, cfg.CAData = "", ca
	}
	return cfg, nil
}

// check asks for the server's version, which any known user may read.
func (acc *Access) check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	cfg := rest.CopyConfig(acc.Config)
	cfg.NegotiatedSerializer = scheme.Codecs.WithoutConversion()
	client, err := rest.UnversionedRESTClientFor(cfg)
	if err != nil {
		return &Error{Kind: ErrInvalid, Cluster: acc.args.cluster(), Field: acc.args.serverField(),
			Problem: err.Error(), Remedy: "check the certificates and files that it names", Err: err}
	}
	body, err := client.Get().AbsPath("/version").Do(ctx).Raw()
	switch {
	case apierrors.IsForbidden(err):
		return nil // known, but not allowed to read this: not a question of access
	case err != nil:
		return Explain(acc.args, cfg.Host, fmt.Errorf("asking for the version: %w", err))
	}
	if err := json.Unmarshal(body, &acc.Version); err != nil || acc.Version.GitVersion == "" {
		return &Error{Kind: ErrUnreachable, Cluster: acc.args.cluster(), URL: redactURL(cfg.Host), Field: acc.args.serverField(),
			Problem: "what answers is not a Kubernetes API server", Remedy: "check host and port"}
	}
	return nil
}

// Close takes back a token that Open obtained. It tries once; a token that stays
// expires by itself.
func (acc *Access) Close(ctx context.Context) error {
	if acc == nil || acc.token == "" {
		return nil
	}
	token := acc.token
	acc.token = ""
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), checkTimeout)
	defer cancel()
	return acc.revoke(ctx, token)
}
