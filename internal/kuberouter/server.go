package kuberouter

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sdn-tunnel/sdn-tunnel/internal/tunnelns"
)

// kinds are the resources that kube-router lists and watches before it does anything, with
// the kinds of their lists. What is not in the view is empty.
var kinds = map[string]metav1.TypeMeta{
	"/api/v1/services":                           {APIVersion: "v1", Kind: "ServiceList"},
	"/api/v1/endpoints":                          {APIVersion: "v1", Kind: "EndpointsList"},
	"/api/v1/pods":                               {APIVersion: "v1", Kind: "PodList"},
	"/api/v1/namespaces":                         {APIVersion: "v1", Kind: "NamespaceList"},
	"/api/v1/nodes":                              {APIVersion: "v1", Kind: "NodeList"},
	"/apis/discovery.k8s.io/v1/endpointslices":   {APIVersion: "discovery.k8s.io/v1", Kind: "EndpointSliceList"},
	"/apis/networking.k8s.io/v1/networkpolicies": {APIVersion: "networking.k8s.io/v1", Kind: "NetworkPolicyList"},
}

// longestWatch ends a watch; the client begins the next one where it ended.
const longestWatch = 30 * time.Minute

// server serves a view as an API server would, to read only, with one Node.
type server struct {
	view *view
	node *corev1.Node
}

// nodeObject is the Node that kube-router finds itself on: its address is the source of
// what it sends itself, and has to be one of the namespace's.
func nodeObject(name, address string) *corev1.Node {
	return &corev1.Node{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Node"},
		ObjectMeta: metav1.ObjectMeta{Name: name, ResourceVersion: "1"},
		Status:     corev1.NodeStatus{Addresses: []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: address}}},
	}
}

// listen serves on the loopback of a namespace until ctx ends; it returns the address.
func (s *server) listen(ctx context.Context, n tunnelns.Namespace) (address string, ended <-chan struct{}, err error) {
	var l net.Listener
	err = n.Do(func() error {
		l, err = new(net.ListenConfig).Listen(ctx, "tcp4", "127.0.0.1:0")
		return err
	})
	if err != nil {
		return "", nil, fmt.Errorf("serve the view in %v: %w", n, err)
	}
	h := &http.Server{Handler: s.handler(), ReadHeaderTimeout: 5 * time.Second, BaseContext: func(net.Listener) context.Context { return ctx }}
	done := make(chan struct{})
	context.AfterFunc(ctx, func() { _ = h.Close() })
	go func() {
		defer close(done)
		_ = h.Serve(l) // until it is closed
	}()
	return l.Addr().String(), done, nil
}

func (s *server) handler() http.Handler {
	mux := http.NewServeMux()
	for path, kind := range kinds {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) { s.serve(w, r, path, kind) })
	}
	mux.HandleFunc("GET /api/v1/nodes/{name}", func(w http.ResponseWriter, r *http.Request) {
		if name := r.PathValue("name"); name != s.node.Name {
			refuse(w, http.StatusNotFound, metav1.StatusReasonNotFound, fmt.Sprintf("nodes %q not found", name))
			return
		}
		answer(w, http.StatusOK, s.node)
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet {
			refuse(w, http.StatusMethodNotAllowed, metav1.StatusReasonMethodNotAllowed, "this view is to read only")
			return
		}
		refuse(w, http.StatusNotFound, metav1.StatusReasonNotFound, "this view has no "+r.URL.Path)
	})
	return mux
}

func (s *server) serve(w http.ResponseWriter, r *http.Request, path string, kind metav1.TypeMeta) {
	resource := path[strings.LastIndexByte(path, '/')+1:]
	if watch := r.URL.Query().Get("watch"); watch == "1" || watch == "true" {
		s.watch(w, r, resource)
		return
	}
	all, version := s.view.list(resource)
	if resource == "nodes" {
		all = []object{s.node}
	}
	if all == nil {
		all = []object{}
	}
	answer(w, http.StatusOK, struct {
		metav1.TypeMeta `json:",inline"`
		Metadata        metav1.ListMeta `json:"metadata"`
		Items           []object        `json:"items"`
	}{kind, metav1.ListMeta{ResourceVersion: strconv.FormatUint(version, 10)}, all})
}

// watchEvent is one line of a watch.
type watchEvent struct {
	Type   string `json:"type"`
	Object any    `json:"object"`
}

// watch tells the changes of a resource as they come.
func (s *server) watch(w http.ResponseWriter, r *http.Request, resource string) {
	if r.URL.Query().Has("sendInitialEvents") {
		refuse(w, http.StatusUnprocessableEntity, metav1.StatusReasonInvalid, "this view has no streaming lists: list, then watch")
		return
	}
	limit := longestWatch
	if n, err := strconv.Atoi(r.URL.Query().Get("timeoutSeconds")); err == nil && n > 0 {
		limit = min(limit, time.Duration(n)*time.Second)
	}
	ctx, cancel := context.WithTimeout(r.Context(), limit)
	defer cancel()
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	out, flush := json.NewEncoder(w), http.NewResponseController(w)
	_ = flush.Flush()
	version, err := strconv.ParseUint(r.URL.Query().Get("resourceVersion"), 10, 64)
	if err != nil {
		version = 0 // not remembered: the client is told to list
	}
	for {
		some, now, more, ok := s.view.since(resource, version)
		if !ok {
			_ = out.Encode(watchEvent{"ERROR", status(http.StatusGone, metav1.StatusReasonExpired, "too old resource version")})
			return
		}
		for _, c := range some {
			if out.Encode(watchEvent{c.kind, c.object}) != nil {
				return // the client has gone
			}
		}
		if len(some) > 0 && flush.Flush() != nil {
			return
		}
		version = now
		select {
		case <-ctx.Done():
			return
		case <-more:
		}
	}
}

func answer(w http.ResponseWriter, code int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(body) // the client has gone: nobody to tell
}

func refuse(w http.ResponseWriter, code int, reason metav1.StatusReason, message string) {
	answer(w, code, status(code, reason, message))
}

func status(code int, reason metav1.StatusReason, message string) metav1.Status {
	return metav1.Status{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"},
		Status:   metav1.StatusFailure, Reason: reason, Message: message, Code: int32(code),
	}
}
