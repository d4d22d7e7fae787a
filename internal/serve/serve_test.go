package serve

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestHandler(t *testing.T) {
	down := errors.New("wireguard: device is gone")
	metrics := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "up 1\n") })
	for _, tt := range []struct {
		name, method, path string
		checks             Checks
		code               int
		body               string
	}{
		{"no check is healthy", "GET", "/healthz", Checks{}, 200, "ok"},
		{"ready", "GET", "/readyz", Checks{Ready: func() error { return nil }}, 200, "ok"},
		{"not ready says why", "GET", "/readyz", Checks{Ready: func() error { return down }}, 503, "device is gone"},
		{"unready is still healthy", "GET", "/healthz", Checks{Ready: func() error { return down }}, 200, "ok"},
		{"metrics", "GET", "/metrics", Checks{Metrics: metrics}, 200, "up 1"},
		{"no metrics", "GET", "/metrics", Checks{}, 404, ""},
		{"nothing is written to", "POST", "/healthz", Checks{}, 405, ""},
		{"nothing else is shown", "GET", "/debug/pprof/", Checks{}, 404, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := httptest.NewRecorder()
			Handler(tt.checks).ServeHTTP(w, httptest.NewRequest(tt.method, tt.path, nil))
			if w.Code != tt.code || !strings.Contains(w.Body.String(), tt.body) {
				t.Errorf("got %d %q, want %d with %q", w.Code, w.Body, tt.code, tt.body)
			}
		})
	}
}

// TestUnix: the socket is its owner's only, replaces one left behind, and ends with
// its context.
func TestUnix(t *testing.T) {
	path := filepath.Join(t.TempDir(), "agent.sock")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- Unix(ctx, path, Handler(Checks{})) }()
	client := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}}}
	var resp *http.Response
	var err error
	for range 100 {
		if resp, err = client.Get("http://agent/healthz"); err == nil {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode of the socket: %v, %v", info.Mode(), err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("ended with %v", err)
	}
}

// TestEndsSoon: neither a silent connection nor a request that takes long holds up
// the end.
func TestEndsSoon(t *testing.T) {
	path := filepath.Join(t.TempDir(), "agent.sock")
	asked, release := make(chan struct{}), make(chan struct{})
	defer close(release)
	slow := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		close(asked)
		<-release
	})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- Unix(ctx, path, slow) }()
	for _, say := range []string{"", "GET / HTTP/1.1\r\nHost: agent\r\n\r\n"} {
		conn := dial(t, path)
		defer conn.Close()
		if _, err := io.WriteString(conn, say); err != nil {
			t.Fatal(err)
		}
	}
	<-asked
	began := time.Now()
	cancel()
	if err := <-done; err != nil {
		t.Errorf("ended with %v", err)
	}
	if took := time.Since(began); took > 3*time.Second { // a silent connection may last five
		t.Errorf("the end took %s", took)
	}
}

func dial(t *testing.T, path string) net.Conn {
	t.Helper()
	for range 100 {
		if conn, err := net.Dial("unix", path); err == nil {
			return conn
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatal("no server at " + path)
	return nil
}

// TestTCPPortTaken: the error names the address.
func TestTCPPortTaken(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	err = TCP(t.Context(), l.Addr().String(), nil)
	if err == nil || !strings.Contains(err.Error(), l.Addr().String()) {
		t.Errorf("got %v", err)
	}
}
