package bench

import (
	"slices"
	"strings"
)

// Baseline is the layout that the others are set in relation to.
const Baseline = "wireguard"

// Path is one measure of one layout.
type Path struct {
	Layout  string  `json:"layout"`
	Measure string  `json:"measure"`
	Value   float64 `json:"value"`
	Unit    string  `json:"unit"`
	// Ratio is how many times as good as the baseline's it is: of throughput more is
	// better, of latency less. 0: the baseline was not measured.
	Ratio float64 `json:"ratio"`
}

// pathName begins the names of results that are paths.
const pathName = "KernelPath/layout="

// Paths are the ways through the mesh among the results, with their relation to the
// baseline's.
func Paths(results []Result) []Path {
	var all []Path
	for _, r := range results {
		rest, ok := strings.CutPrefix(r.Name, pathName)
		if !ok {
			continue
		}
		layout, measure, _ := strings.Cut(rest, "/")
		p := Path{Layout: layout, Measure: measure}
		p.Value, p.Unit = r.Values["ns/op"]/1000, "µs"
		for _, unit := range []string{"MB/s", "packets/s"} {
			if v, ok := r.Values[unit]; ok {
				p.Value, p.Unit = v, unit
			}
		}
		all = append(all, p)
	}
	for i := range all {
		base := find(all, Baseline, all[i].Measure)
		switch {
		case base == nil || base.Value == 0 || all[i].Value == 0:
		case all[i].Unit == "µs":
			all[i].Ratio = base.Value / all[i].Value
		default:
			all[i].Ratio = all[i].Value / base.Value
		}
	}
	return all
}

// find is nil where there is no such path.
func find(paths []Path, layout, measure string) *Path {
	i := slices.IndexFunc(paths, func(p Path) bool { return p.Layout == layout && p.Measure == measure })
	if i < 0 {
		return nil
	}
	return &paths[i]
}
