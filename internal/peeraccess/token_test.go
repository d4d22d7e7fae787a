package peeraccess

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// tokenOf has the claims, and a signature that says so.
func tokenOf(claims string) string {
	encode := base64.RawURLEncoding.EncodeToString
	return encode([]byte(`{"alg":"RS256"}`)) + "." + encode([]byte(claims)) + "." + encode([]byte("signature"))
}

var good = tokenOf(`{"sub":"system:serviceaccount:sdn-tunnel:sdn-tunnel-peer-east","iat":1000,"exp":3000}`)

func TestParseToken(t *testing.T) {
	token, err := parseToken(good)
	if err != nil || token.Namespace != "sdn-tunnel" || token.Account != "sdn-tunnel-peer-east" || !token.RenewAt().Equal(time.Unix(2000, 0)) {
		t.Errorf("got %v, %v", token, err)
	}
	for now, fresh := range map[int64]bool{0: true, 1999: true, 2000: false, 3000: false} {
		if token.Fresh(time.Unix(now, 0)) != fresh {
			t.Errorf("at %d: fresh is not %t", now, fresh)
		}
	}
	for name, raw := range map[string]string{
		"empty":                 "",
		"opaque":                "sha256~abcdef",
		"no base64":             "a.!.c",
		"no JSON":               tokenOf("{"),
		"of a user":             tokenOf(`{"sub":"admin","iat":1,"exp":2}`),
		"of no account":         tokenOf(`{"sub":"system:serviceaccount:sdn-tunnel","iat":1,"exp":2}`),
		"without expiry":        tokenOf(`{"sub":"system:serviceaccount:a:b","iat":1}`),
		"without time of issue": tokenOf(`{"sub":"system:serviceaccount:a:b","exp":2}`),
	} {
		if got, err := parseToken(raw); err == nil {
			t.Errorf("%s: got %v", name, got)
		} else if raw != "" && strings.Contains(err.Error(), raw) {
			t.Errorf("%s: the error quotes it: %v", name, err)
		}
	}
}

func FuzzParseKubeconfig(f *testing.F) {
	token, err := parseToken(good)
	if err != nil {
		f.Fatal(err)
	}
	data, err := secretData("west", Server{URL: "https://192.0.2.1:6443"}, token)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data[KubeconfigKey])
	f.Add(data[FileKubeconfigKey])
	f.Add([]byte("{"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		server, token, err := ParseKubeconfig(raw)
		if err == nil && (!strings.HasPrefix(server.URL, "https://") || token.raw == "" || token.Expiry.IsZero()) {
			t.Errorf("%q: %+v, %v", raw, server, token)
		}
	})
}

// TestParseKubeconfig: only an inline token for a verified server is taken, and what
// is refused is not quoted.
func TestParseKubeconfig(t *testing.T) {
	file := func(cluster, user string) string {
		return fmt.Sprintf("apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts: [{name: c, context: {cluster: c, user: u}}]\n"+
			"clusters: [{name: c, cluster: {%s}}]\nusers: [{name: u, user: {%s}}]\n", cluster, user)
	}
	const server = "server: https://192.0.2.1:6443"
	for _, tt := range []struct{ name, raw, want string }{
		{"good", file(server, "token: "+good), ""},
		{"empty", "", "no current context"},
		{"no YAML", "{" + good, "cannot be read"},
		{"no such user", "apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts: [{name: c, context: {cluster: c, user: u}}]\n", "no current context"},
		{"unverified", file(server+", insecure-skip-tls-verify: true", "token: "+good), "turns off the check"},
		{"plain", file("server: http://192.0.2.1", "token: "+good), "not an https URL"},
		{"a program", file(server, "token: "+good+", exec: {command: /bin/sh, apiVersion: client.authentication.k8s.io/v1, interactiveMode: Never}"), "files or programs"},
		{"a file of a token", file(server, "tokenFile: /etc/shadow"), "files or programs"},
		{"a file of a certificate", file(server+", certificate-authority: /etc/ca", "token: "+good), "files or programs"},
		{"a file of a client's certificate", file(server, "client-certificate: /etc/cert, client-key: /etc/key, token: "+good), "files or programs"},
		{"a client's certificate", file(server, "client-certificate-data: eHg=, client-key-data: eHg=, token: "+good), "other credentials"},
		{"a password", file(server, "username: u, password: p, token: "+good), "other credentials"},
		{"another's name", file(server, "as: admin, token: "+good), "other credentials"},
		{"a login plugin", file(server, "auth-provider: {name: oidc}, token: "+good), "files or programs"},
		{"a proxy", file(server+", proxy-url: http://127.0.0.1:3128", "token: "+good), "a proxy"},
		{"a user in the URL", file("server: https://u:p@192.0.2.1", "token: "+good), "not an https URL"},
		{"no host", file("server: https://:6443", "token: "+good), "not an https URL"},
		{"an opaque token", file(server, "token: sha256~secret"), "not a token of a service account"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, token, err := ParseKubeconfig([]byte(tt.raw))
			if tt.want == "" {
				if err != nil || got.URL != "https://192.0.2.1:6443" || token.raw != good {
					t.Errorf("got %+v, %v", got, err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), good) || strings.Contains(err.Error(), "sha256~") {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

// TestRedaction: nothing that prints a token or describes a Secret shows the token.
func TestRedaction(t *testing.T) {
	token, err := parseToken(good)
	if err != nil {
		t.Fatal(err)
	}
	data, err := secretData("west", Server{URL: "https://192.0.2.1:6443"}, token)
	if err != nil {
		t.Fatal(err)
	}
	raw := data[KubeconfigKey]
	s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "s"}, Data: map[string][]byte{KubeconfigKey: raw}}
	bad := &corev1.Secret{Data: map[string][]byte{KubeconfigKey: append([]byte("{"), raw...)}}
	_, _, badErr := RestConfig(bad)
	for _, said := range []string{
		fmt.Sprint(token), fmt.Sprintf("%v %+v %#v %s", token, token, token, token), fmt.Sprintf("%+v", []any{token, &token}),
		describe(s), describe(bad), fmt.Sprint(badErr),
	} {
		if part := strings.Split(good, ".")[1]; strings.Contains(said, part) {
			t.Errorf("it shows the token: %s", said)
		}
	}
	if got := describe(s); !strings.Contains(got, "https://192.0.2.1:6443") || !strings.Contains(got, "sdn-tunnel-peer-east") {
		t.Errorf("it says too little: %s", got)
	}
	if _, _, err := RestConfig(&corev1.Secret{}); err == nil || !strings.Contains(err.Error(), "run the deploy again") {
		t.Errorf("an empty Secret: %v", err)
	}
}
