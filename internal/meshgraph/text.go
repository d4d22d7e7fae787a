package meshgraph

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/sdn-tunnel/sdn-tunnel/internal/meshstatus"
)

// WriteDOT writes the graph for Graphviz.
func (g Graph) WriteDOT(w io.Writer) error {
	var b strings.Builder
	b.WriteString("graph \"sdn-tunnel\" {\n  layout=fdp; overlap=false; splines=true; sep=\"+25\";\n" +
		"  node [shape=box, style=\"rounded,filled\", fontname=\"sans-serif\"];\n  edge [fontname=\"sans-serif\", fontsize=10];\n")
	for i, c := range g.Clusters {
		box := fmt.Sprintf("%s [label=%s, color=%q, fillcolor=%q];\n", dot(c.Name), dot(c.Name+"\n"+c.state()),
			colourOf[c.Health].line, colourOf[c.Health].fill)
		if !g.ShowNodes || len(c.Nodes) == 0 {
			b.WriteString("  " + box)
			continue
		}
		fmt.Fprintf(&b, "  subgraph cluster_%d {\n    color=%q; label=\"\";\n    %s", i, colourOf[c.Health].line, box)
		for _, n := range c.Nodes {
			fmt.Fprintf(&b, "    %s [label=%s, shape=ellipse, color=%q, fillcolor=%q];\n", dot(n.Name), dot(strings.TrimPrefix(n.Name, c.Name+".")),
				colourOf[n.Health].line, colourOf[n.Health].fill)
		}
		b.WriteString("  }\n")
	}
	for _, l := range g.Links {
		fmt.Fprintf(&b, "  %s -- %s [label=%s, color=%q, penwidth=%d, tooltip=%s];\n", dot(l.A), dot(l.B), dot(l.label()), colourOf[l.Health].line, lineWidth(l.Health), dot(string(l.Health)))
	}
	for _, p := range g.Pairs {
		fmt.Fprintf(&b, "  %s -- %s [color=%q, style=dashed];\n", dot(p.A), dot(p.B), colourOf[meshstatus.Down].line)
	}
	b.WriteString("}\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// dot is a quoted string of DOT.
func dot(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(s) + `"`
}

// WriteMermaid writes the graph for Mermaid.
func (g Graph) WriteMermaid(w io.Writer) error {
	var b strings.Builder
	b.WriteString("graph LR\n")
	for _, h := range healths {
		fmt.Fprintf(&b, "  classDef %s fill:%s,stroke:%s,color:#000\n", h, colourOf[h].fill, colourOf[h].line)
	}
	ids, lines := map[string]string{}, 0
	for i, c := range g.Clusters {
		id := "c" + strconv.Itoa(i)
		ids[c.Name] = id
		box := fmt.Sprintf("%s[%s]:::%s\n", id, mermaid(c.Name+"\n"+c.state()), c.Health)
		if !g.ShowNodes || len(c.Nodes) == 0 {
			b.WriteString("  " + box)
			continue
		}
		fmt.Fprintf(&b, "  subgraph %ss[\" \"]\n    %s", id, box)
		for k, n := range c.Nodes {
			ids[n.Name] = fmt.Sprintf("%sn%d", id, k)
			fmt.Fprintf(&b, "    %s([%s]):::%s\n", ids[n.Name], mermaid(strings.TrimPrefix(n.Name, c.Name+".")), n.Health)
		}
		b.WriteString("  end\n")
	}
	style := func(h meshstatus.Health) {
		fmt.Fprintf(&b, "  linkStyle %d stroke:%s,stroke-width:%dpx\n", lines, colourOf[h].line, lineWidth(h))
		lines++
	}
	for _, l := range g.Links {
		fmt.Fprintf(&b, "  %s ---|%s| %s\n", ids[l.A], mermaid(l.label()), ids[l.B])
		style(l.Health)
	}
	for _, p := range g.Pairs {
		fmt.Fprintf(&b, "  %s -.- %s\n", ids[p.A], ids[p.B])
		style(meshstatus.Down)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// mermaid is a quoted text of Mermaid.
func mermaid(s string) string {
	return `"` + strings.NewReplacer(`"`, "#quot;", "<", "#lt;", ">", "#gt;", "\n", "<br/>").Replace(s) + `"`
}

// lineWidth of a link's line.
func lineWidth(h meshstatus.Health) int {
	if h == meshstatus.Well {
		return 1
	}
	return 3
}
