package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// Report is all that one run measured.
type Report struct {
	Time    time.Time `json:"time"`
	Version string    `json:"version"`
	Machine Machine   `json:"machine"`
	Paths   []Path    `json:"paths"`
	Results []Result  `json:"results"`
	Goals   []Goal    `json:"goals"`
}

// New makes a report of results.
func New(version string, m Machine, results []Result) Report {
	paths := Paths(results)
	return Report{Time: time.Now().UTC().Truncate(time.Second), Version: version, Machine: m, Paths: paths, Results: results, Goals: Goals(results, paths)}
}

// WriteJSON writes the report to a file.
func (r Report) WriteJSON(file string) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("report of benchmarks: %w", err)
	}
	return os.WriteFile(file, append(text, '\n'), 0o644)
}

// Print shows the report to people.
func (r Report) Print(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	fmt.Fprintf(w, "\nmachine\t%s, %d processors, kernel %s, %s\n", r.Machine.CPU, r.Machine.Processors, r.Machine.Kernel, r.Machine.Go)
	if len(r.Paths) > 0 {
		fmt.Fprintf(w, "paths on\t%s\n\n", r.Machine.Paths)
		r.printPaths(w)
	}
	printDeploys(w, r.Results)
	r.printResults(w)
	fmt.Fprint(w, "\nGOAL\tWANTED\tMEASURED\t\n")
	for _, g := range r.Goals {
		verdict := map[bool]string{true: "met", false: "missed"}[g.Met]
		if g.Got == "" {
			verdict = "not measured"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", g.What, g.Want, g.Got, verdict)
	}
	return w.Flush()
}

// printPaths has a line for each layout and a column for each measure: the figure, and how
// many times as good as the baseline's it is.
func (r Report) printPaths(w io.Writer) {
	var layouts, measures []string
	for _, p := range r.Paths {
		if !slices.Contains(layouts, p.Layout) {
			layouts = append(layouts, p.Layout)
		}
		if !slices.Contains(measures, p.Measure) {
			measures = append(measures, p.Measure)
		}
	}
	fmt.Fprintf(w, "PATH (of %s)\t%s\n", Baseline, strings.Join(measures, "\t"))
	for _, l := range layouts {
		fmt.Fprint(w, l)
		for _, m := range measures {
			if p := find(r.Paths, l, m); p != nil {
				fmt.Fprintf(w, "\t%s (%.2f)", quantity(p.Value, p.Unit), p.Ratio)
			} else {
				fmt.Fprint(w, "\t-")
			}
		}
		fmt.Fprintln(w)
	}
}

func (r Report) printResults(w io.Writer) {
	fmt.Fprint(w, "\nOPERATION\tTIME\tMEMORY\tALLOCATIONS\tKEPT\n")
	for _, res := range r.Results {
		if strings.HasPrefix(res.Name, pathName) || strings.HasPrefix(res.Name, deployName) {
			continue
		}
		kept := ""
		if b, ok := res.Values["B/service"]; ok {
			kept = "\t" + quantity(b, "B for each service")
		}
		fmt.Fprintf(w, "%s %s\t%v\t%s\t%s%s\n", res.Package, res.Name, duration(res.Values["ns/op"]),
			quantity(res.Values["B/op"]/1024, "KiB"), quantity(res.Values["allocs/op"], ""), kept)
	}
}

// duration has three digits that count.
func duration(ns float64) string {
	switch {
	case ns >= 1e9:
		return quantity(ns/1e9, "s")
	case ns >= 1e6:
		return quantity(ns/1e6, "ms")
	case ns >= 1e3:
		return quantity(ns/1e3, "µs")
	}
	return quantity(ns, "ns")
}

func quantity(v float64, unit string) string {
	digits := 0
	switch {
	case v == 0:
	case v < 10:
		digits = 2
	case v < 100:
		digits = 1
	}
	return strings.TrimSpace(fmt.Sprintf("%.*f %s", digits, v, unit))
}
