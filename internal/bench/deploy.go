package bench

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
)

// deployName begins the names of deploys: Deploy/clusters=2/run=second.
const deployName = "Deploy/"

// Stage is a part of a deploy.
type Stage struct {
	Name string
	Took time.Duration
}

// Deploy is a deploy that was timed.
type Deploy struct {
	Clusters int
	Run      string // first, second
	Took     time.Duration
	// CPU is what the deploy's own processes used: Ansible and the modules. The clusters'
	// API servers and nodes are not among them.
	CPU    time.Duration
	Stages []Stage
}

// cpuUnit is that of Deploy.CPU in seconds.
const cpuUnit = "cpu-s"

// WriteTo writes the deploy in the format of Go's benchmarks, so that it is read, and
// compared, as those are. Each stage is a value of its own.
func (d Deploy) WriteTo(out io.Writer) (int64, error) {
	line := fmt.Appendf(nil, "Benchmark%sclusters=%d/run=%s 1 %d ns/op %.2f %s",
		deployName, d.Clusters, d.Run, d.Took.Nanoseconds(), d.CPU.Seconds(), cpuUnit)
	for _, s := range d.Stages {
		line = fmt.Appendf(line, " %.2f %s", s.Took.Seconds(), unit(s.Name))
	}
	n, err := out.Write(append(line, '\n'))
	return int64(n), err
}

// unit is a stage as the unit of a value.
func unit(stage string) string { return "s-" + strings.ReplaceAll(stage, " ", "_") }

// secondDeploy finds the second deploy of so many clusters among results.
func secondDeploy(results []Result, clusters int) *Result {
	name := fmt.Sprintf("%sclusters=%d/run=second", deployName, clusters)
	i := slices.IndexFunc(results, func(r Result) bool { return r.Name == name })
	if i < 0 {
		return nil
	}
	return &results[i]
}

// printDeploys has a line for each deploy, and a column for each stage in the order of
// their lengths, in seconds.
func printDeploys(w io.Writer, results []Result) {
	var deploys []Result
	longest := map[string]float64{}
	var stages []string
	for _, r := range results {
		if !strings.HasPrefix(r.Name, deployName) {
			continue
		}
		deploys = append(deploys, r)
		for u, v := range r.Values {
			if stage, ok := strings.CutPrefix(u, "s-"); ok {
				if _, known := longest[stage]; !known {
					stages = append(stages, stage)
				}
				longest[stage] = max(longest[stage], v)
			}
		}
	}
	if len(deploys) == 0 {
		return
	}
	slices.SortFunc(stages, func(a, b string) int {
		if longest[a] != longest[b] {
			return int((longest[b] - longest[a]) * 1000)
		}
		return strings.Compare(a, b)
	})
	// One of less than half a second is in the sum only.
	stages = slices.DeleteFunc(stages, func(s string) bool { return longest[s] < 0.5 })
	fmt.Fprintf(w, "\nDEPLOY\tSECONDS\tOWN CPU\t%s\n", strings.Join(stages, "\t"))
	for _, d := range deploys {
		fmt.Fprintf(w, "%s\t%.1f\t%.1f", strings.TrimPrefix(d.Name, deployName), d.Values["ns/op"]/1e9, d.Values[cpuUnit])
		for _, s := range stages {
			fmt.Fprintf(w, "\t%s", strconv.FormatFloat(d.Values["s-"+s], 'f', 1, 64))
		}
		fmt.Fprintln(w)
	}
}

// deployGoals hold deploys against what is wanted; without any there are none.
func deployGoals(results []Result) []Goal {
	if !slices.ContainsFunc(results, func(r Result) bool { return strings.HasPrefix(r.Name, deployName) }) {
		return nil
	}
	second := Goal{What: "second deploy of two clusters", Want: "at most 15 s"}
	if r := secondDeploy(results, 2); r != nil {
		s := r.Values["ns/op"] / 1e9
		second.Got, second.Met = fmt.Sprintf("%.1f s", s), s <= 15
	}
	flat := Goal{What: "second deploy of four clusters", Want: "at most 1.5 times that of one"}
	if one, four := secondDeploy(results, 1), secondDeploy(results, 4); one != nil && four != nil {
		// One cluster alone has no pairs to be verified.
		ratio := withoutMatrix(four) / max(withoutMatrix(one), 1e-9)
		flat.What += ", without the matrix"
		flat.Got, flat.Met = fmt.Sprintf("%.2f", ratio), ratio <= 1.5
	}
	return []Goal{second, flat}
}

func withoutMatrix(r *Result) float64 { return r.Values["ns/op"]/1e9 - r.Values["s-Verification"] }
