package meshgraph

import (
	"fmt"
	"math"
	"strings"

	"github.com/sdn-tunnel/sdn-tunnel/internal/meshstatus"
)

// legendWidth is how wide a picture is at least, for the legend to be in it.
const legendWidth = 620

// drawPair draws two nodes that are not up: a dashed line, bent so that it does not run
// through the names of nodes that stand in one row with them.
func drawPair(b *strings.Builder, a, z point, p Pair) {
	if a.x > z.x {
		a, z = z, a
	}
	bend := math.Min(50, math.Hypot(z.x-a.x, z.y-a.y)/6)
	along := math.Atan2(z.y-a.y, z.x-a.x)
	fmt.Fprintf(b, `<path d="M%.0f %.0fQ%.0f %.0f %.0f %.0f" fill="none" stroke="%s" stroke-width="1.5" stroke-dasharray="4 3"><title>%s - %s is not up</title></path>`+"\n",
		a.x, a.y, (a.x+z.x)/2-bend*math.Sin(along), (a.y+z.y)/2+bend*math.Cos(along), z.x, z.y, colourOf[meshstatus.Down].line, text(p.A), text(p.B))
}

// drawNodes draws a cluster's nodes, over the lines. Names keep a rim of their background.
func drawNodes(b *strings.Builder, c Cluster, at box) {
	for k, n := range c.Nodes {
		p := at.node(k)
		fmt.Fprintf(b, `<path d="%s" fill="%s" stroke="#ffffff"><title>%s: %s</title></path>`, mark(n.Health, p), colourOf[n.Health].line, text(n.Name), n.Health)
		if at.named {
			fmt.Fprintf(b, `<text x="%.0f" y="%.0f" font-size="10" stroke="%s" stroke-width="3" paint-order="stroke">%s</text>`,
				p.x+9, p.y+4, colourOf[c.Health].fill, text(short(strings.TrimPrefix(n.Name, c.Name+"."), 16)))
		}
		b.WriteString("\n")
	}
}

// mark is the outline of a node: its health has a shape, too, not only a colour. Well is a
// dot, degraded a triangle, down a cross, unknown a square.
func mark(h meshstatus.Health, p point) string {
	shape := ""
	switch h {
	case meshstatus.Well:
		return fmt.Sprintf("M%.0f %.0fa4 4 0 1 0 8 0a4 4 0 1 0 -8 0z", p.x-4, p.y)
	case meshstatus.Degraded:
		shape = "m0 -6l6 10h-12z"
	case meshstatus.Down:
		shape = "m0 -2l3 -3l2 2l-3 3l3 3l-2 2l-3 -3l-3 3l-2 -2l3 -3l-3 -3l2 -2z"
	default:
		shape = "m-4 -4h8v8h-8z"
	}
	return fmt.Sprintf("M%.0f %.0f%s", p.x, p.y, shape)
}

func (g Graph) drawLegend(b *strings.Builder, top float64) {
	x := float64(margin)
	for _, h := range healths {
		fmt.Fprintf(b, `<rect x="%.0f" y="%.0f" width="16" height="16" rx="3" fill="%s" stroke="%s"/>`, x, top+1, colourOf[h].fill, colourOf[h].line)
		if g.ShowNodes {
			fmt.Fprintf(b, `<path d="%s" fill="%s"/>`, mark(h, point{x + 8, top + 9}), colourOf[h].line)
		}
		fmt.Fprintf(b, `<text x="%.0f" y="%.0f" font-size="11">%s</text>`+"\n", x+22, top+13, h)
		x += 40 + 7*float64(len(h))
	}
	if len(g.Pairs) > 0 {
		fmt.Fprintf(b, `<path d="M%.0f %.0fh24" stroke="%s" stroke-width="1.5" stroke-dasharray="4 3"/><text x="%.0f" y="%.0f" font-size="11">pair of nodes that is not up</text>`+"\n",
			x, top+9, colourOf[meshstatus.Down].line, x+30, top+13)
	}
	note := "on a line: how many pairs of nodes have a handshake younger than 3 minutes, as both ends see them; round trip; loss"
	if g.MorePairs > 0 {
		note += fmt.Sprintf("; %d more pairs that are not up are left out", g.MorePairs)
	}
	fmt.Fprintf(b, `<text x="%d" y="%.0f" font-size="10" fill="#555555">%s</text>`+"\n", margin, top+34, note)
}
