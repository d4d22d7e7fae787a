package dashboard

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sdn-tunnel/sdn-tunnel/internal/golden"
)

func draw(t *testing.T, p Picture) string {
	t.Helper()
	var b strings.Builder
	if err := p.WriteSVG(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestPicture: panels of both kinds, one without data, and a time that is shaded.
func TestPicture(t *testing.T) {
	one := 1.0
	stat := panel(Stat, "Peers up", "percentunit", Place{0, 0, 4, 4}, Target{Expr: "a"})
	stat.FieldConfig.Defaults.Thresholds.Steps = []Threshold{{"red", nil}, {"green", &one}}
	empty := panel(Stat, "Refused", "short", Place{4, 0, 4, 4}, Target{Expr: "b"})
	chart := panel(TimeSeries, "Round trips", "s", Place{8, 0, 16, 8}, Target{Expr: "c", LegendFormat: "{{to}}"})
	answers := []Answer{
		{stat, [][]Series{{{"", steady(0.75)}}}},
		{empty, [][]Series{nil}},
		{chart, [][]Series{{{"west", points(0.001, 0.002, 0.002, 0.002, 0.0035)}, {"north", steady(0.001)}}}},
	}
	golden.Check(t, "picture.svg", draw(t, Picture{Title: "mesh", Window: window, Answers: answers,
		Events: []Event{{"a link is cut", start.Add(2 * time.Minute), window.To.Add(time.Hour)}}}))
}

// TestShippedIsDrawn: every panel of the shipped dashboard, with long names and as many series
// as topk lets through, is well-formed, inside the picture, and small enough for a repository.
func TestShippedIsDrawn(t *testing.T) {
	d := read(t)
	var answers []Answer
	for _, p := range d.Panels {
		a := Answer{Panel: p}
		for range p.Targets {
			var series []Series
			for i := range 10 {
				s := Series{Name: fmt.Sprintf("a-node-with-a-long-name-%d.example.com to west.another-%d", i, i), Points: steady(0)}
				for k := range s.Points {
					s.Points[k].Value = math.Abs(math.Sin(float64(k+i))) * 1000
				}
				series = append(series, s)
			}
			a.Targets = append(a.Targets, series)
		}
		answers = append(answers, a)
	}
	text := draw(t, Picture{Title: d.Title, Window: window, Answers: answers})
	if len(text) > 200_000 {
		t.Errorf("%d bytes", len(text))
	}
	inside(t, text)
	for _, p := range d.Panels {
		if !strings.Contains(text, ">"+p.Title+"</text>") {
			t.Errorf("%q is not in it", p.Title)
		}
	}
}

// inside checks that the text is XML and its texts lie in the picture.
func inside(t *testing.T, text string) {
	t.Helper()
	var width, height float64
	for d := xml.NewDecoder(strings.NewReader(text)); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Fatal(err)
		}
		element, ok := token.(xml.StartElement)
		if !ok {
			continue
		}
		number := func(name string) float64 {
			for _, a := range element.Attr {
				if a.Name.Local == name {
					v, err := strconv.ParseFloat(a.Value, 64)
					if err != nil {
						t.Fatal(err)
					}
					return v
				}
			}
			return 0
		}
		switch element.Name.Local {
		case "svg":
			width, height = number("width"), number("height")
		case "text":
			if x, y := number("x"), number("y"); x < 0 || x > width || y < 0 || y > height {
				t.Errorf("a text is at %v, %v", x, y)
			}
		}
	}
}

// TestNamesAreQuoted: no label is taken for markup.
func TestNamesAreQuoted(t *testing.T) {
	const bad = `<script>"&`
	p := panel(TimeSeries, bad, "s", Place{0, 0, 24, 8}, Target{})
	text := draw(t, Picture{Title: bad, Window: window, Answers: []Answer{{p, [][]Series{{{bad, steady(1)}}}}}, Events: []Event{{bad, start, window.To}}})
	if strings.Contains(text, "<script") {
		t.Error(text)
	}
	inside(t, text)
}

// TestLegend: names stand beside each other, inside their width, in the lines there are.
func TestLegendOf(t *testing.T) {
	var series []Series
	for i := range 12 {
		series = append(series, Series{Name: strings.Repeat("x", 4+3*i)})
	}
	for _, width := range []float64{120, 300, 700} {
		for lines := 1; lines < 9; lines++ {
			entries, more := legendOf(series, width, lines)
			if len(entries)+more != len(series) || len(entries) == 0 {
				t.Fatalf("width %v, %d lines: %d and %d", width, lines, len(entries), more)
			}
			for i, e := range entries {
				wide := 36 + textWidth(e.name)*10/11
				if e.line >= lines || e.x > 0 && e.x+wide > width {
					t.Errorf("width %v, %d lines: %+v is outside", width, lines, e)
				}
				if i > 0 && entries[i-1].line == e.line && e.x < entries[i-1].x+textWidth(entries[i-1].name)*10/11 {
					t.Errorf("width %v: %+v is over %+v", width, e, entries[i-1])
				}
			}
		}
	}
}

// TestPath: what is level costs two points, and where steps are missing there is no line.
func TestPath(t *testing.T) {
	y, plot := scale{low: 0, high: 10}, area{0, 0, 300, 100} // ten pixels a step
	gap := append(points(1, 1), Point{start.Add(100 * time.Second), 5})
	for name, c := range map[string]struct {
		points []Point
		want   string
	}{
		"level":           {points(1, 1, 1, 1), "M0 90L30 90"},
		"a step":          {points(1, 1, 1, 5, 5, 5), "M0 90L20 90L30 50L50 50"},
		"one value":       {points(3), "M0 70h2"},
		"a gap":           {gap, "M0 90L10 90M100 50h2"},
		"tenths are kept": {points(0, 3.333), "M0 100L10 66.7"},
		"none":            {nil, ""},
	} {
		if got := path(c.points, window, y, plot); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// TestStrokesDiffer: as many series as a panel has at most look different from each other.
func TestStrokesDiffer(t *testing.T) {
	seen := map[string]int{}
	for i := range 20 {
		if k, is := seen[stroke(i)]; is {
			t.Errorf("%d looks like %d", i, k)
		}
		seen[stroke(i)] = i
	}
}
