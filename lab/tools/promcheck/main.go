// Command promcheck reads rules of Prometheus and expressions with Prometheus's own parsers,
// as promtool does, and says which metrics they name. It is a module of its own, for
// nothing of the product needs these parsers.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
)

// input is what is checked.
type input struct {
	Rules       string   `json:"rules"`
	Expressions []string `json:"expressions"`
}

// output is what they name: metrics, and labels by metric that selectors ask for.
type output struct {
	Metrics  []string            `json:"metrics"`
	Labels   map[string][]string `json:"labels"`
	Recorded []string            `json:"recorded"`
	Alerts   []string            `json:"alerts"`
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	var in input
	if err := json.NewDecoder(os.Stdin).Decode(&in); err != nil {
		return err
	}
	out := output{Labels: map[string][]string{}}
	groups, errs := rulefmt.Parse([]byte(in.Rules), false, model.UTF8Validation)
	if err := errors.Join(errs...); err != nil {
		return err
	}
	for _, g := range groups.Groups {
		for _, r := range g.Rules {
			in.Expressions = append(in.Expressions, r.Expr)
			if r.Record != "" {
				out.Recorded = append(out.Recorded, r.Record)
			} else {
				out.Alerts = append(out.Alerts, r.Alert)
			}
		}
	}
	for _, e := range in.Expressions {
		expr, err := parser.ParseExpr(e)
		if err != nil {
			return fmt.Errorf("%s: %w", e, err)
		}
		for _, selectors := range parser.ExtractSelectors(expr) {
			out.take(selectors)
		}
	}
	return json.NewEncoder(os.Stdout).Encode(out)
}

func (o *output) take(selectors []*labels.Matcher) {
	name := ""
	for _, m := range selectors {
		if m.Name == model.MetricNameLabel {
			name = m.Value
		}
	}
	if !slices.Contains(o.Metrics, name) {
		o.Metrics = append(o.Metrics, name)
	}
	for _, m := range selectors {
		if m.Name != model.MetricNameLabel && !slices.Contains(o.Labels[name], m.Name) {
			o.Labels[name] = append(o.Labels[name], m.Name)
		}
	}
}
