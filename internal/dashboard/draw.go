package dashboard

import (
	"fmt"
	"html"
	"io"
	"strings"
	"time"
)

// Measures of the picture, in pixels.
const (
	column, row = 58, 30
	gap         = 8
	edge        = 12
	header      = 58
)

// Picture is what is drawn of a dashboard: its answers, and what happened meanwhile.
type Picture struct {
	Title   string
	Window  Window
	Answers []Answer
	Events  []Event
}

// Event is a time that is shaded in all panels.
type Event struct {
	Text     string
	From, To time.Time
}

// WriteSVG draws the panels where the dashboard has them.
func (p Picture) WriteSVG(w io.Writer) error {
	bottom := 0
	for _, a := range p.Answers {
		bottom = max(bottom, a.Panel.GridPos.Y+a.Panel.GridPos.H)
	}
	width, height := columns*column+2*edge, bottom*row+header+edge
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" font-family="sans-serif" font-size="11" fill="#24292e">`+"\n",
		width, height, width, height)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="#f4f5f5"/>`+"\n", width, height)
	p.drawHeader(&b)
	for _, a := range p.Answers {
		at := a.Panel.GridPos
		drawPanel(&b, p, a, area{float64(edge + at.X*column), float64(header + at.Y*row), float64(at.W*column - gap), float64(at.H*row - gap)})
	}
	b.WriteString("</svg>\n")
	_, err := io.WriteString(w, b.String())
	return err
}

func (p Picture) drawHeader(b *strings.Builder) {
	write(b, edge, 24, `font-size="17" font-weight="bold"`, p.Title)
	said := fmt.Sprintf("%s to %s UTC. Drawn from the dashboard's own queries, answered by a Prometheus; this is not Grafana.",
		p.Window.From.UTC().Format("2006-01-02 15:04"), p.Window.To.UTC().Format("15:04"))
	write(b, edge, 44, `fill="#57606a"`, said)
	x := float64(edge) + textWidth(said) + 24
	for _, e := range p.Events {
		fmt.Fprintf(b, `<rect x="%.0f" y="34" width="14" height="12" %s/>`+"\n", x, shade)
		write(b, x+20, 44, "", e.Text)
		x += 44 + textWidth(e.Text)
	}
}

// shade is the look of an event: with an edge, so that it is not told by colour alone.
const shade = `fill="#d0d7de" fill-opacity="0.55" stroke="#8c959f" stroke-dasharray="2 2"`

// area is a part of the picture.
type area struct{ x, y, width, height float64 }

func drawPanel(b *strings.Builder, p Picture, a Answer, at area) {
	fmt.Fprintf(b, `<g><rect x="%.0f" y="%.0f" width="%.0f" height="%.0f" rx="3" fill="#ffffff" stroke="#d0d7de"/>`+"\n", at.x, at.y, at.width, at.height)
	write(b, at.x+10, at.y+18, `font-size="12" font-weight="bold"`, a.Panel.Title)
	inner := area{at.x + 10, at.y + 28, at.width - 20, at.height - 36}
	switch {
	case len(a.Series()) == 0:
		write(b, at.x+at.width/2, at.y+at.height/2+8, `font-size="16" fill="#57606a" text-anchor="middle"`, "No data")
	case a.Panel.Type == Stat:
		drawStat(b, a, at)
	default:
		drawChart(b, p, a, inner)
	}
	b.WriteString("</g>\n")
}

// statColours are Grafana's names of colours, dark enough to be read on white.
var statColours = map[string]string{"green": "#1a7f37", "orange": "#bc4c00", "red": "#cf222e"}

// drawStat writes the latest value, and below it what its colour says.
func drawStat(b *strings.Builder, a Answer, at area) {
	last, _ := a.Series()[0].last()
	field := a.Panel.FieldConfig.Defaults
	name := field.color(last.Value)
	colour, known := statColours[name]
	if !known {
		colour = "#24292e"
	}
	write(b, at.x+at.width/2, at.y+68, fmt.Sprintf(`font-size="34" font-weight="bold" fill="%s" text-anchor="middle"`, colour), Show(field.Unit, last.Value))
	fmt.Fprintf(b, `<rect x="%.0f" y="%.0f" width="%.0f" height="4" fill="%s"/>`+"\n", at.x, at.y+at.height-4, at.width, colour)
	if says := map[string]string{"green": "✓ well", "orange": "! look at it", "red": "✗ wrong"}[name]; says != "" {
		write(b, at.x+at.width/2, at.y+92, fmt.Sprintf(`fill="%s" text-anchor="middle"`, colour), says)
	}
}

// write puts a text into the picture.
func write(b *strings.Builder, x, y float64, how, text string) {
	if how != "" {
		how = " " + how
	}
	fmt.Fprintf(b, `<text x="%.0f" y="%.0f"%s>%s</text>`+"\n", x, y, how, html.EscapeString(text))
}

// textWidth is about how wide a text of size 11 is.
func textWidth(s string) float64 { return 6.1 * float64(len([]rune(s))) }

// fit cuts a text that is wider than its room.
func fit(s string, width float64) string {
	r := []rune(s)
	if most := int(width / 6.1); len(r) > max(most, 1) {
		return string(r[:max(most-1, 0)]) + "…"
	}
	return s
}
