package agent

import (
	"slices"
	"time"

	"github.com/sdn-tunnel/sdn-tunnel/internal/mesh"
)

// PlanSource says where the plan in use comes from.
type PlanSource string

// Sources of plans.
const (
	PlanNone  PlanSource = "none"  // nothing is known yet
	PlanSaved PlanSource = "saved" // kept on the node; the API has not answered this process
	PlanAPI   PlanSource = "api"
)

// State is what the loop knows after a pass.
type State struct {
	Plan   mesh.DataPlane
	Source PlanSource
	// Refusals are the plan's and those of objects that could not be read.
	Refusals []mesh.Refusal
	Parts    []PartState
	// Applied: every part was applied without error at least once by this process.
	Applied bool
	// Time is when the pass ended.
	Time time.Time
}

// PartState is how one part fares.
type PartState struct {
	Name string
	// Err is why it is not as planned; nil: it is.
	Err error
	// Changes are what the last pass changed, one line each.
	Changes []string
	// Contested: it was put back again and again of late, though the plan was the same:
	// something else undoes it.
	Contested bool
	// Repairs is how often this process put back what something else had changed; the last
	// time was at RepairedAt, and Repaired the first thing that it changed then.
	Repairs    int
	RepairedAt time.Time
	Repaired   string
}

// Failed are the parts that are not as planned.
func (s State) Failed() []PartState {
	return slices.DeleteFunc(slices.Clone(s.Parts), func(p PartState) bool { return p.Err == nil })
}
