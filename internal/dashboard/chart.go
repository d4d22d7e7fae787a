package dashboard

import (
	"fmt"
	"html"
	"math"
	"strconv"
	"strings"
	"time"
)

// palette is that of Okabe and Ito, without yellow, which is not seen on white: its colours
// are told apart by people who do not see red and green as different. dashes go on where
// it ends, and differ from series to series, for those who print it in grey.
var (
	palette = []string{"#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000"}
	dashes  = []string{"", "6 3", "2 2", "8 3 2 3", "12 3"}
)

// Measures of a chart.
const (
	legendLine = 15
	// legendShare is how much of a chart its legend may take.
	legendShare = 0.4
	axisWidth   = 58
	timeHeight  = 16
)

// drawChart draws the series as lines, with axes, and a legend below.
func drawChart(b *strings.Builder, p Picture, a Answer, at area) {
	series := a.Series()
	entries, more := legendOf(series, at.width, int(at.height*legendShare/legendLine))
	lines := 0
	for _, e := range entries {
		lines = max(lines, e.line+1)
	}
	plot := area{at.x + axisWidth, at.y, at.width - axisWidth, at.height - timeHeight - float64(lines*legendLine) - 4}
	low, high := math.Inf(1), math.Inf(-1)
	for _, s := range series {
		for _, point := range s.Points {
			low, high = min(low, point.Value), max(high, point.Value)
		}
	}
	y := scaleOf(a.Panel.FieldConfig.Defaults.Unit, low, high, 4)
	drawGrid(b, p, y, plot)
	for i, s := range series {
		fmt.Fprintf(b, `<path d="%s" fill="none" %s><title>%s</title></path>`+"\n", path(s.Points, p.Window, y, plot), stroke(i), html.EscapeString(s.Name))
	}
	top := plot.y + plot.height + timeHeight + 12
	for i, e := range entries {
		x, mid := at.x+e.x, top+float64(e.line*legendLine)
		fmt.Fprintf(b, `<path d="M%.0f %.0fh18" %s/>`+"\n", x, mid-4, stroke(i))
		text := fit(e.name, at.width-24)
		if more > 0 && i == len(entries)-1 {
			text += fmt.Sprintf("  and %d more", more)
		}
		write(b, x+23, mid, `font-size="10"`, text)
	}
}

// stroke is how the i-th series looks.
func stroke(i int) string {
	s := fmt.Sprintf(`stroke="%s" stroke-width="1.6"`, palette[i%len(palette)])
	if dash := dashes[i%len(dashes)]; dash != "" {
		s += fmt.Sprintf(` stroke-dasharray="%s"`, dash)
	}
	return s
}

// entry is where a series stands in the legend.
type entry struct {
	name string
	x    float64
	line int
}

// legendOf places the series' names in lines of a width; more of them are left out.
func legendOf(series []Series, width float64, lines int) (entries []entry, more int) {
	x, line := 0.0, 0
	for i, s := range series {
		wide := min(36+textWidth(s.Name)*10/11, width)
		room := width
		if line == lines-1 && i < len(series)-1 {
			room -= textWidth("  and 99 more")
		}
		if x > 0 && x+wide > room {
			x, line = 0, line+1
		}
		if line >= max(lines, 1) {
			return entries, len(series) - i
		}
		entries = append(entries, entry{s.Name, x, line})
		x += wide
	}
	return entries, 0
}

// drawGrid draws axes, the lines of their ticks, and the events.
func drawGrid(b *strings.Builder, p Picture, y scale, plot area) {
	for _, e := range p.Events {
		from, to := xOf(maxTime(e.From, p.Window.From), p.Window, plot), xOf(minTime(e.To, p.Window.To), p.Window, plot)
		fmt.Fprintf(b, `<rect x="%.0f" y="%.0f" width="%.0f" height="%.0f" %s><title>%s</title></rect>`+"\n", from, plot.y, to-from, plot.height, shade, html.EscapeString(e.Text))
	}
	for _, tick := range y.ticks {
		at := yOf(tick, y, plot)
		colour := "#e1e4e8"
		if tick == 0 {
			colour = "#8c959f"
		}
		fmt.Fprintf(b, `<path d="M%.0f %.1fh%.0f" stroke="%s"/>`+"\n", plot.x, at, plot.width, colour)
		write(b, plot.x-6, at+4, `font-size="10" text-anchor="end"`, y.unit.show(tick))
	}
	for _, tick := range timeTicks(p.Window, int(plot.width/45)) {
		x := xOf(tick, p.Window, plot)
		fmt.Fprintf(b, `<path d="M%.0f %.0fv4" stroke="#8c959f"/>`+"\n", x, plot.y+plot.height)
		if x > plot.x+12 && x < plot.x+plot.width-12 {
			write(b, x, plot.y+plot.height+14, `font-size="10" text-anchor="middle"`, tick.UTC().Format("15:04"))
		}
	}
}

// path is the line through points. Where steps are missing it has a gap, and what lies on a
// level line is left out.
func path(points []Point, w Window, y scale, plot area) string {
	var b strings.Builder
	number := func(v float64) string { return strconv.FormatFloat(math.Round(v*10)/10, 'f', -1, 64) }
	for i, p := range points {
		gap := i == 0 || p.Time.Sub(points[i-1].Time) > w.Step*3/2
		level := !gap && points[i-1].Value == p.Value && i+1 < len(points) && points[i+1].Value == p.Value &&
			points[i+1].Time.Sub(p.Time) <= w.Step*3/2
		if level {
			continue
		}
		command := "L"
		if gap {
			command = "M"
		}
		b.WriteString(command + number(xOf(p.Time, w, plot)) + " " + number(yOf(p.Value, y, plot)))
		if gap && (i+1 == len(points) || points[i+1].Time.Sub(p.Time) > w.Step*3/2) {
			b.WriteString("h2") // a value that stands alone is seen
		}
	}
	return b.String()
}

func xOf(t time.Time, w Window, plot area) float64 {
	return plot.x + plot.width*float64(t.Sub(w.From))/float64(w.To.Sub(w.From))
}

func yOf(value float64, y scale, plot area) float64 {
	return plot.y + plot.height*(y.high-value)/(y.high-y.low)
}

func maxTime(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func minTime(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
