package agent

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"text/tabwriter"
	"time"

	"github.com/sdn-tunnel/sdn-tunnel/internal/mesh"
	"github.com/sdn-tunnel/sdn-tunnel/internal/table"
	"github.com/sdn-tunnel/sdn-tunnel/internal/version"
)

// Report is a node's own view, as `status` shows it. It holds no secret.
type Report struct {
	Node          string `json:"node"`
	AgentVersion  string `json:"agentVersion"`
	PublicKey     string `json:"publicKey"`
	TunnelAddress string `json:"tunnelAddress,omitempty"`
	Cable         string `json:"cable,omitempty"`
	MTU           int    `json:"mtu,omitempty"`
	Flows         int    `json:"flows"`
	// Services is absent where the node proxies no remote services.
	Services *ServiceReport `json:"services,omitempty"`
	// KubeRouters are absent where nftables proxies.
	KubeRouters  []KubeRouterReport `json:"kubeRouters,omitempty"`
	PlanSource   PlanSource         `json:"planSource"`
	APIConnected bool               `json:"apiConnected"`
	Ready        bool               `json:"ready"`
	Parts        []PartReport       `json:"parts"`
	Peers        []PeerReport       `json:"peers"`
	PeersError   string             `json:"peersError,omitempty"`
	Refusals     []string           `json:"refusals,omitempty"`
}

// PartReport is how one part fares.
type PartReport struct {
	Name  string `json:"name"`
	Error string `json:"error,omitempty"`
}

// ServiceReport is how many remote services the node proxies, with how many endpoints,
// counted once for each port.
type ServiceReport struct {
	Services  int `json:"services"`
	Endpoints int `json:"endpoints"`
	Refused   int `json:"refused"`
}

// KubeRouterReport is how one member's kube-router fares. Behind is in seconds.
type KubeRouterReport struct {
	Cluster  string  `json:"cluster"`
	Running  bool    `json:"running"`
	Serving  bool    `json:"serving"`
	Services int     `json:"services"`
	Behind   float64 `json:"behindSeconds"`
	Restarts int     `json:"restarts"`
	Fault    string  `json:"fault,omitempty"`
}

// PeerReport is one peer. HandshakeAge is in seconds, absent before the first one.
type PeerReport struct {
	Name         string   `json:"name"`
	State        string   `json:"state"`
	Endpoint     string   `json:"endpoint,omitempty"`
	HandshakeAge *float64 `json:"handshakeAgeSeconds,omitempty"`
	Received     int64    `json:"receivedBytes"`
	Sent         int64    `json:"sentBytes"`
	// RoundTrip and Loss are what probes through the tunnel measured, absent until there
	// were enough of them; Loss is a share of the last Probes.
	RoundTrip *float64 `json:"roundTripMilliseconds,omitempty"`
	Loss      *float64 `json:"loss,omitempty"`
	Probes    int      `json:"probes"`
	// Receiving and Sending are bits per second of late.
	Receiving float64 `json:"receiveBitsPerSecond"`
	Sending   float64 `json:"transmitBitsPerSecond"`
}

func reportOf(self mesh.Ref, key mesh.Key, o Observation, now time.Time) Report {
	r := Report{
		Node: self.String(), AgentVersion: version.Version, PublicKey: key.String(),
		Cable: o.Cable, MTU: o.MTU, Flows: o.Flows,
		PlanSource: o.State.Source, APIConnected: o.Connected,
		Ready: o.State.Applied && len(o.State.Failed()) == 0,
		Parts: []PartReport{}, Peers: []PeerReport{},
	}
	if s := o.Services; s != nil {
		r.Services = &ServiceReport{s.Services, s.Endpoints, len(s.Refused)}
	}
	for _, k := range o.KubeRouters {
		r.KubeRouters = append(r.KubeRouters, KubeRouterReport{
			Cluster: k.Member, Running: k.Running, Serving: k.Serving, Services: k.Services,
			Behind: k.Behind.Seconds(), Restarts: k.Restarts, Fault: k.Fault,
		})
	}
	if o.State.Plan.TunnelAddress.IsValid() {
		r.TunnelAddress = o.State.Plan.TunnelAddress.String()
	}
	for _, p := range o.State.Parts {
		part := PartReport{Name: p.Name}
		if p.Err != nil {
			part.Error = p.Err.Error()
		}
		r.Parts = append(r.Parts, part)
	}
	for _, p := range o.Peers {
		peer := PeerReport{Name: p.Ref.String(), State: p.State(now), Endpoint: p.Endpoint, Received: p.Received, Sent: p.Sent}
		if !p.LastHandshake.IsZero() {
			age := now.Sub(p.LastHandshake).Seconds()
			peer.HandshakeAge = &age
		}
		peer.Probes, peer.Receiving, peer.Sending = p.Path.Probes, 8*p.Receiving, 8*p.Sending
		if p.Path.Probes > 0 {
			loss := p.Path.Loss
			peer.Loss = &loss
		}
		if trip := float64(p.Path.RoundTrip.Microseconds()) / 1000; p.Path.RoundTrip > 0 {
			peer.RoundTrip = &trip
		}
		r.Peers = append(r.Peers, peer)
	}
	if o.PeersErr != nil {
		r.PeersError = o.PeersErr.Error()
	}
	for _, refusal := range o.State.Refusals {
		r.Refusals = append(r.Refusals, refusal.String())
	}
	return r
}

func statusHandler(report func() Report) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(report()) // the reader has gone: nobody to tell
	})
	return mux
}

// ReadReport asks the agent that runs on this node.
func ReadReport(ctx context.Context, stateDir string) (Report, error) {
	socket := SocketPath(stateDir)
	client := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
	}}
	defer client.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://agent/status", nil)
	if err != nil {
		return Report{}, fmt.Errorf("ask the agent: %w", err)
	}
	resp, err := client.Do(req)
	if err != nil {
		return Report{}, fmt.Errorf("ask the agent at %s: %w (does it run on this node, and is --state-dir right?)", socket, err)
	}
	defer resp.Body.Close()
	var r Report
	if err := json.NewDecoder(resp.Body).Decode(&r); err != nil {
		return Report{}, fmt.Errorf("read the agent's answer: %w", err)
	}
	return r, nil
}

func (k KubeRouterReport) line() string {
	text := fmt.Sprintf("%d services and ports, in IPVS", k.Services)
	if k.Behind > 0 {
		text = fmt.Sprintf("%d services and ports, IPVS behind for %.0f s", k.Services, k.Behind)
	}
	if !k.Running {
		text += ", not running"
	}
	if k.Restarts > 0 {
		text += fmt.Sprintf(", restarted %d times", k.Restarts)
	}
	if k.Fault != "" {
		text += ": " + k.Fault
	}
	return text
}

func (p PeerReport) roundTrip() string {
	if p.RoundTrip == nil {
		return "-"
	}
	return table.Milliseconds(time.Duration(*p.RoundTrip * float64(time.Millisecond)))
}

func (p PeerReport) loss() string {
	if p.Loss == nil {
		return "-"
	}
	return fmt.Sprintf("%.0f%%", 100**p.Loss)
}

// WriteTable shows the report to people.
func (r Report) WriteTable(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintf(w, "NODE\t%s\n", r.Node)
	fmt.Fprintf(w, "READY\t%t\n", r.Ready)
	fmt.Fprintf(w, "PLAN\t%s\n", r.PlanSource)
	fmt.Fprintf(w, "API CONNECTED\t%t\n", r.APIConnected)
	fmt.Fprintf(w, "TUNNEL ADDRESS\t%s\n", cmp.Or(r.TunnelAddress, "-"))
	fmt.Fprintf(w, "CABLE\t%s\n", cmp.Or(r.Cable, "-"))
	fmt.Fprintf(w, "MTU\t%d\n", r.MTU)
	fmt.Fprintf(w, "FLOWS\t%d\n", r.Flows)
	if s := r.Services; s != nil {
		fmt.Fprintf(w, "SERVICES\t%d with %d endpoints, %d refused\n", s.Services, s.Endpoints, s.Refused)
	}
	for _, k := range r.KubeRouters {
		fmt.Fprintf(w, "KUBE-ROUTER %s\t%s\n", k.Cluster, k.line())
	}
	for _, p := range r.Parts {
		fmt.Fprintf(w, "PART %s\t%s\n", p.Name, cmp.Or(p.Error, "as planned"))
	}
	for _, refusal := range r.Refusals {
		fmt.Fprintf(w, "REFUSED\t%s\n", refusal)
	}
	if r.PeersError != "" {
		fmt.Fprintf(w, "PEERS\t%s\n", r.PeersError)
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	fmt.Fprintln(w, "\nPEER\tSTATE\tENDPOINT\tHANDSHAKE\tROUND TRIP\tLOSS\tRECEIVED\tSENT\tRECEIVING\tSENDING")
	for _, p := range r.Peers {
		age := "-"
		if p.HandshakeAge != nil {
			age = fmt.Sprintf("%.0fs ago", *p.HandshakeAge)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%d\t%d\t%s\t%s\n", p.Name, p.State, cmp.Or(p.Endpoint, "-"), age,
			p.roundTrip(), p.loss(), p.Received, p.Sent, table.Bits(p.Receiving), table.Bits(p.Sending))
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}
