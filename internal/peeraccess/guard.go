package peeraccess

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
)

// What an answer of a member may have. The largest that is sensible is a page of 500
// TunnelNodes, 32 KiB each; an object of any kind fits into the 1.5 MiB that etcd takes.
const (
	maxListBytes   = 16 << 20
	maxObjectBytes = 2 << 20
	maxEventBytes  = 2 << 20
	maxErrorBytes  = 64 << 10
)

// guarded makes a configuration safe for a server that is not trusted: it is followed
// nowhere else, and what it says is bounded in size and put into plain words before
// any client sees it.
func guarded(cfg *rest.Config) *rest.Config {
	cfg.ContentType, cfg.AcceptContentTypes = runtime.ContentTypeJSON, runtime.ContentTypeJSON
	cfg.WarningHandler = rest.NoWarnings{} // they would go to the log as they are
	cfg.Wrap(func(next http.RoundTripper) http.RoundTripper { return &guard{next: next} })
	return cfg
}

// guard is the way to a member's API server.
type guard struct{ next http.RoundTripper }

// RoundTrip refuses redirects and what is not JSON, and bounds all else.
func (g *guard) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := g.next.RoundTrip(req)
	if err != nil {
		return nil, plainly{err} // a certificate has names, too
	}
	if err := g.judge(req, resp); err != nil {
		resp.Body.Close()
		return nil, err
	}
	return resp, nil
}

// WrappedRoundTripper is what client-go asks for.
func (g *guard) WrappedRoundTripper() http.RoundTripper { return g.next }

func (g *guard) judge(req *http.Request, resp *http.Response) error {
	switch {
	case resp.StatusCode >= 300 && resp.StatusCode < 400:
		return fmt.Errorf("it redirects (%d) to %q, and redirects are not followed", resp.StatusCode, Plain(resp.Header.Get("Location")))
	case resp.StatusCode >= 400:
		return explained(resp)
	case resp.StatusCode < 200:
		return fmt.Errorf("it answers with %d, which no API server does here", resp.StatusCode)
	}
	if kind, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type")); err != nil || kind != runtime.ContentTypeJSON {
		return fmt.Errorf("it answers with content of type %q, not %s", Plain(resp.Header.Get("Content-Type")), runtime.ContentTypeJSON)
	}
	switch query := req.URL.Query(); {
	case query.Get("watch") != "" && query.Get("watch") != "false":
		resp.Body = &events{body: resp.Body}
	case isList(req.URL.Path):
		resp.Body = &bounded{body: resp.Body, left: maxListBytes, limit: maxListBytes, what: "a list"}
	default:
		resp.Body = &bounded{body: resp.Body, left: maxObjectBytes, limit: maxObjectBytes, what: "an object"}
	}
	return nil
}

// isList tells a list by its path, /apis/<group>/<version>[/namespaces/<namespace>]/<resource>
// without a name; the server's own path may stand before it.
func isList(path string) bool {
	if _, rest, ok := strings.Cut(path, "/apis/"); ok {
		path = rest[strings.Index(rest, "/")+1:]
	} else if _, rest, ok := strings.Cut(path, "/api/"); ok {
		path = rest
	}
	parts := strings.Split(strings.Trim(path, "/"), "/")[1:] // without the version
	if len(parts) > 2 && parts[0] == "namespaces" {
		parts = parts[2:]
	}
	return len(parts) == 1
}

// explained replaces the body of an error by one with the same reason in plain words.
func explained(resp *http.Response) error {
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxErrorBytes))
	resp.Body.Close()
	if err != nil {
		return fmt.Errorf("read its answer %d: %w", resp.StatusCode, err)
	}
	var said, is metav1.Status
	if err := json.Unmarshal(raw, &said); err != nil || said.Kind != "Status" {
		said = metav1.Status{Message: string(raw)}
	}
	is = PlainStatus(said)
	is.Code = int32(resp.StatusCode)
	if is.Reason == "" {
		is.Reason = apierrors.NewGenericServerResponse(resp.StatusCode, "", schema.GroupResource{}, "", "", 0, false).ErrStatus.Reason
	}
	out, err := json.Marshal(is)
	if err != nil {
		return fmt.Errorf("read its answer %d: %w", resp.StatusCode, err)
	}
	resp.Header.Set("Content-Type", runtime.ContentTypeJSON)
	resp.ContentLength = int64(len(out))
	resp.Header.Del("Content-Length")
	resp.Body = io.NopCloser(bytes.NewReader(out))
	return nil
}

// bounded fails when more comes than allowed, and says so.
type bounded struct {
	body        io.ReadCloser
	left, limit int
	what        string
}

func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.body.Read(p)
	if b.left -= n; b.left < 0 {
		return 0, fmt.Errorf("%s of more than %d MiB is not read", b.what, b.limit>>20)
	}
	return n, err
}

func (b *bounded) Close() error { return b.body.Close() }

// events is a watch's endless stream of JSON objects, each of which is bounded. It
// knows no more of JSON than where an object ends.
type events struct {
	body              io.ReadCloser
	size, depth       int
	inString, escaped bool
}

func (e *events) Read(p []byte) (int, error) {
	n, err := e.body.Read(p)
	for _, c := range p[:n] {
		if e.size++; e.size > maxEventBytes {
			return 0, fmt.Errorf("an event of more than %d MiB is not read", maxEventBytes>>20)
		}
		if e.step(c) {
			e.size = 0
		}
	}
	return n, err
}

// step takes one byte and tells whether it ends an object.
func (e *events) step(c byte) bool {
	switch {
	case e.escaped:
		e.escaped = false
	case e.inString:
		e.escaped, e.inString = c == '\\', c != '"'
	case c == '"':
		e.inString = true
	case c == '{', c == '[':
		e.depth++
	case c == '}', c == ']':
		e.depth--
		return e.depth == 0
	}
	return false
}

func (e *events) Close() error { return e.body.Close() }
