package meshgraph

import (
	"fmt"
	"html"
	"io"
	"math"
	"strings"

	"github.com/sdn-tunnel/sdn-tunnel/internal/meshstatus"
)

// Measures of the picture, in pixels.
const (
	boxWidth, boxHeight = 150, 52
	margin              = 40
	legendHeight        = 46
	// cell is the room of one node that is shown as a dot; namedCell that of one with a name.
	cell       = 14
	namedWidth = 110
	namedLine  = 20
	// namedNodes is up to how many nodes a cluster's nodes have their names in the picture.
	namedNodes = 12
	// labelledLinks is up to how many links those that are well have a label, too.
	labelledLinks = 6
)

// point is a place in the picture.
type point struct{ x, y float64 }

// box is where a cluster is drawn.
type box struct {
	centre        point
	width, height float64
	columns       int
	named         bool
}

// WriteSVG draws the graph: clusters on a circle, links as lines between them.
func (g Graph) WriteSVG(w io.Writer) error {
	boxes, right, bottom := g.layout()
	at, of := map[string]point{}, map[string]box{}
	for i, c := range g.Clusters {
		at[c.Name], of[c.Name] = boxes[i].centre, boxes[i]
		for k, n := range c.Nodes {
			at[n.Name] = boxes[i].node(k)
		}
	}
	var b strings.Builder
	right = max(right, legendWidth)
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%.0f" height="%.0f" viewBox="0 0 %.0f %.0f" font-family="sans-serif" font-size="13">`+"\n",
		right, bottom+legendHeight, right, bottom+legendHeight)
	b.WriteString(`<rect width="100%" height="100%" fill="#ffffff"/>` + "\n")
	for _, l := range g.Links {
		p, q := at[l.A], at[l.B]
		fmt.Fprintf(&b, `<line x1="%.0f" y1="%.0f" x2="%.0f" y2="%.0f" stroke="%s" stroke-width="%d"><title>%s - %s: %s, pairs up: %s</title></line>`+"\n",
			p.x, p.y, q.x, q.y, colourOf[l.Health].line, lineWidth(l.Health), text(l.A), text(l.B), l.Health, l.label())
	}
	for i, c := range g.Clusters {
		drawCluster(&b, c, boxes[i])
	}
	for _, p := range g.Pairs {
		drawPair(&b, at[p.A], at[p.B], p)
	}
	if g.ShowNodes {
		for i, c := range g.Clusters {
			drawNodes(&b, c, boxes[i])
		}
	}
	for _, l := range g.Links {
		if l.Health != meshstatus.Well || len(g.Links) <= labelledLinks {
			drawLabel(&b, of[l.A], of[l.B], l, len(g.Clusters))
		}
	}
	g.drawLegend(&b, bottom)
	b.WriteString("</svg>\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// layout places the clusters: two beside each other, more on a circle, the first on top.
func (g Graph) layout() (boxes []box, width, height float64) {
	widest, highest := 0.0, 0.0
	for _, c := range g.Clusters {
		x := g.boxOf(c)
		boxes = append(boxes, x)
		widest, highest = max(widest, x.width), max(highest, x.height)
	}
	n := float64(len(boxes))
	diagonal := math.Hypot(widest, highest)
	rx, ry := 0.0, 0.0
	switch len(boxes) {
	case 0, 1:
	case 2:
		rx = widest/2 + 90
	default:
		// Neighbours on the circle are 2 r sin(π/n) apart.
		rx = max(200, (diagonal+70)/(2*math.Sin(math.Pi/n)))
		ry = rx
	}
	width, height = 2*rx+widest+2*margin, 2*ry+highest+2*margin
	for i := range boxes {
		angle := 2*math.Pi*float64(i)/max(n, 1) - math.Pi/2
		if len(boxes) == 2 {
			angle = math.Pi * float64(1-i)
		}
		boxes[i].centre = point{math.Round(width/2 + rx*math.Cos(angle)), math.Round(height/2 + ry*math.Sin(angle))}
	}
	return boxes, width, height
}

// boxOf is how much room a cluster takes.
func (g Graph) boxOf(c Cluster) box {
	b := box{width: boxWidth, height: boxHeight, columns: 1}
	if !g.ShowNodes || len(c.Nodes) == 0 {
		return b
	}
	if b.named = len(c.Nodes) <= namedNodes; b.named {
		b.columns = min(len(c.Nodes), 2)
		b.width = max(b.width, float64(b.columns*namedWidth+20))
		b.height += float64((len(c.Nodes)+b.columns-1)/b.columns*namedLine + 8)
		return b
	}
	b.columns = int(math.Ceil(math.Sqrt(1.6 * float64(len(c.Nodes)))))
	b.width = max(b.width, float64(b.columns*cell+20))
	b.height += float64((len(c.Nodes)+b.columns-1)/b.columns*cell + 8)
	return b
}

// node is where the cluster's k-th node is.
func (b box) node(k int) point {
	dx, dy := float64(cell), float64(cell)
	if b.named {
		dx, dy = namedWidth, namedLine
	}
	return point{
		math.Round(b.centre.x - b.width/2 + 10 + cell/2 + float64(k%b.columns)*dx),
		math.Round(b.centre.y - b.height/2 + boxHeight + dy/2 + float64(k/b.columns)*dy),
	}
}

// exit is the part of the line from the cluster's centre to q that its box covers.
func (b box) exit(q point) float64 {
	dx, dy := math.Abs(q.x-b.centre.x), math.Abs(q.y-b.centre.y)
	return min(b.width/2/max(dx, 1), b.height/2/max(dy, 1), 1)
}

func drawCluster(b *strings.Builder, c Cluster, at box) {
	left, top := at.centre.x-at.width/2, at.centre.y-at.height/2
	fmt.Fprintf(b, `<g><title>%s: %s</title><rect x="%.0f" y="%.0f" width="%.0f" height="%.0f" rx="8" fill="%s" stroke="%s" stroke-width="2"/>`+"\n",
		text(c.Name), c.Health, left, top, at.width, at.height, colourOf[c.Health].fill, colourOf[c.Health].line)
	fmt.Fprintf(b, `<text x="%.0f" y="%.0f" text-anchor="middle" font-weight="bold">%s</text>`, at.centre.x, top+22, text(short(c.Name, 20)))
	fmt.Fprintf(b, `<text x="%.0f" y="%.0f" text-anchor="middle" font-size="11">%s</text></g>`+"\n", at.centre.x, top+40, c.state())
}

// drawLabel says how many pairs are up, on the part of the line that is seen: in its middle,
// or with many clusters nearer to one end, for all diagonals meet in the middle.
func drawLabel(b *strings.Builder, from, to box, l Link, clusters int) {
	p, q := from.centre, to.centre
	start, end := from.exit(q), 1-to.exit(p)
	share := 0.5
	if clusters > 3 {
		share = 0.38
	}
	t := start + share*(end-start)
	x, y := p.x+t*(q.x-p.x), p.y+t*(q.y-p.y)
	label := l.label()
	half := 4 + 3.2*float64(len(label))
	fmt.Fprintf(b, `<rect x="%.0f" y="%.0f" width="%.0f" height="16" rx="4" fill="#ffffff" stroke="%s"/><text x="%.0f" y="%.0f" text-anchor="middle" font-size="11">%s</text>`+"\n",
		x-half, y-8, 2*half, colourOf[l.Health].line, x, y+4, text(label))
}

// short cuts a name that its box has no room for; the title has it whole.
func short(s string, most int) string {
	if r := []rune(s); len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return s
}

func text(s string) string { return html.EscapeString(s) }
