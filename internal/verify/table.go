package verify

import (
	"fmt"
	"io"
	"time"

	"github.com/sdn-tunnel/sdn-tunnel/internal/table"
	"github.com/sdn-tunnel/sdn-tunnel/samples/test-app/probe"
)

// WriteTable writes the report for people, in colour if the reader is a terminal.
func (r Report) WriteTable(w io.Writer, colour bool) error {
	t := table.Table{Colour: colour, Of: verdictColour}
	t.Row("KIND", "FROM", "TO", "ICMP", "TCP", "UDP", "TRANSFER", "DF", "SOURCE", "RTT", "")
	for _, p := range r.Pairs {
		t.Row(pairCells(p)...)
	}
	if err := t.Write(w); err != nil {
		return err
	}
	for _, p := range r.Pairs {
		if p.OK() {
			continue
		}
		hop := p.FailingHop
		if hop == "" {
			hop = "unknown"
		}
		if _, err := fmt.Fprintf(w, "\n%s %s -> %s\n  failed: %s\n  first failing hop: %s\n", p.Kind, p.From, p.To, p.Failure(), hop); err != nil {
			return err
		}
	}
	if err := r.writeServices(w, colour); err != nil {
		return err
	}
	mark := table.Green
	if !r.OK() {
		mark = table.Red
	}
	_, err := fmt.Fprintf(w, "\n%s in %.1f s\n", t.Paint(mark, r.Summary()), r.DurationSeconds)
	return err
}

// writeServices writes the services, if they were asked.
func (r Report) writeServices(w io.Writer, colour bool) error {
	if len(r.Services) == 0 {
		return nil
	}
	t := table.Table{Colour: colour, Of: verdictColour}
	t.Row("SERVICE BY", "FROM", "TO", "ASKED", "TCP", "UDP", "PODS", "SOURCE", "")
	for _, s := range r.Services {
		t.Row(serviceCells(s)...)
	}
	if _, err := fmt.Fprintln(w); err != nil {
		return err
	}
	if err := t.Write(w); err != nil {
		return err
	}
	for _, s := range r.Services {
		if s.OK() {
			continue
		}
		if _, err := fmt.Fprintf(w, "\nservice of %s by %s, from %s\n  failed: %s\n", s.To, s.Way, s.From, s.Failure()); err != nil {
			return err
		}
	}
	return nil
}

func serviceCells(s ServicePair) []string {
	seen, verdict := s.TCP.Seen, "OK"
	if s.UDP.Seen != "" && s.UDP.Seen != s.FromAddress {
		seen = s.UDP.Seen
	}
	if seen == "" {
		seen = "-"
	}
	if !s.OK() {
		verdict = "FAILED"
	}
	return []string{
		string(s.Way), s.From, s.To, s.Host, fmt.Sprintf("%d/%d", s.TCP.Answered, s.Requests), fmt.Sprintf("%d/%d", s.UDP.Answered, s.Requests),
		fmt.Sprintf("%d/%d", len(s.answeredBy()), s.Backends), seen, verdict,
	}
}

func pairCells(p Pair) []string {
	checks := map[string]Check{}
	for _, c := range p.Checks {
		checks[c.Name] = c
	}
	cells := []string{string(p.Kind), p.From, p.To}
	for _, name := range []string{probe.ICMP, probe.TCP, probe.UDP, probe.Transfer, probe.DF, probe.Source} {
		c, ok := checks[name]
		switch {
		case !ok || c.Skipped:
			cells = append(cells, "-")
		case !c.OK:
			cells = append(cells, "FAIL")
		case name == probe.DF:
			cells = append(cells, fmt.Sprint(p.DFBytes))
		case name == probe.Source:
			cells = append(cells, p.Seen)
		case name == probe.Transfer && c.Detail != "":
			cells = append(cells, c.Detail)
		default:
			cells = append(cells, "ok")
		}
	}
	rtt, verdict := "-", "OK"
	if p.RTTMicros > 0 {
		rtt = fmt.Sprintf("%.2f ms", float64(p.RTTMicros)/float64(time.Millisecond/time.Microsecond))
	}
	if !p.OK() {
		verdict = "FAILED"
	}
	return append(cells, rtt, verdict)
}

// verdictColour is the colour of a cell.
func verdictColour(cell string) string {
	switch cell {
	case "FAIL", "FAILED":
		return table.Red
	case "OK":
		return table.Green
	}
	return ""
}
