package kubeaccess_test

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sdn-tunnel/sdn-tunnel/internal/kubeaccess"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

const (
	user     = "admin"
	password = "s3cret-pass"
	token    = "sha256~token-of-the-test"
)

// openshift is an API server and an OAuth server, both with TLS.
type openshift struct {
	api, oauth *httptest.Server
	caFile     string
	deleted    []string
	noOAuth    bool
	location   string // what authorize answers; by default one with the token
}

func newOpenShift(t *testing.T) *openshift {
	t.Helper()
	o := &openshift{location: "https://localhost/implicit#access_token=" + token + "&expires_in=86400&token_type=Bearer"}
	o.oauth = httptest.NewTLSServer(http.HandlerFunc(o.authorize))
	o.api = httptest.NewTLSServer(http.HandlerFunc(o.serve))
	t.Cleanup(o.oauth.Close)
	t.Cleanup(o.api.Close)
	o.api.Config.ErrorLog, o.oauth.Config.ErrorLog = nil, nil
	o.caFile = filepath.Join(t.TempDir(), "ca.pem")
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: o.api.Certificate().Raw})
	if err := os.WriteFile(o.caFile, ca, 0o600); err != nil {
		t.Fatal(err)
	}
	return o
}

func (o *openshift) authorize(w http.ResponseWriter, r *http.Request) {
	u, p, _ := r.BasicAuth()
	switch {
	case r.Header.Get("X-CSRF-Token") == "" || r.URL.Query().Get("client_id") != "openshift-challenging-client" ||
		r.URL.Query().Get("response_type") != "token":
		http.Error(w, "not a challenge", http.StatusBadRequest)
	case u != user || p != password:
		w.Header().Set("WWW-Authenticate", `Basic realm="openshift"`)
		w.WriteHeader(http.StatusUnauthorized)
	default:
		w.Header().Set("Location", o.location)
		w.WriteHeader(http.StatusFound)
	}
}

func (o *openshift) serve(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, "/.well-known/") {
		if o.noOAuth {
			http.NotFound(w, r)
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]string{"authorization_endpoint": o.oauth.URL + "/oauth/authorize"})
		return
	}
	if r.Header.Get("Authorization") != "Bearer "+token {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusUnauthorized)
		fmt.Fprint(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Unauthorized","code":401}`)
		return
	}
	switch {
	case r.URL.Path == "/version":
		fmt.Fprint(w, `{"major":"1","minor":"30","gitVersion":"v1.30.1"}`)
	case r.Method == http.MethodDelete:
		o.deleted = append(o.deleted, r.URL.Path)
		fmt.Fprint(w, `{}`)
	default:
		http.NotFound(w, r)
	}
}

func (o *openshift) args() kubeaccess.Args {
	return kubeaccess.Args{Name: "east", URL: o.api.URL, Username: user, Password: password, CAFile: o.caFile}
}

func (o *openshift) kubeconfig(t *testing.T, bearer string, insecure bool) string {
	t.Helper()
	c := clientcmdapi.NewConfig()
	c.Clusters["c"] = &clientcmdapi.Cluster{Server: o.api.URL, CertificateAuthority: o.caFile}
	if insecure {
		c.Clusters["c"] = &clientcmdapi.Cluster{Server: o.api.URL, InsecureSkipTLSVerify: true}
	}
	c.AuthInfos["u"] = &clientcmdapi.AuthInfo{Token: bearer}
	c.Contexts["east"] = &clientcmdapi.Context{Cluster: "c", AuthInfo: "u"}
	c.CurrentContext = "east"
	file := filepath.Join(t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*c, file); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestLoginAndLogout(t *testing.T) {
	o := newOpenShift(t)
	acc, err := kubeaccess.Open(t.Context(), o.args())
	if err != nil {
		t.Fatal(err)
	}
	if acc.Config.BearerToken != token || acc.Version.GitVersion != "v1.30.1" {
		t.Errorf("token %q, version %q", acc.Config.BearerToken, acc.Version.GitVersion)
	}
	if acc.Config.QPS < 50 || acc.Config.Insecure {
		t.Errorf("QPS %v, insecure %v", acc.Config.QPS, acc.Config.Insecure)
	}
	for range 2 { // the second Close has nothing to do
		if err := acc.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	// The name that OpenShift stores the token under: sha256~ and the hash, base64url.
	want := "/apis/oauth.openshift.io/v1/oauthaccesstokens/sha256~"
	if len(o.deleted) != 1 || !strings.HasPrefix(o.deleted[0], want) || strings.Contains(o.deleted[0], "token-of-the-test") {
		t.Errorf("deleted %q, want one %s<hash>", o.deleted, want)
	}
}

// TestAll: the clusters come in the order they were asked for, and are closed together; of
// several that cannot be opened each says why, and those that could are closed again.
func TestAll(t *testing.T) {
	east, west := newOpenShift(t), newOpenShift(t)
	named := func(o *openshift, name string) kubeaccess.Args {
		a := o.args()
		a.Name = name
		return a
	}
	all, err := kubeaccess.OpenAll(t.Context(), []kubeaccess.Args{named(east, "east"), named(west, "west")})
	if err != nil {
		t.Fatal(err)
	}
	if all[0].Config.Host != east.api.URL || all[1].Config.Host != west.api.URL {
		t.Errorf("opened %s and %s", all[0].Config.Host, all[1].Config.Host)
	}
	if err := all.Close(t.Context()); err != nil || len(east.deleted) != 1 || len(west.deleted) != 1 {
		t.Errorf("closed: %v, %v, %v", err, east.deleted, west.deleted)
	}
	north, south := named(east, "north"), named(west, "south")
	north.Password, south.URL = "wrong", "http://south:6443"
	all, err = kubeaccess.OpenAll(t.Context(), []kubeaccess.Args{north, named(west, "west"), south})
	if !errors.Is(err, kubeaccess.ErrCredentials) || !errors.Is(err, kubeaccess.ErrInvalid) ||
		!strings.Contains(err.Error(), "north") || !strings.Contains(err.Error(), "south") || all != nil {
		t.Errorf("two of three cannot be opened: %v, %v", all, err)
	}
	if len(west.deleted) != 2 {
		t.Errorf("the token of the one that could stays: deleted %v", west.deleted)
	}
}

func TestKubeconfig(t *testing.T) {
	o := newOpenShift(t)
	acc, err := kubeaccess.Open(t.Context(), kubeaccess.Args{Kubeconfig: o.kubeconfig(t, token, false), Context: "east"})
	if err != nil {
		t.Fatal(err)
	}
	if err := acc.Close(t.Context()); err != nil || len(o.deleted) != 0 {
		t.Errorf("Close took back a token that is not ours: %v %v", o.deleted, err)
	}
}

func TestErrors(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	deadURL := "https://" + closed.Addr().String()
	closed.Close()
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, []byte("none"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		change func(*testing.T, *openshift, *kubeaccess.Args)
		kind   error
		text   []string
	}{
		"unreachable": {
			func(_ *testing.T, _ *openshift, a *kubeaccess.Args) { a.URL = deadURL },
			kubeaccess.ErrUnreachable, []string{"east", deadURL, "field url", "connection refused"},
		},
		"no such host": {
			func(_ *testing.T, _ *openshift, a *kubeaccess.Args) { a.URL = "https://api.invalid:6443" },
			kubeaccess.ErrUnreachable, []string{"east", "api.invalid", "field url"},
		},
		"untrusted": {
			func(_ *testing.T, _ *openshift, a *kubeaccess.Args) { a.CAFile = "" },
			kubeaccess.ErrUntrusted, []string{"east", "Acme Co", "set ca_file"},
		},
		"another name": {
			func(_ *testing.T, _ *openshift, a *kubeaccess.Args) {
				a.URL = strings.Replace(a.URL, "127.0.0.1", "localhost", 1)
			},
			kubeaccess.ErrUntrusted, []string{"localhost", "use an address that the certificate names"},
		},
		"wrong password": {
			func(_ *testing.T, _ *openshift, a *kubeaccess.Args) { a.Password = "wrong-s3cret-pass" },
			kubeaccess.ErrCredentials, []string{"east", "admin", "field username, password", "401"},
		},
		"refused by the OAuth server": {
			func(_ *testing.T, o *openshift, _ *kubeaccess.Args) {
				o.location = "https://localhost/implicit?error=access_denied"
			},
			kubeaccess.ErrCredentials, []string{"access_denied"},
		},
		"redirect without a token": {
			func(_ *testing.T, o *openshift, _ *kubeaccess.Args) { o.location = "https://localhost/login" },
			kubeaccess.ErrCredentials, []string{"no token"},
		},
		"a token that the API refuses": {
			func(_ *testing.T, o *openshift, _ *kubeaccess.Args) {
				o.location = "https://localhost/implicit#access_token=sha256~another"
			},
			kubeaccess.ErrCredentials, []string{"401"},
		},
		"not OpenShift": {
			func(_ *testing.T, o *openshift, _ *kubeaccess.Args) { o.noOAuth = true },
			kubeaccess.ErrNoLogin, []string{"east", "404", "use kubeconfig"},
		},
		"http": {
			func(_ *testing.T, _ *openshift, a *kubeaccess.Args) { a.URL = "http://east:6443" },
			kubeaccess.ErrInvalid, []string{"field url", "https"},
		},
		"credentials in the URL": {
			func(_ *testing.T, _ *openshift, a *kubeaccess.Args) {
				a.URL, a.Password = "https://u:s3cret-pass@east:6443", "x"
			},
			kubeaccess.ErrInvalid, []string{"field url", "use username and password"},
		},
		"no password": {
			func(_ *testing.T, _ *openshift, a *kubeaccess.Args) { a.Password = "" },
			kubeaccess.ErrInvalid, []string{"field password"},
		},
		"both ways": {
			func(_ *testing.T, _ *openshift, a *kubeaccess.Args) { a.Kubeconfig = "/kc" },
			kubeaccess.ErrInvalid, []string{"both"},
		},
		"user without URL": {
			func(_ *testing.T, _ *openshift, a *kubeaccess.Args) { a.URL = "" },
			kubeaccess.ErrInvalid, []string{"field url"},
		},
		"CA file without certificates": {
			func(_ *testing.T, _ *openshift, a *kubeaccess.Args) { a.CAFile = empty },
			kubeaccess.ErrInvalid, []string{"field ca_file", "no certificate"},
		},
		"no CA file": {
			func(_ *testing.T, _ *openshift, a *kubeaccess.Args) { a.CAFile = "/nowhere/ca.pem" },
			kubeaccess.ErrInvalid, []string{"field ca_file", "/nowhere/ca.pem"},
		},
		"no kubeconfig": {
			func(_ *testing.T, _ *openshift, a *kubeaccess.Args) {
				*a = kubeaccess.Args{Name: "east", Kubeconfig: "/nowhere/kc"}
			},
			kubeaccess.ErrInvalid, []string{"east", "field kubeconfig", "/nowhere/kc"},
		},
		"no such context": {
			func(t *testing.T, o *openshift, a *kubeaccess.Args) {
				*a = kubeaccess.Args{Name: "east", Kubeconfig: o.kubeconfig(t, token, false), Context: "north"}
			},
			kubeaccess.ErrInvalid, []string{"field context", "north"},
		},
		"verification turned off": {
			func(t *testing.T, o *openshift, a *kubeaccess.Args) {
				*a = kubeaccess.Args{Kubeconfig: o.kubeconfig(t, token, true)}
			},
			kubeaccess.ErrInvalid, []string{"insecure-skip-tls-verify", "ca_file"},
		},
		"expired token in a kubeconfig": {
			func(t *testing.T, o *openshift, a *kubeaccess.Args) {
				*a = kubeaccess.Args{Name: "east", Kubeconfig: o.kubeconfig(t, "s3cret-pass-old", false)}
			},
			kubeaccess.ErrCredentials, []string{"field kubeconfig", "expired"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			o := newOpenShift(t)
			a := o.args()
			tt.change(t, o, &a)
			_, err := kubeaccess.Open(t.Context(), a)
			if !errors.Is(err, tt.kind) {
				t.Fatalf("got %v, want kind %q", err, tt.kind)
			}
			var e *kubeaccess.Error
			if !errors.As(err, &e) || e.Cluster == "" || e.Remedy == "" {
				t.Errorf("%v: no cluster or no remedy", err)
			}
			for _, s := range tt.text {
				if !strings.Contains(err.Error(), s) {
					t.Errorf("%q does not say %q", err, s)
				}
			}
			all := fmt.Sprintf("%v|%+v|%#v|%s|%#v", err, err, err, a, a)
			for _, s := range []string{"s3cret-pass", "token-of-the-test"} {
				if strings.Contains(all, s) {
					t.Errorf("%q is shown in %s", s, all)
				}
			}
		})
	}
}

func TestSilentServer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 1e8)
	defer cancel()
	_, err = kubeaccess.Config(ctx, kubeaccess.Args{URL: "https://" + l.Addr().String(), Username: user, Password: password})
	if !errors.Is(err, kubeaccess.ErrUnreachable) {
		t.Errorf("got %v, want %v", err, kubeaccess.ErrUnreachable)
	}
}
