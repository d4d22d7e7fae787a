package sdn

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"time"
)

// nodeFacts is what the CNI plugin asks the daemon before it makes an interface.
type nodeFacts struct {
	Subnet      netip.Prefix `json:"subnet"`
	Gateway     netip.Addr   `json:"gateway"`
	ClusterCIDR netip.Prefix `json:"clusterCIDR"`
	MTU         int          `json:"mtu"`
	Datapath    Datapath     `json:"datapath"`
}

// serveCNI answers the plugin on a unix socket until ctx ends.
func (n *node) serveCNI(ctx context.Context) error {
	if err := os.MkdirAll(n.cfg.StateDir, 0o755); err != nil {
		return fmt.Errorf("state folder: %w", err)
	}
	path := SocketPath(n.cfg.StateDir)
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("CNI socket of an earlier daemon: %w", err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return fmt.Errorf("CNI socket: %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /node", n.handleNode)
	mux.HandleFunc("PUT /pods/{sandbox}", n.handleAdd)
	mux.HandleFunc("GET /pods/{sandbox}", n.handleCheck)
	mux.HandleFunc("DELETE /pods/{sandbox}", n.handleDelete)
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	defer context.AfterFunc(ctx, func() { server.Close() })()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("CNI socket: %w", err)
	}
	return nil
}

func (n *node) handleNode(w http.ResponseWriter, _ *http.Request) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.attached || n.written == nil {
		http.Error(w, "the node's bridge is not ready", http.StatusServiceUnavailable)
		return
	}
	facts := nodeFacts{Subnet: n.subnet, Gateway: n.gateway(), ClusterCIDR: n.cfg.PodCIDR, MTU: n.cfg.MTU, Datapath: n.cfg.Datapath}
	_ = json.NewEncoder(w).Encode(facts) // a plugin that has gone asks again
}

func (n *node) handleAdd(w http.ResponseWriter, r *http.Request) {
	var p podRecord
	if err := json.NewDecoder(r.Body).Decode(&p); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	p.Sandbox = r.PathValue("sandbox")
	if err := n.waitVNID(r.Context(), p.Namespace); err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.addPod(r.Context(), p); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}

// waitVNID gives the controller a moment to hand out a new namespace's network id.
func (n *node) waitVNID(ctx context.Context, namespace string) error {
	for range 50 {
		if _, ok := vnidsOf(n.cfg.Source.State())[namespace]; ok {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
	return fmt.Errorf("namespace %s has no NetNamespace: does the SDN's controller run?", namespace)
}

func (n *node) addPod(ctx context.Context, p podRecord) error {
	port, err := n.addPort(ctx, p)
	if err != nil {
		return err
	}
	p.port = port
	if err := n.pods.put(p); err != nil {
		return fmt.Errorf("record pod %s/%s: %w", p.Namespace, p.Name, err)
	}
	return n.syncLocked(ctx)
}

func (n *node) handleCheck(w http.ResponseWriter, r *http.Request) {
	n.mu.Lock()
	defer n.mu.Unlock()
	p, ok := n.pods.pods[r.PathValue("sandbox")]
	if !ok {
		http.Error(w, "no such pod on the bridge", http.StatusNotFound)
		return
	}
	_ = json.NewEncoder(w).Encode(p) // a plugin that has gone asks again
}

func (n *node) handleDelete(w http.ResponseWriter, r *http.Request) {
	n.mu.Lock()
	defer n.mu.Unlock()
	p, ok := n.pods.pods[r.PathValue("sandbox")]
	if !ok {
		return
	}
	if err := n.deletePod(r.Context(), p); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}

func (n *node) deletePod(ctx context.Context, p podRecord) error {
	if _, err := n.ovs.vsctl(ctx, "--if-exists", "del-port", bridge, p.Veth); err != nil {
		return fmt.Errorf("delete the port of pod %s/%s: %w", p.Namespace, p.Name, err)
	}
	releaseIngress(ctx, p.Veth)
	if err := n.pods.remove(p.Sandbox); err != nil {
		return fmt.Errorf("forget pod %s/%s: %w", p.Namespace, p.Name, err)
	}
	return n.syncLocked(ctx)
}
