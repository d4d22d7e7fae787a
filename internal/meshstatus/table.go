package meshstatus

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/sdn-tunnel/sdn-tunnel/api/v1alpha1"
	"github.com/sdn-tunnel/sdn-tunnel/internal/table"
)

const (
	// Of a large mesh, only the nodes that are not well are shown, and so many lines of
	// problems for each cluster, if not all is asked for.
	manyNodes    = 50
	manyProblems = 20
)

// Format is how a report is written for people.
type Format struct {
	// Wide shows all nodes and problems, more of each node, and warnings of late.
	Wide bool
	// Colour: the reader is a terminal.
	Colour bool
}

// WriteTable writes the report for people.
func (r Report) WriteTable(w io.Writer, f Format) error {
	for _, write := range []func(io.Writer, Format) error{r.writeClusters, r.writeLinks, r.writeNodes, r.writePairs, r.writeProblems} {
		if err := write(w, f); err != nil {
			return err
		}
	}
	mark := map[Health]string{Well: table.Green, Degraded: table.Red, Down: table.Red, Unknown: table.Yellow}[r.Health()]
	t := f.table()
	_, err := fmt.Fprintf(w, "\n%s\n", t.Paint(mark, r.Summary()))
	return err
}

func (f Format) table() table.Table {
	return table.Table{Colour: f.Colour, Of: func(cell string) string {
		switch Health(cell) {
		case Well:
			return table.Green
		case Degraded, Down:
			return table.Red
		case Unknown:
			return table.Yellow
		}
		return ""
	}}
}

func (r Report) writeClusters(w io.Writer, f Format) error {
	t := f.table()
	t.Row("CLUSTER", "STATE", "NODES", "AGENTS", "CONTROLLER", "NAMES", "PEERS UP", "STALE", "NEVER", "CABLE", "MTU", "VERSION")
	for _, c := range r.Clusters {
		var peers v1alpha1.PeerCounts
		cables, mtus, versions := map[string]bool{}, map[string]bool{}, map[string]bool{}
		for _, n := range c.Nodes {
			if p := n.Peers; p != nil {
				peers.Configured, peers.Up, peers.Stale, peers.Never = peers.Configured+p.Configured, peers.Up+p.Up, peers.Stale+p.Stale, peers.Never+p.Never
			}
			cables[n.Cable], mtus[mtu(n.MTU)] = true, true
		}
		for _, load := range []*Workload{c.Agents, c.Controller} {
			if load != nil {
				for v := range load.Versions {
					versions[v] = true
				}
			}
		}
		t.Row(c.Name, string(c.Health), strconv.Itoa(len(c.Nodes)), c.Agents.pods(), c.Controller.pods(), c.DNS.pods(),
			fmt.Sprintf("%d of %d", peers.Up, peers.Configured), num(peers.Stale), num(peers.Never), set(cables), set(mtus), set(versions))
	}
	return t.Write(w)
}

func (r Report) writeLinks(w io.Writer, f Format) error {
	t, any := f.table(), false
	t.Row("FROM", "TO", "STATE", "PAIRS UP", "STALE", "NEVER", "NODES", "SERVICES", "REFUSED", "ROUND TRIP", "LOSS", "RECEIVING", "SENDING", "KNOWN AS OF", "ACCESS")
	for _, c := range r.Clusters {
		for _, l := range c.Links {
			any = true
			fresh := "now"
			if l.StaleSince != nil {
				fresh = fmt.Sprintf("%s ago (%s)", r.ago(l.StaleSince.Time), l.StaleReason)
			}
			path := l.Path.cells()
			t.Row(c.Name, l.To, string(l.Health), fmt.Sprintf("%d of %d", l.Up, l.Up+l.Stale+l.Never), num(l.Stale), num(l.Never),
				num(l.Nodes), num(l.Services), num(l.Refused),
				path[0], path[1], path[2], path[3], fresh, r.access(l.Access))
		}
	}
	if !any {
		return nil
	}
	fmt.Fprintln(w)
	return t.Write(w)
}

func (r Report) access(a *v1alpha1.AccessLife) string {
	switch {
	case a == nil:
		return "-"
	case !r.Time.Before(a.Expires.Time):
		return fmt.Sprintf("expired %s ago", r.ago(a.Expires.Time))
	}
	return fmt.Sprintf("%s old, %s left", r.ago(a.Issued.Time), age(a.Expires.Sub(r.Time)))
}

func (r Report) ago(t time.Time) string { return age(max(0, r.Time.Sub(t))) }

func (r Report) writeNodes(w io.Writer, f Format) error {
	total, left := 0, 0
	for _, c := range r.Clusters {
		total += len(c.Nodes)
	}
	t := f.table()
	header := []string{"NODE", "STATE", "ENDPOINT", "PEERS UP", "STALE", "NEVER", "HANDSHAKES", "ROUND TRIP", "LOSS", "CABLE", "MTU", "AGENT"}
	if f.Wide {
		header = append(header, "RECEIVING", "SENDING", "TUNNEL ADDRESS", "SUBNETS", "RESTARTS", "AGE", "POD")
	}
	t.Row(header...)
	for _, c := range r.Clusters {
		for _, n := range c.Nodes {
			if !f.Wide && total > manyNodes && n.Health == Well {
				left++
				continue
			}
			t.Row(r.nodeCells(n, f.Wide)...)
		}
	}
	if total == 0 {
		return nil
	}
	fmt.Fprintln(w)
	if left < total {
		if err := t.Write(w); err != nil {
			return err
		}
	}
	if left > 0 {
		fmt.Fprintf(w, "%d nodes that are well are left out: -o wide shows them\n", left)
	}
	return nil
}

func (r Report) nodeCells(n Node, wide bool) []string {
	peers := v1alpha1.PeerCounts{}
	if n.Peers != nil {
		peers = *n.Peers
	}
	path := n.Path().cells()
	cells := []string{n.Name, string(n.Health), cmp.Or(n.Endpoint, "-"), fmt.Sprintf("%d of %d", peers.Up, peers.Configured),
		num(peers.Stale), num(peers.Never), r.handshakes(peers), path[0], path[1], cmp.Or(n.Cable, "-"), cmp.Or(mtu(n.MTU), "-"), cmp.Or(n.AgentVersion, "-")}
	if wide {
		cells = append(cells, path[2], path[3], cmp.Or(n.TunnelAddress, "-"), cmp.Or(strings.Join(n.HostSubnets, ","), "-"), num(n.Restarts),
			r.ago(n.Created.Time), cmp.Or(n.Pod, "-"))
	}
	return cells
}

// handshakes is the age of the oldest of the handshakes with each peer. A peer that is up
// has one younger than three minutes.
func (r Report) handshakes(p v1alpha1.PeerCounts) string {
	var oldest time.Time
	for _, d := range p.NotUp {
		if d.LastHandshake != nil && (oldest.IsZero() || d.LastHandshake.Time.Before(oldest)) {
			oldest = d.LastHandshake.Time
		}
	}
	switch {
	case !oldest.IsZero():
		return r.ago(oldest)
	case p.Up > 0:
		return "<3m"
	}
	return "-"
}

func (r Report) writeProblems(w io.Writer, f Format) error {
	for _, c := range r.Clusters {
		if c.Error == "" && len(c.Problems) == 0 && len(c.Notes) == 0 && (!f.Wide || len(c.Events) == 0) {
			continue
		}
		fmt.Fprintf(w, "\n%s:\n", c.Name)
		if c.Error != "" {
			fmt.Fprintf(w, "  could not be read: %s\n", oneLine(c.Error))
		}
		for i, p := range c.Problems {
			if i == manyProblems && !f.Wide {
				fmt.Fprintf(w, "  and %d more: -o wide shows them\n", len(c.Problems)-i)
				break
			}
			since := ""
			if p.Since != nil {
				since = fmt.Sprintf(" (%s)", r.ago(p.Since.Time))
			}
			fmt.Fprintf(w, "  %s%s: %s\n", p.Object, since, oneLine(p.Message))
		}
		for _, note := range c.Notes {
			fmt.Fprintf(w, "  note: %s\n", oneLine(note))
		}
		if !f.Wide {
			continue
		}
		for _, e := range c.Events {
			fmt.Fprintf(w, "  warning: %s ago, %d times: %s: %s: %s\n", r.ago(e.Last.Time), e.Count, e.Object, e.Reason, oneLine(e.Message))
		}
	}
	return nil
}

// oneLine is text as it may stand on a terminal.
func oneLine(s string) string {
	return strings.Join(strings.FieldsFunc(s, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) }), " ")
}

// pods is "2/2"; a workload that there is none of is "-".
func (w *Workload) pods() string {
	if w == nil {
		return "-"
	}
	return fmt.Sprintf("%d/%d", w.Ready, w.Desired)
}

func num(n int32) string { return strconv.Itoa(int(n)) }

func mtu(n int32) string {
	if n == 0 {
		return ""
	}
	return num(n)
}

// set is what there is of a property: one value, or several.
func set(values map[string]bool) string {
	delete(values, "")
	return cmp.Or(strings.Join(slices.Sorted(maps.Keys(values)), ", "), "-")
}
