package diagnose

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/sdn-tunnel/sdn-tunnel/internal/table"
)

// Outcome is how a step of the way fares.
type Outcome string

// Outcomes. Unknown is a step that could not be looked at, Skipped one that the way does not
// have.
const (
	OK      Outcome = "ok"
	Fault   Outcome = "fault"
	Risk    Outcome = "risk"
	Unknown Outcome = "unknown"
	Skipped Outcome = "skipped"
)

// Finding is one thing that is not as it has to be.
type Finding struct {
	// Code names the fault for programs, and does not change.
	Code string `json:"code"`
	Step string `json:"step"`
	// Object is what is at fault: "node east.east-1", "Service west/shop/web".
	Object string `json:"object"`
	What   string `json:"what"`
	Remedy string `json:"remedy"`
	// Risk: what was asked for gets through nevertheless.
	Risk bool `json:"risk,omitempty"`
}

// StepReport is one step of the way.
type StepReport struct {
	Name    string  `json:"name"`
	Outcome Outcome `json:"outcome"`
	Detail  string  `json:"detail,omitempty"`
}

// Report is a diagnosis.
type Report struct {
	Subject string `json:"subject"`
	OK      bool   `json:"ok"`
	// First is the first fault on the way; nil: none was found.
	First *Finding `json:"first,omitempty"`
	// Note says why the mesh has no part in the way, if it has none.
	Note string `json:"note,omitempty"`
	// Others are what else was found; much of it follows from the first.
	Others []Finding    `json:"others,omitempty"`
	Steps  []StepReport `json:"steps"`
	// Blind: something could not be read, and nothing that could be explains a fault.
	Blind bool    `json:"blind,omitempty"`
	Took  float64 `json:"seconds"`
}

// Summary is the report in one line.
func (r Report) Summary() string { return table.Plain(r.summary()) }

func (r Report) summary() string {
	switch {
	case r.First != nil && r.First.Risk:
		return fmt.Sprintf("%s: it gets through; but %s: %s", r.Subject, r.First.Object, r.First.What)
	case r.First != nil:
		return fmt.Sprintf("%s: %s: %s", r.Subject, r.First.Object, r.First.What)
	case r.Blind:
		return r.Subject + ": no fault was found in what could be looked at"
	}
	return r.Subject + ": no fault" + suffix(r.Note)
}

// WriteJSON writes the report as JSON.
func (r Report) WriteJSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(r)
}

// WriteYAML writes the report as a YAML document.
func (r Report) WriteYAML(w io.Writer) error {
	text, err := yaml.Marshal(r)
	if err != nil {
		return fmt.Errorf("encode the report: %w", err)
	}
	_, err = fmt.Fprintf(w, "---\n%s", text)
	return err
}

var colours = map[Outcome]string{OK: table.Green, Fault: table.Red, Risk: table.Yellow, Unknown: table.Yellow}

// WriteTable shows the report to people.
func (r Report) WriteTable(w io.Writer, colour bool) error {
	steps := table.Table{Colour: colour, Of: func(cell string) string { return colours[Outcome(cell)] }}
	steps.Row("STEP", "", "")
	for _, s := range r.Steps {
		steps.Row(s.Name, string(s.Outcome), s.Detail)
	}
	if err := steps.Write(w); err != nil {
		return err
	}
	var b strings.Builder
	switch {
	case r.First == nil && r.Blind:
		fmt.Fprintf(&b, "\n%s no fault was found in what could be looked at\n", steps.Paint(table.Yellow, "UNKNOWN"))
	case r.First == nil:
		fmt.Fprintf(&b, "\n%s no fault%s\n", steps.Paint(table.Green, "OK"), table.Plain(suffix(r.Note)))
	case r.First.Risk:
		fmt.Fprintf(&b, "\n%s it gets through now, but:\n", steps.Paint(table.Yellow, "RISK"))
		r.First.write(&b)
	default:
		fmt.Fprintf(&b, "\n%s the first one on the way:\n", steps.Paint(table.Red, "FAULT"))
		r.First.write(&b)
	}
	if len(r.Others) > 0 {
		fmt.Fprintf(&b, "\nFurther on, which may follow from it:\n")
		for _, f := range r.Others {
			fmt.Fprintf(&b, "  %s: %s\n", table.Plain(f.Object), table.Plain(f.What))
		}
	}
	fmt.Fprintf(&b, "\n%s, looked at in %.1f s\n", table.Plain(r.Subject), r.Took)
	_, err := io.WriteString(w, b.String())
	return err
}

func (f Finding) write(b *strings.Builder) {
	fmt.Fprintf(b, "  %s: %s\n  remedy: %s\n", table.Plain(f.Object), table.Plain(f.What), table.Plain(f.Remedy))
}

// Since sets how long the diagnosis took.
func (r *Report) Since(took time.Duration) { r.Took = float64(took.Milliseconds()) / 1000 }
