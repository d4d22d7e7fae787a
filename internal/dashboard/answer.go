package dashboard

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"text/tabwriter"
	"time"
)

// Window is the time that is asked for: a point each Step from From to To.
type Window struct {
	From, To time.Time
	Step     time.Duration
}

// Source answers queries, as a Prometheus does.
type Source interface {
	// Range evaluates a query over the window. Series come in an order that does not change.
	Range(ctx context.Context, query string, w Window) ([]Sample, error)
}

// Sample is a series of a query's answer.
type Sample struct {
	Labels map[string]string
	Points []Point
}

// Point is a value at a time.
type Point struct {
	Time  time.Time
	Value float64
}

// Series is a sample with its name in a panel's legend.
type Series struct {
	Name   string
	Points []Point
}

// last is the latest value, if the series has one.
func (s Series) last() (Point, bool) {
	if len(s.Points) == 0 {
		return Point{}, false
	}
	return s.Points[len(s.Points)-1], true
}

// Answer is what a panel shows: the series of each of its queries.
type Answer struct {
	Panel   Panel
	Targets [][]Series
}

// Series are those of all queries.
func (a Answer) Series() []Series {
	var all []Series
	for _, t := range a.Targets {
		all = append(all, t...)
	}
	return all
}

// Ask has the source answer all queries of a dashboard.
func Ask(ctx context.Context, from Source, d Dashboard, w Window) ([]Answer, error) {
	answers := make([]Answer, 0, len(d.Panels))
	for _, p := range d.Panels {
		a := Answer{Panel: p}
		for _, t := range p.Targets {
			samples, err := from.Range(ctx, t.Expr, w)
			if err != nil {
				return nil, fmt.Errorf("panel %q, query %s: %w", p.Title, t.Expr, err)
			}
			series := make([]Series, 0, len(samples))
			for _, s := range samples {
				if points := finite(s.Points); len(points) > 0 {
					series = append(series, Series{Name: t.legend(s.Labels), Points: points})
				}
			}
			a.Targets = append(a.Targets, series)
		}
		answers = append(answers, a)
	}
	return answers, nil
}

// finite leaves out what cannot be drawn, such as a quantile of nothing.
func finite(points []Point) []Point {
	var all []Point
	for _, p := range points {
		if !math.IsNaN(p.Value) && !math.IsInf(p.Value, 0) {
			all = append(all, p)
		}
	}
	return all
}

// Missing names every query without data: one that has no value in the window or, in a
// panel that shows the latest only, none within the last two steps of it.
func Missing(answers []Answer, w Window) error {
	var problems []error
	for _, a := range answers {
		for i, series := range a.Targets {
			if !answered(a.Panel, series, w) {
				problems = append(problems, fmt.Errorf("panel %q shows no data: nothing answers %s", a.Panel.Title, a.Panel.Targets[i].Expr))
			}
		}
	}
	return errors.Join(problems...)
}

func answered(p Panel, series []Series, w Window) bool {
	for _, s := range series {
		at, ok := s.last()
		if ok && (p.Type != Stat || w.To.Sub(at.Time) <= 2*w.Step) {
			return true
		}
	}
	return false
}

// WriteAnswers shows what each panel has as a table: how many series, and between which
// values they are.
func WriteAnswers(w io.Writer, answers []Answer) error {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "PANEL\tSERIES\tLEAST\tMOST\tLAST OF FIRST")
	for _, a := range answers {
		low, high := math.Inf(1), math.Inf(-1)
		all := a.Series()
		for _, s := range all {
			for _, p := range s.Points {
				low, high = min(low, p.Value), max(high, p.Value)
			}
		}
		if len(all) == 0 {
			fmt.Fprintf(t, "%s\t0\t\t\t\n", a.Panel.Title)
			continue
		}
		unit, last := a.Panel.FieldConfig.Defaults.Unit, all[0].Points[len(all[0].Points)-1]
		fmt.Fprintf(t, "%s\t%d\t%s\t%s\t%s\n", a.Panel.Title, len(all), Show(unit, low), Show(unit, high), Show(unit, last.Value))
	}
	return t.Flush()
}
