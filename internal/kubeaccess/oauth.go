package kubeaccess

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"

	"k8s.io/client-go/rest"
)

const (
	// Where an OpenShift API server tells of its OAuth server (RFC 8414).
	oauthDiscovery = "/.well-known/oauth-authorization-server"
	// The OAuth client that every OpenShift has for command-line programs.
	challengeClient = "openshift-challenging-client"
	// Tokens that begin so are stored by their hash (OpenShift 4.6 and later).
	sha256Prefix = "sha256~"
	maxAnswer    = 1 << 20
)

// login gets a token by OpenShift's OAuth challenge: basic authentication at the
// authorize endpoint, which answers with a redirect whose fragment has the token.
// The redirect is not followed.
func (acc *Access) login(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*checkTimeout)
	defer cancel()
	var ca []byte
	if acc.args.CAFile != "" {
		var err error
		if ca, err = readCA(acc.args); err != nil {
			return err
		}
	}
	client := challengeHTTP(ca)
	defer client.CloseIdleConnections()
	authorize, err := acc.discover(ctx, client)
	if err != nil {
		return err
	}
	if acc.token, err = acc.authorize(ctx, client, authorize); err != nil {
		return err
	}
	acc.Config = &rest.Config{
		Host:            acc.args.URL,
		BearerToken:     acc.token,
		TLSClientConfig: rest.TLSClientConfig{CAData: ca},
	}
	return nil
}

// challengeHTTP trusts the system's authorities and those of ca, because the OAuth
// server sits behind the cluster's ingress, often with a certificate of its own.
func challengeHTTP(ca []byte) *http.Client {
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	pool.AppendCertsFromPEM(ca)
	return &http.Client{
		Transport: &http.Transport{
			Proxy:           http.ProxyFromEnvironment,
			TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12},
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

func readCA(a Args) ([]byte, error) {
	fail := func(problem string, err error) error {
		return &Error{Kind: ErrInvalid, Cluster: a.cluster(), Field: "ca_file", Problem: problem,
			Remedy: "give a PEM file of certificates", Err: err}
	}
	ca, err := os.ReadFile(a.CAFile)
	if err != nil {
		return nil, fail(err.Error(), err)
	}
	if !x509.NewCertPool().AppendCertsFromPEM(ca) {
		return nil, fail(fmt.Sprintf("%s holds no certificate", a.CAFile), nil)
	}
	return ca, nil
}

// discover finds the authorize endpoint.
func (acc *Access) discover(ctx context.Context, client *http.Client) (*url.URL, error) {
	where := strings.TrimSuffix(acc.args.URL, "/") + oauthDiscovery
	noLogin := func(problem string) error {
		return &Error{Kind: ErrNoLogin, Cluster: acc.args.cluster(), URL: where, Field: "url", Problem: problem,
			Remedy: "check that this is an OpenShift API server, or use kubeconfig and context"}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, where, nil)
	if err != nil {
		return nil, noLogin("the URL cannot be used")
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, Explain(acc.args, where, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, noLogin("the server says nothing of an OAuth server (" + resp.Status + ")")
	}
	var meta struct {
		Authorize string `json:"authorization_endpoint"`
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(&meta); err != nil {
		return nil, noLogin("its answer is not that of an OAuth server")
	}
	u, err := url.Parse(meta.Authorize)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil {
		return nil, noLogin("the authorization_endpoint that it names is not an https URL")
	}
	return u, nil
}

// authorize trades user and password for a token.
func (acc *Access) authorize(ctx context.Context, client *http.Client, endpoint *url.URL) (string, error) {
	u := *endpoint
	q := u.Query()
	q.Set("response_type", "token")
	q.Set("client_id", challengeClient)
	u.RawQuery = q.Encode()
	where := u.Scheme + "://" + u.Host + u.Path
	refused := func(problem string) error {
		return &Error{Kind: ErrCredentials, Cluster: acc.args.cluster(), URL: where, Field: "username, password",
			Problem: problem, Remedy: "check user and password with 'oc login'"}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return "", refused("the authorization_endpoint cannot be used")
	}
	req.SetBasicAuth(acc.args.Username, acc.args.Password)
	req.Header.Set("X-CSRF-Token", "1") // any value: OpenShift answers browsers without it by a form
	resp, err := client.Do(req)
	if err != nil {
		return "", Explain(acc.args, where, err)
	}
	defer resp.Body.Close()
	switch {
	case resp.StatusCode == http.StatusUnauthorized:
		return "", refused(fmt.Sprintf("user %q is refused (401)", acc.args.Username))
	case resp.StatusCode != http.StatusFound:
		return "", refused("the OAuth server answers " + resp.Status + " instead of a token")
	}
	token, err := tokenFromLocation(resp.Header.Get("Location"))
	if err != nil {
		return "", refused(err.Error())
	}
	return token, nil
}

// tokenFromLocation reads the token from the fragment of a redirect (RFC 6749, 4.2.2),
// or the error from its fragment or query. No error has any other part of the location.
func tokenFromLocation(location string) (string, error) {
	u, err := url.Parse(location)
	if err != nil {
		return "", errors.New("the OAuth server's redirect is not a URL")
	}
	fragment, err := url.ParseQuery(u.Fragment)
	if err != nil {
		return "", errors.New("the OAuth server's redirect has no readable fragment")
	}
	for _, values := range []url.Values{fragment, u.Query()} {
		if code := values.Get("error"); code != "" {
			return "", fmt.Errorf("the OAuth server says %q", code)
		}
	}
	if token := fragment.Get("access_token"); token != "" {
		return token, nil
	}
	return "", errors.New("the OAuth server's redirect has no token")
}

// revoke deletes the token's object, as 'oc logout' does.
func (acc *Access) revoke(ctx context.Context, token string) error {
	transport, err := rest.HTTPClientFor(acc.Config)
	if err != nil {
		return fmt.Errorf("cluster %s: log out: %w", acc.args.cluster(), err)
	}
	defer transport.CloseIdleConnections()
	where := strings.TrimSuffix(acc.Config.Host, "/") + "/apis/oauth.openshift.io/v1/oauthaccesstokens/"
	req, err := http.NewRequestWithContext(ctx, http.MethodDelete, where+url.PathEscape(tokenObject(token)), nil)
	if err != nil {
		return fmt.Errorf("cluster %s: log out: the URL cannot be used", acc.args.cluster())
	}
	resp, err := transport.Do(req)
	if err != nil {
		return fmt.Errorf("cluster %s: log out: %s", acc.args.cluster(), cause(err))
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 300 && resp.StatusCode != http.StatusNotFound && resp.StatusCode != http.StatusUnauthorized {
		return fmt.Errorf("cluster %s: log out: the server answers %s; the token stays until it expires", acc.args.cluster(), resp.Status)
	}
	return nil
}

// tokenObject is the name of a token's object: its hash where tokens are stored so.
func tokenObject(token string) string {
	code, hashed := strings.CutPrefix(token, sha256Prefix)
	if !hashed {
		return token
	}
	sum := sha256.Sum256([]byte(code))
	return sha256Prefix + base64.RawURLEncoding.EncodeToString(sum[:])
}
