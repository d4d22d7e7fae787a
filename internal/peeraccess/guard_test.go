package peeraccess

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// hostile is what a Secret leads to whose server answers as it likes.
func hostile(t *testing.T, answer http.HandlerFunc) (*corev1.Secret, *rest.Config) {
	t.Helper()
	srv := httptest.NewTLSServer(answer)
	t.Cleanup(srv.Close)
	token, err := parseToken(good)
	if err != nil {
		t.Fatal(err)
	}
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})
	raw, err := kubeconfig("west", Server{URL: srv.URL, CAData: ca}, token.Account, token.Namespace, clientcmdapi.AuthInfo{Token: token.raw})
	if err != nil {
		t.Fatal(err)
	}
	s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "sdn-tunnel", Name: Name("west")}, Data: map[string][]byte{KubeconfigKey: raw}}
	cfg, _, err := RestConfig(s)
	if err != nil {
		t.Fatal(err)
	}
	return s, cfg
}

// object is an answer of one object, a Node, whose annotation has n bytes.
func object(w http.ResponseWriter, n int) {
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprint(w, `{"kind":"Node","apiVersion":"v1","metadata":{"name":"n","annotations":{"a":"`)
	chunk := strings.Repeat("x", 1<<16)
	for ; n > 0; n -= len(chunk) {
		if _, err := io.WriteString(w, chunk[:min(n, len(chunk))]); err != nil {
			return
		}
	}
	fmt.Fprint(w, `"}}}`)
}

// TestGuard: what a server that is not trusted can do with a client of its Secret.
func TestGuard(t *testing.T) {
	var inside atomic.Int32
	victim := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { inside.Add(1) }))
	defer victim.Close()
	status := func(w http.ResponseWriter, s metav1.Status) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(int(s.Code))
		_ = json.NewEncoder(w).Encode(s)
	}
	long := "no\x1b[31m\n" + strings.Repeat("ä", 5000)
	for name, tt := range map[string]struct {
		answer http.HandlerFunc
		want   string
		is     func(error) bool
	}{
		"good":                {func(w http.ResponseWriter, _ *http.Request) { object(w, 1000) }, "", nil},
		"as large as allowed": {func(w http.ResponseWriter, _ *http.Request) { object(w, maxObjectBytes-100) }, "", nil},
		"a redirect": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, victim.URL, http.StatusTemporaryRedirect)
		}, "redirects are not followed", nil},
		"endless":      {func(w http.ResponseWriter, _ *http.Request) { object(w, 1<<40) }, "more than 2 MiB", nil},
		"another kind": {func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") }, "content of type", nil},
		"forbidden, at length": {func(w http.ResponseWriter, _ *http.Request) {
			status(w, metav1.Status{TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: "Failure", Code: 403, Reason: metav1.StatusReasonForbidden, Message: long})
		}, "no[31m ", apierrors.IsForbidden},
		"unauthorized, in its own words": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprint(w, long)
		}, "", apierrors.IsUnauthorized},
		"an endless error": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusInternalServerError)
			object(w, 1<<40)
		}, "", apierrors.IsInternalError},
	} {
		t.Run(name, func(t *testing.T) {
			_, cfg := hostile(t, tt.answer)
			clients, err := kubernetes.NewForConfig(cfg)
			if err != nil {
				t.Fatal(err)
			}
			_, err = clients.CoreV1().Nodes().Get(t.Context(), "n", metav1.GetOptions{})
			switch {
			case (err == nil) != (tt.want == "" && tt.is == nil):
				t.Errorf("got %v", err)
			case err != nil && !strings.Contains(err.Error(), tt.want), tt.is != nil && !tt.is(err):
				t.Errorf("got %v, want %q", err, tt.want)
			case err != nil && (len([]rune(err.Error())) > 2*maxText || strings.ContainsAny(err.Error(), "\x1b\n")):
				t.Errorf("not plain: %q", err)
			}
		})
	}
	if inside.Load() != 0 {
		t.Error("a redirect led into the own network")
	}
}

// TestGuardList: a page may be larger than an object, and has its bound.
func TestGuardList(t *testing.T) {
	for size, fits := range map[int]bool{4 << 20: true, 1 << 40: false} {
		_, cfg := hostile(t, func(w http.ResponseWriter, _ *http.Request) { object(w, size) })
		clients, err := kubernetes.NewForConfig(cfg)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := clients.CoreV1().RESTClient().Get().Resource("nodes").Do(t.Context()).Raw()
		if fits && (err != nil || len(raw) < size) || !fits && (err == nil || !strings.Contains(err.Error(), "a list of more than 16 MiB")) {
			t.Errorf("%d bytes: %d read, %v", size, len(raw), err)
		}
	}
}

func TestIsList(t *testing.T) {
	for path, want := range map[string]bool{
		"/apis/sdntunnel.io/v1alpha1/tunnelnodes":         true,
		"/apis/sdntunnel.io/v1alpha1/tunnelnodes/west.w1": false,
		"/api/v1/nodes":                                     true,
		"/api/v1/nodes/n":                                   false,
		"/api/v1/namespaces":                                true,
		"/api/v1/namespaces/n":                              false,
		"/api/v1/namespaces/n/services":                     true,
		"/api/v1/namespaces/n/services/s":                   false,
		"/api/v1/namespaces/n/serviceaccounts/a/token":      false,
		"/k8s/clusters/c/apis/discovery.k8s.io/v1/slices":   true,
		"/k8s/clusters/c/apis/discovery.k8s.io/v1/slices/s": false,
		"/version": false,
		"/":        false,
		"":         false,
		"/apis/x":  false,
	} {
		if isList(path) != want {
			t.Errorf("%s: not %t", path, want)
		}
	}
}

// TestGuardWatch: a watch goes on without end, and one event has its bound however it
// is written.
func TestGuardWatch(t *testing.T) {
	event := `{"type":"MODIFIED","object":{"kind":"Node","apiVersion":"v1","metadata":{"name":"n","annotations":{"a":"}\"]` + strings.Repeat("x", 64<<10) + `"}}}}` + "\n"
	const many = 100 // together more than an event or an object may have
	for name, then := range map[string][2]string{
		"one word":     {`{"type":"`, "x"},
		"many lines":   {`{"a":[1`, "\n,1"},
		"many objects": {`{"a":[1`, ",{}"},
		"nothing":      {"", "\n"},
	} {
		t.Run(name, func(t *testing.T) {
			_, cfg := hostile(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				for range many {
					fmt.Fprint(w, event)
				}
				fmt.Fprint(w, then[0])
				chunk := strings.Repeat(then[1], 1<<14)
				for _, err := io.WriteString(w, chunk); err == nil; {
					_, err = io.WriteString(w, chunk)
				}
			})
			clients, err := kubernetes.NewForConfig(cfg)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			w, err := clients.CoreV1().Nodes().Watch(ctx, metav1.ListOptions{})
			if err != nil {
				t.Fatal(err)
			}
			defer w.Stop()
			events, said := 0, ""
			for e := range w.ResultChan() {
				if e.Type == watch.Modified {
					events++
				} else if s, ok := e.Object.(*metav1.Status); ok {
					said = s.Message
				}
			}
			if events != many || !strings.Contains(said, "an event of more than 2 MiB") {
				t.Errorf("%d events, then %q (%v)", events, said, ctx.Err())
			}
		})
	}
}

// TestRenewFromHostile: the renewal uses the same way, and keeps the Secret as it is.
func TestRenewFromHostile(t *testing.T) {
	for name, answer := range map[string]http.HandlerFunc{
		"redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://127.0.0.1:1/", http.StatusFound)
		},
		"endless": func(w http.ResponseWriter, _ *http.Request) { object(w, 1<<40) },
	} {
		secret, _ := hostile(t, answer)
		late := Options{Now: func() time.Time { return time.Unix(2500, 0) }}
		if _, renewed, err := Renew(t.Context(), nil, secret, "west", "test", late); err == nil || renewed {
			t.Errorf("%s: renewed: %v", name, err)
		}
	}
}

func TestPlain(t *testing.T) {
	for in, want := range map[string]string{
		"as it is: ä":                   "as it is: ä",
		"a\nb\tc":                       "a b c",
		"\x1b]0;x\x07\u202eevil\u200b":  "]0;xevil",
		"bad\xff":                       "bad",
		strings.Repeat("ä", maxText):    strings.Repeat("ä", maxText),
		strings.Repeat("ä", maxText+1):  strings.Repeat("ä", maxText) + "…",
		strings.Repeat("\x00", 1000000): "",
	} {
		if got := Plain(in); got != want {
			t.Errorf("%.20q: got %q", in, got)
		}
	}
	for in, want := range map[string]string{"Ready": "Ready", "": "Unknown", "a b": "Unknown", strings.Repeat("a", 65): "Unknown"} {
		if got := PlainReason(in); got != want {
			t.Errorf("%q: got %q", in, got)
		}
	}
}
