package peeraccess

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	applycorev1 "k8s.io/client-go/applyconfigurations/core/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sdn-tunnel/sdn-tunnel/api/v1alpha1"
	"github.com/sdn-tunnel/sdn-tunnel/internal/ssa"
)

const (
	// KubeconfigKey is the Secret's key for the controller, and the one that counts.
	KubeconfigKey = "kubeconfig"
	// DefaultExpiration is what is asked for; the API server may grant less.
	DefaultExpiration = 30 * 24 * time.Hour
	redacted          = "(redacted)"
)

// Client is what this package needs of an API client; controller-runtime's has it.
type Client interface {
	ssa.Writer
	Get(ctx context.Context, key client.ObjectKey, obj client.Object, opts ...client.GetOption) error
	List(ctx context.Context, list client.ObjectList, opts ...client.ListOption) error
	SubResource(name string) client.SubResourceClient
}

// Server is how a member's API server is reached by the others.
type Server struct {
	URL    string
	CAData []byte
	// TLSServerName is the name in the certificate where it is not the URL's host.
	TLSServerName string
}

// ServerOf reads the server from a client configuration.
func ServerOf(cfg *rest.Config) (Server, error) {
	s := Server{URL: cfg.Host, CAData: cfg.CAData, TLSServerName: cfg.ServerName}
	if len(s.CAData) == 0 && cfg.CAFile != "" {
		ca, err := os.ReadFile(cfg.CAFile)
		if err != nil {
			return s, fmt.Errorf("read the authority's certificate for %s: %w", cfg.Host, err)
		}
		s.CAData = ca
	}
	return s, nil
}

// Side is one of two members.
type Side struct {
	Cluster   string
	Namespace string // that of sdn-tunnel there
	Client    Client
	Server    Server
}

// Options are the same for every pair.
type Options struct {
	// Expiration is asked for; 0 means DefaultExpiration.
	Expiration time.Duration
	// DryRun says what would change and changes nothing.
	DryRun bool
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Ensure lets cluster "to" read cluster "from": account and rights in from, Secret in
// to. A Secret whose token has more than half its life left, for the same account and server,
// is left as it is, so a second call changes nothing. One of an account that was made anew
// since is void, whoever made it and when.
func Ensure(ctx context.Context, from, to Side, o Options) ([]ssa.Change, error) {
	var changes []ssa.Change
	for _, config := range declared(from.Namespace, to.Cluster) {
		change, err := ensure(ctx, from.Client, config, o.DryRun)
		if change != nil {
			changes = append(changes, *change)
		}
		if err != nil {
			return changes, fmt.Errorf("cluster %s: identity for %s: %w", from.Cluster, to.Cluster, err)
		}
	}
	change, err := ensureSecret(ctx, from, to, o)
	if change != nil {
		changes = append(changes, *change)
	}
	if err != nil {
		return changes, fmt.Errorf("cluster %s: access to %s: %w", to.Cluster, from.Cluster, err)
	}
	return changes, nil
}

func ensure(ctx context.Context, c Client, config any, dryRun bool) (*ssa.Change, error) {
	desired, err := ssa.Declared(config)
	if err != nil {
		return nil, err
	}
	existing := &unstructured.Unstructured{}
	existing.SetGroupVersionKind(desired.GroupVersionKind())
	switch err := c.Get(ctx, client.ObjectKeyFromObject(desired), existing); {
	case apierrors.IsNotFound(err):
		return ssa.Ensure(ctx, c, desired, nil, v1alpha1.ManagerDeploy, dryRun)
	case err != nil:
		return nil, fmt.Errorf("read %s %s: %w", desired.GetKind(), desired.GetName(), err)
	}
	return ssa.Ensure(ctx, c, desired, existing.Object, v1alpha1.ManagerDeploy, dryRun)
}

// ensureSecret keeps the Secret.
func ensureSecret(ctx context.Context, from, to Side, o Options) (*ssa.Change, error) {
	account := corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: from.Namespace, Name: Name(to.Cluster)}}
	if err := from.Client.Get(ctx, client.ObjectKeyFromObject(&account), &account); client.IgnoreNotFound(err) != nil {
		return nil, fmt.Errorf("read ServiceAccount %s/%s: %w", from.Namespace, account.Name, err)
	}
	var secret corev1.Secret
	key := client.ObjectKey{Namespace: to.Namespace, Name: Name(from.Cluster)}
	err := to.Client.Get(ctx, key, &secret)
	if client.IgnoreNotFound(err) != nil {
		return nil, fmt.Errorf("read Secret %s: %w", key, err)
	}
	verb := ssa.Update
	if err != nil {
		verb = ssa.Create
	} else if usable(&secret, from, to, account.UID, o.now()) {
		return nil, nil
	}
	change := &ssa.Change{Verb: verb, Kind: "Secret", Namespace: key.Namespace, Name: key.Name,
		After: map[string]any{"data": map[string]any{KubeconfigKey: redacted + " for " + from.Server.URL}}}
	if verb == ssa.Update {
		change.Before = map[string]any{"data": map[string]any{KubeconfigKey: describe(&secret)}}
	}
	if o.DryRun {
		return change, nil
	}
	token, err := requestToken(ctx, from.Client, from.Namespace, Name(to.Cluster), o.Expiration)
	if err != nil {
		return nil, err
	}
	return change, WriteSecret(ctx, to.Client, to.Namespace, from.Cluster, from.Server, token, v1alpha1.ManagerDeploy)
}

// usable tells whether a Secret can stay as it is.
func usable(s *corev1.Secret, from, to Side, account types.UID, now time.Time) bool {
	server, token, err := ParseKubeconfig(s.Data[KubeconfigKey])
	return err == nil && s.Labels[v1alpha1.LabelCluster] == from.Cluster &&
		server.URL == from.Server.URL && server.TLSServerName == from.Server.TLSServerName &&
		bytes.Equal(bytes.TrimSpace(server.CAData), bytes.TrimSpace(from.Server.CAData)) &&
		token.Namespace == from.Namespace && token.Account == Name(to.Cluster) && token.UID == account && token.Fresh(now) &&
		inStep(s, from.Cluster, server, token)
}

// describe says what a Secret holds, without the token.
func describe(s *corev1.Secret) string {
	server, token, err := ParseKubeconfig(s.Data[KubeconfigKey])
	if err != nil {
		return redacted + ", " + err.Error()
	}
	return fmt.Sprintf("%s for %s, %s", redacted, server.URL, token)
}

// requestToken asks for a bound token (TokenRequest).
func requestToken(ctx context.Context, c Client, namespace, account string, expiration time.Duration) (Token, error) {
	if expiration == 0 {
		expiration = DefaultExpiration
	}
	seconds := int64(expiration.Seconds())
	sa := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: account}}
	tr := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &seconds}}
	if err := c.SubResource("token").Create(ctx, sa, tr); err != nil {
		return Token{}, fmt.Errorf("request a token of %s/%s: %w", namespace, account, err)
	}
	token, err := parseToken(tr.Status.Token)
	if err != nil {
		return Token{}, fmt.Errorf("request a token of %s/%s: %w", namespace, account, err)
	}
	return token, nil
}

// WriteSecret stores access to a member as the Secret that its LinkedCluster names.
func WriteSecret(ctx context.Context, c ssa.Writer, namespace, cluster string, s Server, t Token, owner string) error {
	data, err := secretData(cluster, s, t)
	if err != nil {
		return err
	}
	name := Name(cluster)
	config := applycorev1.Secret(name, namespace).
		WithLabels(labels(cluster)).
		WithType(corev1.SecretTypeOpaque).
		WithData(data)
	if err := c.Apply(ctx, config, client.FieldOwner(owner), client.ForceOwnership); err != nil {
		return fmt.Errorf("write Secret %s/%s: %w", namespace, name, err)
	}
	return nil
}

func (o Options) now() time.Time {
	if o.Now != nil {
		return o.Now()
	}
	return time.Now()
}
