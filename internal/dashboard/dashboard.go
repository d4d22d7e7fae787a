package dashboard

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
)

// Kinds of panels.
const (
	Stat       = "stat"
	TimeSeries = "timeseries"
)

// columns is how wide Grafana's grid is.
const columns = 24

// Dashboard is what is read of Grafana's.
type Dashboard struct {
	Title  string
	Panels []Panel
}

// Panel is one of its panels.
type Panel struct {
	ID          int
	Title       string
	Type        string
	GridPos     Place
	FieldConfig struct{ Defaults Field }
	Targets     []Target
}

// Place is where a panel is in the grid of 24 columns.
type Place struct{ X, Y, W, H int }

// Field is how a panel shows its values.
type Field struct {
	Unit       string
	Thresholds struct{ Steps []Threshold }
}

// Threshold is a colour from a value on; nil: from below all others.
type Threshold struct {
	Color string
	Value *float64
}

// Target is a query of a panel.
type Target struct{ RefID, Expr, LegendFormat string }

// Read reads a dashboard as Grafana keeps it.
func Read(text []byte) (Dashboard, error) {
	var d Dashboard
	if err := json.NewDecoder(bytes.NewReader(text)).Decode(&d); err != nil {
		return d, fmt.Errorf("dashboard: %w", err)
	}
	if len(d.Panels) == 0 {
		return d, errors.New("dashboard: it has no panels")
	}
	var problems []error
	for _, p := range d.Panels {
		if err := p.check(); err != nil {
			problems = append(problems, fmt.Errorf("dashboard: panel %q: %w", p.Title, err))
		}
	}
	return d, errors.Join(problems...)
}

// check refuses what cannot be drawn.
func (p Panel) check() error {
	at := p.GridPos
	switch {
	case p.Type != Stat && p.Type != TimeSeries:
		return fmt.Errorf("no picture of type %q is known: want %s or %s", p.Type, Stat, TimeSeries)
	case !slices.Contains(units(), p.FieldConfig.Defaults.Unit):
		return fmt.Errorf("unit %q is not known: want one of %q", p.FieldConfig.Defaults.Unit, units())
	case len(p.Targets) == 0:
		return errors.New("it asks nothing")
	case at.X < 0 || at.Y < 0 || at.W < 1 || at.H < 3 || at.X+at.W > columns:
		return fmt.Errorf("place %+v is not in the grid", at)
	}
	for _, t := range p.Targets {
		if t.Expr == "" {
			return fmt.Errorf("query %s is empty", t.RefID)
		}
	}
	return nil
}

var placeholder = regexp.MustCompile(`\{\{\s*([A-Za-z0-9_]+)\s*\}\}`)

// legend is a series' name: its labels in the place of {{label}}.
func (t Target) legend(labels map[string]string) string {
	return placeholder.ReplaceAllStringFunc(t.LegendFormat, func(s string) string {
		return labels[placeholder.FindStringSubmatch(s)[1]]
	})
}

// color is that of a value of the panel: of the last threshold that it reaches.
func (f Field) color(value float64) string {
	color := ""
	for _, s := range f.Thresholds.Steps {
		if s.Value == nil || value >= *s.Value {
			color = s.Color
		}
	}
	return color
}
