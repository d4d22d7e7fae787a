package peeraccess

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/clientcmd"
)

// Token is a service account's token and what it says of itself. Its String has no
// part of the token.
type Token struct {
	raw            string
	Issued, Expiry time.Time
	// Namespace and Account are whose token it is, and UID which account of that name; a
	// token that is bound to none has no UID.
	Namespace, Account string
	UID                types.UID
}

// String says whose token it is and how long it lives.
func (t Token) String() string {
	return fmt.Sprintf("token of %s/%s until %s", t.Namespace, t.Account, t.Expiry.UTC().Format(time.RFC3339))
}

// GoString is String.
func (t Token) GoString() string { return t.String() }

// RenewAt is the middle of the token's life.
func (t Token) RenewAt() time.Time { return t.Issued.Add(t.Expiry.Sub(t.Issued) / 2) }

// Fresh tells whether more than half of the token's life is left.
func (t Token) Fresh(now time.Time) bool { return now.Before(t.RenewAt()) }

var errToken = errors.New("not a token of a service account")

// parseToken reads a token's claims (RFC 7519). The signature is the issuer's business:
// nothing is granted here on the token's word.
func parseToken(raw string) (Token, error) {
	parts := strings.Split(raw, ".")
	if len(parts) != 3 {
		return Token{}, errToken
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return Token{}, errToken
	}
	var claims struct {
		Subject    string `json:"sub"`
		Issued     int64  `json:"iat"`
		Expiry     int64  `json:"exp"`
		Kubernetes struct {
			Account struct {
				UID types.UID `json:"uid"`
			} `json:"serviceaccount"`
		} `json:"kubernetes.io"`
	}
	if err := json.Unmarshal(payload, &claims); err != nil {
		return Token{}, errToken
	}
	who, ok := strings.CutPrefix(claims.Subject, "system:serviceaccount:")
	namespace, account, ok2 := strings.Cut(who, ":")
	if !ok || !ok2 || claims.Expiry == 0 || claims.Issued == 0 {
		return Token{}, errToken
	}
	return Token{raw: raw, Issued: time.Unix(claims.Issued, 0), Expiry: time.Unix(claims.Expiry, 0),
		Namespace: namespace, Account: account, UID: claims.Kubernetes.Account.UID}, nil
}

// ParseKubeconfig reads what a Secret holds: the server and the token. It refuses a
// file that turns verification off, goes through a proxy, names files, or runs programs.
func ParseKubeconfig(raw []byte) (Server, Token, error) {
	c, err := clientcmd.Load(raw)
	if err != nil {
		return Server{}, Token{}, errors.New("the kubeconfig cannot be read") // the cause may quote it
	}
	ctx := c.Contexts[c.CurrentContext]
	if ctx == nil || c.Clusters[ctx.Cluster] == nil || c.AuthInfos[ctx.AuthInfo] == nil {
		return Server{}, Token{}, errors.New("the kubeconfig has no current context with a cluster and a user")
	}
	cluster, user := c.Clusters[ctx.Cluster], c.AuthInfos[ctx.AuthInfo]
	switch {
	case cluster.InsecureSkipTLSVerify:
		return Server{}, Token{}, errors.New("the kubeconfig turns off the check of the server's certificate")
	case !isServer(cluster.Server):
		return Server{}, Token{}, errors.New("the kubeconfig's server is not an https URL without user and query")
	case cluster.ProxyURL != "":
		return Server{}, Token{}, errors.New("the kubeconfig names a proxy")
	case user.Username != "" || user.Password != "" || len(user.ClientCertificateData) > 0 || len(user.ClientKeyData) > 0 ||
		user.Impersonate != "" || user.ImpersonateUID != "" || len(user.ImpersonateGroups) > 0 || len(user.ImpersonateUserExtra) > 0:
		return Server{}, Token{}, errors.New("the kubeconfig has other credentials than a token")
	case user.Exec != nil || user.AuthProvider != nil || user.TokenFile != "" || user.ClientCertificate != "" ||
		user.ClientKey != "" || cluster.CertificateAuthority != "":
		return Server{}, Token{}, errors.New("the kubeconfig names files or programs; only an inline token is used")
	}
	token, err := parseToken(user.Token)
	if err != nil {
		return Server{}, Token{}, fmt.Errorf("the kubeconfig's user: %w", err)
	}
	return Server{URL: cluster.Server, CAData: cluster.CertificateAuthorityData, TLSServerName: cluster.TLSServerName}, token, nil
}

// isServer tells whether raw is where an API server may be.
func isServer(raw string) bool {
	u, err := url.Parse(raw)
	return err == nil && u.Scheme == "https" && u.Hostname() != "" && u.User == nil && u.RawQuery == "" && u.Fragment == ""
}
