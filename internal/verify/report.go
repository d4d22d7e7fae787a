package verify

import (
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/sdn-tunnel/sdn-tunnel/internal/mesh"
	"github.com/sdn-tunnel/sdn-tunnel/samples/test-app/probe"
)

// Report is the outcome of a run.
type Report struct {
	Started         time.Time `json:"started"`
	DurationSeconds float64   `json:"durationSeconds"`
	Clusters        []string  `json:"clusters"`
	Pairs           []Pair    `json:"pairs"`
	// Services are the members' services as the others reach them; none if that was
	// not asked for.
	Services []ServicePair `json:"services,omitempty"`
}

// Pair is one source and one target.
type Pair struct {
	Kind Kind `json:"kind"`
	// From and To are nodes, by their names in the mesh, <cluster>.<node>.
	From        string `json:"from"`
	To          string `json:"to"`
	FromAddress string `json:"fromAddress,omitempty"`
	ToAddress   string `json:"toAddress"`
	// Seen is the source address that the server saw.
	Seen   string  `json:"seen,omitempty"`
	Checks []Check `json:"checks,omitempty"`
	// RTTMicros is the shortest round trip in microseconds.
	RTTMicros int64 `json:"rttMicros,omitempty"`
	// DFBytes is the largest packet that passed unfragmented, and LinkMTU the MTU of the
	// interface that it left by.
	DFBytes int `json:"dfBytes,omitempty"`
	LinkMTU int `json:"linkMTU,omitempty"`
	// Attempts is how often the pair was tried.
	Attempts int `json:"attempts"`
	// Error: the probe could not run.
	Error string `json:"error,omitempty"`
	// FailingHop names the first hop at fault, as far as known.
	FailingHop string `json:"failingHop,omitempty"`

	from, to mesh.Ref
}

// Check is one named check.
type Check struct {
	Name string `json:"name"`
	probe.Check
}

// OK tells whether nothing failed.
func (p Pair) OK() bool {
	if p.Error != "" || len(p.Checks) == 0 {
		return false
	}
	for _, c := range p.Checks {
		if !c.OK && !c.Skipped {
			return false
		}
	}
	return true
}

// Failure is why the pair failed, in one line; empty if it did not.
func (p Pair) Failure() string {
	if p.Error != "" {
		return p.Error
	}
	text := ""
	for _, c := range p.Checks {
		if !c.OK && !c.Skipped {
			if text != "" {
				text += "; "
			}
			text += c.Name + ": " + c.Detail
		}
	}
	if text == "" && len(p.Checks) == 0 {
		return "not probed"
	}
	return text
}

// OK tells whether there are pairs and all of them, and all services, passed.
func (r Report) OK() bool { return len(r.Pairs) > 0 && r.Failed() == 0 && r.FailedServices() == 0 }

// Failed counts the pairs that failed.
func (r Report) Failed() int {
	n := 0
	for _, p := range r.Pairs {
		if !p.OK() {
			n++
		}
	}
	return n
}

// FailedServices counts the services that failed.
func (r Report) FailedServices() int {
	n := 0
	for _, s := range r.Services {
		if !s.OK() {
			n++
		}
	}
	return n
}

// Summary is the outcome in one line.
func (r Report) Summary() string {
	if len(r.Pairs) == 0 {
		return "no pairs were probed"
	}
	text := outcome(r.Failed(), len(r.Pairs), "pairs")
	if len(r.Services) > 0 {
		text += ", " + outcome(r.FailedServices(), len(r.Services), "services")
	}
	return text
}

func outcome(failed, all int, what string) string {
	if failed > 0 {
		return fmt.Sprintf("%d of %d %s FAILED", failed, all, what)
	}
	return fmt.Sprintf("all %d %s OK", all, what)
}

// WriteJSON writes the report as JSON.
func (r Report) WriteJSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(struct {
		OK      bool   `json:"ok"`
		Summary string `json:"summary"`
		Report
	}{r.OK(), r.Summary(), r})
}
