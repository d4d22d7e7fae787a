package oauth

import (
	"context"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"time"

	authnv1 "k8s.io/api/authentication/v1"
)

// Config is all that the front needs; it is read from a file.
type Config struct {
	Listen   string `json:"listen"`  // of the front, host:port
	Webhook  string `json:"webhook"` // of the token review, on loopback
	URL      string `json:"url"`     // of the front, as clients see it
	Backend  string `json:"backend"` // URL of the API server
	CertFile string `json:"certFile"`
	KeyFile  string `json:"keyFile"`
	CAFile   string `json:"caFile"`
	User     string `json:"user"`
	Password string `json:"password"`
	Key      []byte `json:"key"` // of the tokens' HMAC
}

// ChallengingClient is the OAuth client that logs in by HTTP Basic challenge.
const ChallengingClient = "openshift-challenging-client"

// Group is what the users of this server are members of.
const Group = "system:authenticated:oauth"

// Load reads a Config from a file.
func Load(path string) (Config, error) {
	var c Config
	b, err := os.ReadFile(path)
	if err != nil {
		return c, err
	}
	if err := json.Unmarshal(b, &c); err != nil {
		return c, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

// Serve runs the front and the webhook until ctx ends.
func Serve(ctx context.Context, c Config) error {
	front, err := c.Front()
	if err != nil {
		return err
	}
	errs := make(chan error, 2)
	servers := []*http.Server{
		{Addr: c.Listen, Handler: front, ReadHeaderTimeout: 10 * time.Second},
		{Addr: c.Webhook, Handler: http.HandlerFunc(c.review), ReadHeaderTimeout: 10 * time.Second},
	}
	for _, s := range servers {
		// HTTP/1.1 only: upgraded connections (exec, port-forward) pass through it.
		s.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}}
		go func() { errs <- s.ListenAndServeTLS(c.CertFile, c.KeyFile) }()
	}
	slog.Info("serving", "front", c.URL, "webhook", c.Webhook)
	select {
	case err = <-errs:
	case <-ctx.Done():
	}
	for _, s := range servers {
		_ = s.Close()
	}
	return err
}

// Front is the handler of the public port.
func (c Config) Front() (http.Handler, error) {
	backend, err := url.Parse(c.Backend)
	if err != nil {
		return nil, fmt.Errorf("backend: %w", err)
	}
	ca, err := os.ReadFile(c.CAFile)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(ca) {
		return nil, fmt.Errorf("%s: no certificate in it", c.CAFile)
	}
	proxy := &httputil.ReverseProxy{
		Rewrite:       func(r *httputil.ProxyRequest) { r.SetURL(backend) },
		FlushInterval: -1,
		Transport: &http.Transport{
			TLSClientConfig:     &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12},
			MaxIdleConnsPerHost: 20,
		},
	}
	mux := http.NewServeMux()
	mux.Handle("/", proxy)
	mux.HandleFunc("GET /.well-known/oauth-authorization-server", c.discovery)
	mux.HandleFunc("GET /oauth/authorize", c.authorize)
	return mux, nil
}

func (c Config) discovery(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, map[string]any{
		"issuer":                           c.URL,
		"authorization_endpoint":           c.URL + "/oauth/authorize",
		"token_endpoint":                   c.URL + "/oauth/token",
		"scopes_supported":                 []string{"user:full"},
		"response_types_supported":         []string{"token"},
		"grant_types_supported":            []string{"implicit"},
		"code_challenge_methods_supported": []string{"plain", "S256"},
	})
}

// authorize answers the challenging client's login: the token is in the fragment
// of the Location that it is sent to.
func (c Config) authorize(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	if q.Get("client_id") != ChallengingClient || q.Get("response_type") != "token" {
		http.Error(w, `{"error":"unauthorized_client"}`, http.StatusBadRequest)
		return
	}
	if r.Header.Get("X-CSRF-Token") == "" {
		w.Header().Set("Warning", `199 Origin "A non-empty X-CSRF-Token header is required to receive basic-auth challenges"`)
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	user, password, ok := r.BasicAuth()
	if !ok || !same(user, c.User) || !same(password, c.Password) {
		w.Header().Set("WWW-Authenticate", `Basic realm="openshift"`)
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	fragment := url.Values{
		"access_token": {issue(c.Key, user, time.Now().Add(Lifetime))},
		"expires_in":   {fmt.Sprint(int(Lifetime.Seconds()))},
		"scope":        {"user:full"},
		"token_type":   {"Bearer"},
	}
	http.Redirect(w, r, c.URL+"/oauth/token/implicit#"+fragment.Encode(), http.StatusFound)
}

func same(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

// review answers the API server's TokenReview.
func (c Config) review(w http.ResponseWriter, r *http.Request) {
	var t authnv1.TokenReview
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(&t); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	user, err := check(c.Key, t.Spec.Token, time.Now())
	t.Spec = authnv1.TokenReviewSpec{}
	switch {
	case errors.Is(err, errToken):
		t.Status = authnv1.TokenReviewStatus{}
	default:
		t.Status = authnv1.TokenReviewStatus{
			Authenticated: true,
			User:          authnv1.UserInfo{Username: user, Groups: []string{Group}},
		}
	}
	writeJSON(w, t)
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(v); err != nil {
		slog.Warn("answer not sent", "err", err)
	}
}
