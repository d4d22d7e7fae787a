package bench

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// Result is one line of a benchmark.
type Result struct {
	Package string `json:"package"` // below the module's own path
	Name    string `json:"name"`    // without "Benchmark" and the number of processors
	N       int    `json:"n"`       // how often it was done
	// Values are by unit: ns/op, MB/s, B/op, allocs/op and those of the benchmark's own.
	Values map[string]float64 `json:"values"`
}

const module = "github.com/sdn-tunnel/sdn-tunnel/"

// Parse reads the output of go test -bench, also of several packages in a row. What is no
// benchmark's result is passed by; a result that cannot be read is an error. Of a benchmark
// that was run several times it gives the medians. The format:
// https://go.dev/design/14313-benchmark-format.
func Parse(r io.Reader) ([]Result, error) {
	var all []Result
	pkg := ""
	for s := bufio.NewScanner(r); ; {
		if !s.Scan() {
			return medians(all), s.Err()
		}
		if p, ok := strings.CutPrefix(s.Text(), "pkg: "); ok {
			pkg = strings.TrimPrefix(p, module)
		}
		fields := strings.Fields(s.Text())
		if len(fields) < 4 || len(fields)%2 != 0 || !strings.HasPrefix(fields[0], "Benchmark") {
			continue
		}
		n, err := strconv.Atoi(fields[1])
		if err != nil {
			continue
		}
		res, err := parseLine(fields, n)
		if err != nil {
			return all, fmt.Errorf("line %q: %w", s.Text(), err)
		}
		res.Package = pkg
		all = append(all, res)
	}
}

func parseLine(fields []string, n int) (res Result, err error) {
	res = Result{Name: name(fields[0]), N: n, Values: map[string]float64{}}
	for i := 2; i < len(fields); i += 2 {
		if res.Values[fields[i+1]], err = strconv.ParseFloat(fields[i], 64); err != nil {
			return res, err
		}
	}
	return res, nil
}

// name takes off "Benchmark", the "-2" of two processors, and the "#01" of a second run.
func name(s string) string {
	s = strings.TrimPrefix(s, "Benchmark")
	if i := strings.LastIndexByte(s, '-'); i >= 0 {
		if _, err := strconv.Atoi(s[i+1:]); err == nil {
			s = s[:i]
		}
	}
	s, _, _ = strings.Cut(s, "#")
	return s
}

// medians has one result for each benchmark, of several runs the median of each value.
func medians(runs []Result) []Result {
	var all []Result
	for i, r := range runs {
		same := func(o Result) bool { return o.Package == r.Package && o.Name == r.Name }
		if slices.ContainsFunc(runs[:i], same) {
			continue
		}
		values := map[string][]float64{}
		for _, o := range runs[i:] {
			if same(o) {
				for unit, v := range o.Values {
					values[unit] = append(values[unit], v)
				}
			}
		}
		m := Result{Package: r.Package, Name: r.Name, N: r.N, Values: map[string]float64{}}
		for unit, vs := range values {
			slices.Sort(vs)
			m.Values[unit] = (vs[(len(vs)-1)/2] + vs[len(vs)/2]) / 2
		}
		all = append(all, m)
	}
	return all
}
