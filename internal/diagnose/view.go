package diagnose

import (
	"net/netip"
	"time"
)

// Ask is what an agent is asked to look at on its node.
type Ask struct {
	// Watch bounds how long it may take for what does not come at once.
	Watch time.Duration `json:"watch"`
	// Peers are the nodes to be reached through the tunnel.
	Peers []PeerAsk `json:"peers,omitempty"`
	// Packets are followed through the switch's tables.
	Packets []Packet `json:"packets,omitempty"`
	// Routes are addresses whose routes are looked up.
	Routes []netip.Addr `json:"routes,omitempty"`
	// Services are looked up in what balances services on the node.
	Services []Target `json:"services,omitempty"`
	// Probes are sent from a pod, or the node.
	Probes []Probe `json:"probes,omitempty"`
	// Names are asked for from a pod, or the node.
	Names []NameAsk `json:"names,omitempty"`
}

// PeerAsk is a node at the other end of a tunnel.
type PeerAsk struct {
	Name          string     `json:"name"`
	PublicKey     string     `json:"publicKey"`
	TunnelAddress netip.Addr `json:"tunnelAddress"`
}

// Where a packet comes from.
const (
	FromPod    = "pod"
	FromTunnel = "tunnel"
	FromNode   = "node"
)

// Namespaces of a node.
const (
	OfNode   = "node"
	OfTunnel = "tunnel"
)

// Packet is one that is followed through the switch's tables.
type Packet struct {
	Name string `json:"name"`
	// From is FromPod (the one with address Src), FromTunnel or FromNode.
	From     string     `json:"from"`
	Src      netip.Addr `json:"src"`
	Dst      netip.Addr `json:"dst"`
	Protocol string     `json:"protocol"` // tcp, udp or icmp
	SrcPort  uint16     `json:"srcPort,omitempty"`
	DstPort  uint16     `json:"dstPort,omitempty"`
	// Reply: it belongs to a connection that the other side began.
	Reply bool `json:"reply,omitempty"`
}

// Target is an address with protocol and port.
type Target struct {
	Address  netip.Addr `json:"address"`
	Protocol string     `json:"protocol"`
	Port     uint16     `json:"port,omitempty"`
}

// Probe is sent from the pod with address From; the node itself if that is invalid.
type Probe struct {
	From netip.Addr `json:"from"`
	To   Target     `json:"to"`
}

// NameAsk is a question to a name server, from a pod as in Probe.
type NameAsk struct {
	From   netip.Addr     `json:"from"`
	Server netip.AddrPort `json:"server"`
	Name   string         `json:"name"`
}

// NodeView is what there is on a node. It holds no secret.
type NodeView struct {
	// Time is the node's clock when it began to look.
	Time time.Time `json:"time"`
	// Agent is what the running agent says; AgentError why it says nothing.
	Agent      *AgentView `json:"agent,omitempty"`
	AgentError string     `json:"agentError,omitempty"`
	// PlanError is why it is not known what should be there.
	PlanError string `json:"planError,omitempty"`

	Device      *Device `json:"device,omitempty"`
	DeviceError string  `json:"deviceError,omitempty"`
	// Namespace: the tunnel's is there.
	Namespace bool     `json:"namespace"`
	Links     []Link   `json:"links,omitempty"`
	Sysctls   []Sysctl `json:"sysctls,omitempty"`
	Routes    []Route  `json:"routes,omitempty"`

	Switch    SwitchView  `json:"switch"`
	Traces    []TraceView `json:"traces,omitempty"`
	Conntrack Conntrack   `json:"conntrack"`
	// Datagrams are those of the tunnel's port that passed the node's interfaces.
	Datagrams []Datagrams `json:"datagrams,omitempty"`
	// Firewall are rules of the node that drop the tunnel's port.
	Firewall []string `json:"firewall,omitempty"`

	Peers      []PeerView    `json:"peers,omitempty"`
	Services   []ServiceView `json:"services,omitempty"`
	ProxyError string        `json:"proxyError,omitempty"`
	Probes     []ProbeView   `json:"probes,omitempty"`
	Names      []NameView    `json:"names,omitempty"`
	// Errors are what could not be looked at.
	Errors []string `json:"errors,omitempty"`
}

// AgentView is what the agent says of its node.
type AgentView struct {
	Version      string   `json:"version"`
	Cable        string   `json:"cable"`
	MTU          int      `json:"mtu"`
	PlanSource   string   `json:"planSource"`
	APIConnected bool     `json:"apiConnected"`
	Failed       []string `json:"failed,omitempty"` // parts that are not as planned, and why
	Refusals     []string `json:"refusals,omitempty"`
}

// Device is the node's WireGuard.
type Device struct {
	PublicKey  string       `json:"publicKey"`
	ListenPort int          `json:"listenPort"`
	Peers      []DevicePeer `json:"peers"`
}

// DevicePeer is a peer as WireGuard has it. Of all peers only those are told that were asked
// for by key, or that have an address that was asked for.
type DevicePeer struct {
	PublicKey     string         `json:"publicKey"`
	Endpoint      string         `json:"endpoint,omitempty"`
	AllowedIPs    []netip.Prefix `json:"allowedIPs"`
	LastHandshake *time.Time     `json:"lastHandshake,omitempty"`
	// Received and Sent are what came and went while it was looked at.
	Received int64 `json:"received"`
	Sent     int64 `json:"sent"`
}

// Link is a network interface that the way leads by.
type Link struct {
	Name string `json:"name"`
	// Missing: there is none.
	Missing bool `json:"missing,omitempty"`
	Up      bool `json:"up"`
	MTU     int  `json:"mtu"`
}

// Sysctl is one whose value is another than it has to be.
type Sysctl struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	Value     string `json:"value"`
	Want      string `json:"want"`
}

// Route is where a packet to an address goes.
type Route struct {
	// Namespace is OfNode or OfTunnel.
	Namespace string     `json:"namespace"`
	To        netip.Addr `json:"to"`
	Link      string     `json:"link,omitempty"`
	Local     bool       `json:"local,omitempty"`
	Error     string     `json:"error,omitempty"`
}

// SwitchView is what is of ours on the switch.
type SwitchView struct {
	Error string `json:"error,omitempty"`
	// OFPort is the tunnel's port; 0: it has none.
	OFPort uint32 `json:"ofPort"`
	// Missing and Extra are flows of ours, against the plan.
	Missing []string `json:"missing,omitempty"`
	Extra   []string `json:"extra,omitempty"`
}

// TraceView is a packet's way through the tables.
type TraceView struct {
	Packet Packet `json:"packet"`
	Error  string `json:"error,omitempty"`
	// Arrives tells whether it goes out by the port that it should.
	Arrives bool `json:"arrives"`
	// Last is the flow that decided, and Table where.
	Last  string `json:"last,omitempty"`
	Table int    `json:"table"`
	// Ours: that flow is one of sdn-tunnel.
	Ours    bool     `json:"ours,omitempty"`
	Outputs []string `json:"outputs,omitempty"`
}

// Conntrack is how full the node's connection tracking is; Max 0: not known.
type Conntrack struct {
	Count int `json:"count"`
	Max   int `json:"max"`
	// Namespace is the same of the tunnel's.
	Namespace int `json:"namespace"`
}

// Datagrams counts those that came from, or went to, a place.
type Datagrams struct {
	Out    bool           `json:"out"`
	Remote netip.AddrPort `json:"remote"`
	Local  netip.AddrPort `json:"local"`
	Count  int            `json:"count"`
}

// PeerView is how a peer answers through the tunnel.
type PeerView struct {
	Name string `json:"name"`
	// Answers: it answered a small packet, and not only once. Milliseconds is how long that
	// took.
	Answers      bool    `json:"answers"`
	Milliseconds float64 `json:"milliseconds,omitempty"`
	// Full: it answered one of the tunnel's full size, Size. Largest is the largest of those
	// tried that it answered.
	Full    bool   `json:"full"`
	Size    int    `json:"size,omitempty"`
	Largest int    `json:"largest,omitempty"`
	Error   string `json:"error,omitempty"`
}

// ServiceView is what balances a service on the node.
type ServiceView struct {
	Target   Target           `json:"target"`
	Known    bool             `json:"known"`
	Backends []netip.AddrPort `json:"backends,omitempty"`
}

// ProbeView is how a probe fared.
type ProbeView struct {
	Probe Probe `json:"probe"`
	// Error is why it was not sent.
	Error string `json:"error,omitempty"`
	// Answered: something came back, from the target. Refused: that was "nobody listens".
	Answered     bool    `json:"answered"`
	Refused      bool    `json:"refused,omitempty"`
	Milliseconds float64 `json:"milliseconds,omitempty"`
	// Said is the error that came back on the way.
	Said string `json:"said,omitempty"`
}

// NameView is what a name server answered.
type NameView struct {
	Ask       NameAsk      `json:"ask"`
	Code      string       `json:"code,omitempty"` // NOERROR, NXDOMAIN, SERVFAIL …
	Addresses []netip.Addr `json:"addresses,omitempty"`
	Error     string       `json:"error,omitempty"`
}
