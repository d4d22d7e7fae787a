package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/sdn-tunnel/sdn-tunnel/internal/playbook"
)

// shownWidth is where lists of changes are broken into lines.
const shownWidth = 100

// changes gathers what a playbook has changed, for when it fails half-way.
type changes struct {
	clusters []string // in the order of their first change
	of       map[string][]string
}

// event takes in a task's changes, those of a task that failed as well.
func (c *changes) event(e playbook.Event) {
	for _, line := range e.Changes {
		cluster, what, ok := strings.Cut(line, ": ")
		if !ok {
			continue
		}
		if c.of == nil {
			c.of = map[string][]string{}
		}
		if _, known := c.of[cluster]; !known {
			c.clusters = append(c.clusters, cluster)
		}
		c.of[cluster] = append(c.of[cluster], what)
	}
}

// left says what a run that failed leaves, and how to go on.
func (c *changes) left(w io.Writer, run string) {
	if run == "upgrade" {
		fmt.Fprintln(w, "== To go on: sdn-tunnel status says what is there; the same upgrade again takes it up, upgrade --rollback goes back")
		return
	}
	if len(c.clusters) == 0 {
		return
	}
	fmt.Fprintln(w, "== What was changed so far, and stays")
	for _, cluster := range c.clusters {
		paragraph(w, fmt.Sprintf("   %-12s ", cluster), c.of[cluster])
	}
	fmt.Fprintf(w, "== To go on: remove the cause and run the same %s again; it takes up what is there", run)
	if run == "deploy" {
		fmt.Fprint(w, ".\n   Or take it away: sdn-tunnel teardown with the same inventory")
	}
	fmt.Fprintln(w)
}

// paragraph writes items with commas between, all lines as far in as the first.
func paragraph(w io.Writer, lead string, items []string) {
	indent := strings.Repeat(" ", len(lead))
	line := lead
	for i, item := range items {
		if i < len(items)-1 {
			item += ", "
		}
		if len(line)+len(item) > shownWidth && line != indent && line != lead {
			fmt.Fprintln(w, strings.TrimRight(line, " "))
			line = indent
		}
		line += item
	}
	fmt.Fprintln(w, line)
}
