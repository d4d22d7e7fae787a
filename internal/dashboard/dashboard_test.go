package dashboard

import (
	"os"
	"strings"
	"testing"
)

const shipped = "../../roles/monitoring/files/dashboard.json"

// read is the dashboard that role monitoring ships.
func read(t *testing.T) Dashboard {
	t.Helper()
	text, err := os.ReadFile(shipped)
	if err != nil {
		t.Fatal(err)
	}
	d, err := Read(text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestReadShipped: all that the shipped dashboard has is known here.
func TestReadShipped(t *testing.T) {
	d := read(t)
	if d.Title != "sdn-tunnel" || len(d.Panels) < 20 {
		t.Errorf("%q has %d panels", d.Title, len(d.Panels))
	}
	if p := d.Panels[0]; p.Title != "Peers up" || p.Type != Stat || p.FieldConfig.Defaults.Unit != "percentunit" || p.Targets[0].Expr != "sdntunnel:peers_up:ratio" {
		t.Errorf("the first is %+v", p)
	}
}

func TestReadRefuses(t *testing.T) {
	const good = `{"title": "a", "type": "stat", "gridPos": {"x": 0, "y": 0, "w": 4, "h": 4}, "fieldConfig": {"defaults": {"unit": "s"}}, "targets": [{"refId": "A", "expr": "up"}]}`
	if _, err := Read([]byte(`{"panels": [` + good + `]}`)); err != nil {
		t.Fatal(err)
	}
	for says, change := range map[string][2]string{
		`no picture of type "pie"`:   {`"stat"`, `"pie"`},
		`unit "furlong"`:             {`"unit": "s"`, `"unit": "furlong"`},
		"it asks nothing":            {`{"refId": "A", "expr": "up"}`, ``},
		"query A is empty":           {`"up"`, `""`},
		"is not in the grid":         {`"x": 0`, `"x": 21`},
		"invalid character":          {`"title"`, `title`},
		`panel "a"`:                  {`"h": 4`, `"h": 0`},
		"cannot unmarshal string":    {`"w": 4`, `"w": "4"`},
		"dashboard: it has no panel": {good, ""},
	} {
		text := strings.Replace(`{"panels": [`+good+`]}`, change[0], change[1], 1)
		if _, err := Read([]byte(text)); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("want %q, got %v", says, err)
		}
	}
}

func TestLegend(t *testing.T) {
	labels := map[string]string{"cluster": "west", "instance": "east-1"}
	for format, want := range map[string]string{
		"": "", "median": "median", "{{cluster}}": "west", "{{ instance }} to {{cluster}}, 99%": "east-1 to west, 99%",
		"{{peer}}|": "|", "{{cluster": "{{cluster",
	} {
		if got := (Target{LegendFormat: format}).legend(labels); got != want {
			t.Errorf("%q is %q, want %q", format, got, want)
		}
	}
}

func TestColor(t *testing.T) {
	low, high := 0.95, 1.0
	f := Field{}
	f.Thresholds.Steps = []Threshold{{"red", nil}, {"orange", &low}, {"green", &high}}
	for value, want := range map[float64]string{-1: "red", 0.94: "red", 0.95: "orange", 0.99: "orange", 1: "green", 2: "green"} {
		if got := f.color(value); got != want {
			t.Errorf("%v is %q, want %q", value, got, want)
		}
	}
	if got := (Field{}).color(1); got != "" {
		t.Errorf("without thresholds: %q", got)
	}
}
