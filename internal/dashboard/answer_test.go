package dashboard

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"
	"time"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// window is of five minutes.
var window = Window{From: start, To: start.Add(5 * time.Minute), Step: 10 * time.Second}

// points has a value every step from the start on.
func points(values ...float64) []Point {
	var all []Point
	for i, v := range values {
		all = append(all, Point{start.Add(time.Duration(i) * window.Step), v})
	}
	return all
}

// steady has one value over the whole window.
func steady(v float64) []Point {
	var values []float64
	for at := window.From; !at.After(window.To); at = at.Add(window.Step) {
		values = append(values, v)
	}
	return points(values...)
}

// fake answers queries with what it has.
type fake map[string][]Sample

func (f fake) Range(_ context.Context, query string, _ Window) ([]Sample, error) {
	samples, known := f[query]
	if !known {
		return nil, errors.New("bad query")
	}
	return samples, nil
}

func board(panels ...Panel) Dashboard { return Dashboard{Title: "mesh", Panels: panels} }

func panel(kind, title, unit string, at Place, targets ...Target) Panel {
	p := Panel{Title: title, Type: kind, GridPos: at, Targets: targets}
	p.FieldConfig.Defaults.Unit = unit
	return p
}

func TestAsk(t *testing.T) {
	from := fake{"a": {
		{map[string]string{"peer": "west.w1"}, points(1, math.NaN(), 3)},
		{map[string]string{"peer": "west.w2"}, points(math.NaN(), math.Inf(1))},
	}, "b": nil}
	got, err := Ask(t.Context(), from, board(panel(TimeSeries, "p", "s", Place{}, Target{Expr: "a", LegendFormat: "{{peer}} in"}, Target{Expr: "b"})), window)
	if err != nil {
		t.Fatal(err)
	}
	if all := got[0].Series(); len(got) != 1 || len(got[0].Targets) != 2 || len(all) != 1 || all[0].Name != "west.w1 in" || len(all[0].Points) != 2 {
		t.Errorf("got %+v", got)
	}
	if _, err := Ask(t.Context(), from, board(panel(Stat, "p", "s", Place{}, Target{Expr: "c"})), window); err == nil || !strings.Contains(err.Error(), `panel "p", query c: bad query`) {
		t.Errorf("got %v", err)
	}
}

func TestMissing(t *testing.T) {
	for name, c := range map[string]struct {
		kind    string
		targets [][]Series
		want    string // a part of the complaint
	}{
		"data":                         {TimeSeries, [][]Series{{{"a", points(1)}}}, ""},
		"zero is data":                 {TimeSeries, [][]Series{{{"a", points(0, 0)}}}, ""},
		"none":                         {TimeSeries, [][]Series{nil}, `panel "p" shows no data: nothing answers q0`},
		"the second of two has none":   {TimeSeries, [][]Series{{{"a", points(1)}}, {}}, "nothing answers q1"},
		"the latest":                   {Stat, [][]Series{{{"a", steady(1)}}}, ""},
		"a value that is gone":         {Stat, [][]Series{{{"a", points(1)}}}, "nothing answers q0"},
		"a series may end in a course": {TimeSeries, [][]Series{{{"a", points(1)}, {"b", nil}}}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			a := Answer{Panel: panel(c.kind, "p", "short", Place{}, Target{Expr: "q0"}, Target{Expr: "q1"}), Targets: c.targets}
			err := Missing([]Answer{a}, window)
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

// TestMissingNamesAll: one run tells all that is to be mended.
func TestMissingNamesAll(t *testing.T) {
	var answers []Answer
	for _, p := range read(t).Panels {
		answers = append(answers, Answer{Panel: p, Targets: make([][]Series, len(p.Targets))})
	}
	err := Missing(answers, window)
	for _, a := range answers {
		if err == nil || !strings.Contains(err.Error(), `"`+a.Panel.Title+`"`) {
			t.Errorf("%q is not named", a.Panel.Title)
		}
	}
}

func TestWriteAnswers(t *testing.T) {
	var b strings.Builder
	answers := []Answer{
		{Panel: panel(TimeSeries, "round trips", "s", Place{}), Targets: [][]Series{{{"a", points(0.002, 0.5)}, {"b", points(0.001)}}}},
		{Panel: panel(Stat, "refused", "short", Place{}), Targets: [][]Series{nil}},
	}
	if err := WriteAnswers(&b, answers); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(b.String()), "\n")
	for i, want := range []string{"PANEL SERIES LEAST MOST LAST OF FIRST", "round trips 2 1 ms 500 ms 500 ms", "refused 0"} {
		if got := strings.Join(strings.Fields(lines[i]), " "); got != want {
			t.Errorf("line %d is %q, want %q", i, got, want)
		}
	}
}
