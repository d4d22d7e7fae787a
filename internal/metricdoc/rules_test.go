package metricdoc

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const monitoring = "../../roles/monitoring/files/"

// named is what promcheck says of rules and expressions.
type named struct {
	Metrics, Recorded, Alerts []string
	Labels                    map[string][]string
}

// promcheck has Prometheus's own parsers read rules and expressions.
func promcheck(t *testing.T, rules string, expressions []string) named {
	t.Helper()
	if testing.Short() {
		t.Skip("SKIPPED in short mode: rules and dashboard were not checked")
	}
	in, err := json.Marshal(map[string]any{"rules": rules, "expressions": expressions})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "go", "run", ".")
	cmd.Dir, cmd.Stdin = "../../lab/tools/promcheck", bytes.NewReader(in)
	var problem bytes.Buffer
	cmd.Stderr = &problem
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, &problem)
	}
	var n named
	if err := json.Unmarshal(out, &n); err != nil {
		t.Fatal(err)
	}
	return n
}

// panel is one of the dashboard.
type panel struct {
	ID      int
	Title   string
	GridPos struct{ X, Y, W, H int }
	Targets []struct{ Expr string }
}

func panels(t *testing.T) []panel {
	t.Helper()
	text, err := os.ReadFile(monitoring + "dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	var d struct{ Panels []panel }
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	return d.Panels
}

// TestRulesAndDashboard: Prometheus reads them, and they name metrics and labels that there
// are, and no others. Each alert is in the runbook.
func TestRulesAndDashboard(t *testing.T) {
	rules, err := os.ReadFile(monitoring + "rules.yml")
	if err != nil {
		t.Fatal(err)
	}
	var expressions []string
	for _, p := range panels(t) {
		for _, target := range p.Targets {
			expressions = append(expressions, target.Expr)
		}
	}
	n := promcheck(t, string(rules), expressions)
	labels := map[string][]string{}
	for _, metrics := range Programs() {
		for _, m := range metrics {
			labels[m.Name] = m.Labels
			if m.Type == "histogram" {
				for _, suffix := range []string{"_bucket", "_sum", "_count"} {
					labels[m.Name+suffix] = append(slices.Clone(m.Labels), "le")
				}
			}
		}
	}
	for _, name := range n.Recorded {
		labels[name] = nil
	}
	for _, name := range n.Metrics {
		has, known := labels[name]
		if !known {
			t.Errorf("there is no metric %q", name)
		}
		for _, label := range n.Labels[name] {
			if !slices.Contains(has, label) {
				t.Errorf("%s has no label %q", name, label)
			}
		}
	}
	runbook, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, alert := range n.Alerts {
		if !strings.Contains(string(runbook), "\n### "+alert+"\n") {
			t.Errorf("docs/operations.md does not say what to do about %s", alert)
		}
		if !strings.Contains(string(rules), "runbook: docs/operations.md#"+strings.ToLower(alert)+"\n") {
			t.Errorf("%s does not say where that is said", alert)
		}
	}
	if len(n.Alerts) < 8 || len(expressions) < 15 {
		t.Errorf("only %d alerts and %d queries", len(n.Alerts), len(expressions))
	}
}

// TestPromcheckRefuses: it is no check that cannot fail.
func TestPromcheckRefuses(t *testing.T) {
	if n := promcheck(t, "groups: []", []string{`rate(nothing{of="this"}[5m])`}); !slices.Equal(n.Metrics, []string{"nothing"}) || !slices.Equal(n.Labels["nothing"], []string{"of"}) {
		t.Errorf("got %+v", n)
	}
	for what, in := range map[string]string{"expression": `{"expressions": ["sum("]}`, "rule": `{"rules": "groups: [{name: a, rules: [{alert: x}]}]"}`, "field": `{"rules": "groups: [{name: a, rulez: []}]"}`} {
		cmd := exec.CommandContext(t.Context(), "go", "run", ".")
		cmd.Dir, cmd.Stdin = "../../lab/tools/promcheck", strings.NewReader(in)
		if err := cmd.Run(); err == nil {
			t.Errorf("a bad %s passes", what)
		}
	}
}

// TestPanels: each has a number and a place of its own.
func TestPanels(t *testing.T) {
	all := panels(t)
	for i, a := range all {
		if a.Title == "" || len(a.Targets) == 0 || a.GridPos.X+a.GridPos.W > 24 {
			t.Errorf("panel %d: %+v", i, a)
		}
		for _, b := range all[:i] {
			p, q := a.GridPos, b.GridPos
			if a.ID == b.ID || (p.X < q.X+q.W && q.X < p.X+p.W && p.Y < q.Y+q.H && q.Y < p.Y+p.H) {
				t.Errorf("%q and %q are in one place, or have one number", a.Title, b.Title)
			}
		}
	}
}
