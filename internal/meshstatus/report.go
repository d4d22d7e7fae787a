package meshstatus

import (
	"encoding/json"
	"fmt"
	"io"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/sdn-tunnel/sdn-tunnel/api/v1alpha1"
)

// Health sums up.
type Health string

// Healths, from good to bad; of what is Unknown nothing could be learnt.
const (
	Well     Health = "well"
	Degraded Health = "degraded"
	Down     Health = "down"
	Unknown  Health = "unknown"
)

// Report is how a mesh fares.
type Report struct {
	Time     time.Time `json:"time"`
	Clusters []Cluster `json:"clusters"`
}

// Cluster is one member as its own API shows it.
type Cluster struct {
	Name   string `json:"name"`
	Health Health `json:"health"`
	// Error is why its API could not be read; what else is said is then older, or missing.
	Error      string    `json:"error,omitempty"`
	Agents     *Workload `json:"agents,omitempty"`
	Controller *Workload `json:"controller,omitempty"`
	DNS        *Workload `json:"dns,omitempty"`
	Nodes      []Node    `json:"nodes"`
	Links      []Link    `json:"links"`
	Problems   []Problem `json:"problems"`
	// Notes are what is worth knowing and no problem.
	Notes []string `json:"notes,omitempty"`
	// Events are the latest warnings about sdn-tunnel's own objects that are not over.
	Events []Event `json:"events,omitempty"`
	// Pairs are the nodes' peers as their agents see them, where these were asked.
	Pairs []Pair `json:"pairs,omitempty"`
}

// Workload is the agents or a Deployment.
type Workload struct {
	Name string `json:"name"`
	// Desired, Ready and Updated count pods.
	Desired int32  `json:"desired"`
	Ready   int32  `json:"ready"`
	Updated int32  `json:"updated"`
	Image   string `json:"image"`
	// Versions is how many of them say that they are of a version.
	Versions map[string]int `json:"versions,omitempty"`
}

// Node is one node of the cluster.
type Node struct {
	Name          string   `json:"name"`
	Node          string   `json:"node"`
	Health        Health   `json:"health"`
	Endpoint      string   `json:"endpoint,omitempty"`
	TunnelAddress string   `json:"tunnelAddress,omitempty"`
	HostSubnets   []string `json:"hostSubnets,omitempty"`
	Cable         string   `json:"cable,omitempty"`
	MTU           int32    `json:"mtu,omitempty"`
	AgentVersion  string   `json:"agentVersion,omitempty"`
	// Peers is nil until the agent has said something.
	Peers      *v1alpha1.PeerCounts `json:"peers,omitempty"`
	Pod        string               `json:"pod,omitempty"`
	Restarts   int32                `json:"restarts"`
	Created    metav1.Time          `json:"created"`
	Conditions []metav1.Condition   `json:"conditions,omitempty"`
}

// Link is another member as this cluster sees it.
type Link struct {
	To     string `json:"to"`
	Health Health `json:"health"`
	// Up, Stale and Never count pairs of a node here and a node there.
	Up    int32 `json:"up"`
	Stale int32 `json:"stale"`
	Never int32 `json:"never"`
	// Nodes and Services are what is known here of the member, Refused what is not used.
	Nodes    int32 `json:"nodes"`
	Services int32 `json:"services"`
	Refused  int32 `json:"refused"`
	// StaleSince is since when what is known here may be older than what the member says,
	// and StaleReason why.
	StaleSince  *metav1.Time         `json:"staleSince,omitempty"`
	StaleReason string               `json:"staleReason,omitempty"`
	Access      *v1alpha1.AccessLife `json:"access,omitempty"`
	// Path is how the ways to its nodes are; nil until it was measured.
	Path *Path `json:"path,omitempty"`
}

// Path sums up the ways from the nodes here to those there, as the nodes' status has them:
// about right, and minutes old in large clusters.
type Path struct {
	// Probed counts pairs of nodes.
	Probed int32 `json:"probed"`
	// RoundTripMicroseconds is the median node's median; SlowestMicroseconds that of the
	// slowest pair.
	RoundTripMicroseconds int64   `json:"roundTripMicroseconds"`
	SlowestMicroseconds   int64   `json:"slowestMicroseconds"`
	LossPercent           float64 `json:"lossPercent"`
	// LossyPairs lose a fifth of the probes or more.
	LossyPairs            int32 `json:"lossyPairs"`
	ReceiveBitsPerSecond  int64 `json:"receiveBitsPerSecond"`
	TransmitBitsPerSecond int64 `json:"transmitBitsPerSecond"`
}

// Pair is a node and one of its peers, as the node's agent sees it at the moment.
type Pair struct {
	Node         string   `json:"node"`
	Peer         string   `json:"peer"`
	State        string   `json:"state"`
	HandshakeAge *float64 `json:"handshakeAgeSeconds,omitempty"`
	RoundTrip    *float64 `json:"roundTripMilliseconds,omitempty"`
	Loss         *float64 `json:"loss,omitempty"`
	Receiving    float64  `json:"receiveBitsPerSecond"`
	Sending      float64  `json:"transmitBitsPerSecond"`
}

// Problem is something that is not as it should be.
type Problem struct {
	// Object is "TunnelNode east.east-1" and the like.
	Object  string       `json:"object"`
	Message string       `json:"message"`
	Since   *metav1.Time `json:"since,omitempty"`
}

// Event is a warning.
type Event struct {
	Last    metav1.Time `json:"last"`
	Object  string      `json:"object"`
	Reason  string      `json:"reason"`
	Message string      `json:"message"`
	Count   int32       `json:"count"`
}

// Health is that of the mesh: Unknown if a cluster could not be read, else Down if each is,
// else Degraded if there is a problem.
func (r Report) Health() Health {
	down, well := 0, 0
	for _, c := range r.Clusters {
		switch {
		case c.Error != "":
			return Unknown
		case c.Health == Down:
			down++
		case c.Health == Well:
			well++
		}
	}
	switch {
	case well == len(r.Clusters):
		return Well
	case down == len(r.Clusters):
		return Down
	}
	return Degraded
}

// Summary is the report in one line.
func (r Report) Summary() string {
	nodes, problems, blind := 0, 0, 0
	for _, c := range r.Clusters {
		nodes += len(c.Nodes)
		problems += len(c.Problems)
		if c.Error != "" {
			blind++
		}
	}
	switch {
	case blind > 0:
		return fmt.Sprintf("%d of %s could not be read; %s in the others", blind, count(len(r.Clusters), "cluster"), count(problems, "problem"))
	case problems > 0:
		return fmt.Sprintf("%s in %s with %s", count(problems, "problem"), count(len(r.Clusters), "cluster"), count(nodes, "node"))
	}
	return fmt.Sprintf("all is well: %s, %s", count(len(r.Clusters), "cluster"), count(nodes, "node"))
}

func count(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}

// document is what JSON and YAML have.
type document struct {
	OK      bool   `json:"ok"`
	Health  Health `json:"health"`
	Summary string `json:"summary"`
	Report
}

func (r Report) document() document {
	return document{r.Health() == Well, r.Health(), r.Summary(), r}
}

// WriteJSON writes the report as JSON.
func (r Report) WriteJSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(r.document())
}

// WriteLine writes the report as JSON in one line.
func (r Report) WriteLine(w io.Writer) error { return json.NewEncoder(w).Encode(r.document()) }

// WriteYAML writes the report as a YAML document.
func (r Report) WriteYAML(w io.Writer) error {
	text, err := yaml.Marshal(r.document())
	if err != nil {
		return fmt.Errorf("encode the report: %w", err)
	}
	_, err = fmt.Fprintf(w, "---\n%s", text)
	return err
}

// rank orders healths.
var rank = map[Health]int{Well: 0, Degraded: 1, Unknown: 2, Down: 3}

// Worse is the worse of two.
func Worse(a, b Health) Health {
	if rank[b] > rank[a] {
		return b
	}
	return a
}
