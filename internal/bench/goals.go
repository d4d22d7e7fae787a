package bench

import (
	"fmt"
	"slices"
)

// Goal is what a figure should be.
type Goal struct {
	What string `json:"what"`
	Want string `json:"want"`
	Got  string `json:"got"` // empty: it was not measured
	Met  bool   `json:"met"`
}

// limits are goals for the time of an operation.
var limits = []struct {
	what, pkg, name string
	ms              float64
}{
	{"plan of 100 clusters of 100 nodes", "internal/mesh", "Compute/clusters=100/nodes=10000", 50},
	{"plan after one change among them", "internal/mesh", "Change/clusters=100/nodes=10000", 1},
	{"1,000 flows to the switch", "internal/vswitch", "Apply/CIDRs=334", 50},
	{"10,000 services from nothing", "internal/svcproxy", "Load/services=10000", 500},
	{"one endpoint among 10,000 services", "internal/svcproxy", "Change/services=10000", 20},
}

// Goals holds the results against what is wanted.
func Goals(results []Result, paths []Path) []Goal {
	var all []Goal
	for _, l := range limits {
		g := Goal{What: l.what, Want: fmt.Sprintf("at most %g ms", l.ms)}
		i := slices.IndexFunc(results, func(r Result) bool { return r.Package == l.pkg && r.Name == l.name })
		if i >= 0 {
			ms := results[i].Values["ns/op"] / 1e6
			g.Got, g.Met = fmt.Sprintf("%.3g ms", ms), ms <= l.ms
		}
		all = append(all, g)
	}
	one := Goal{What: "one TCP connection through the mesh", Want: "at least 0.98 of raw WireGuard"}
	before := Goal{What: "the same", Want: "more than with WireGuard in a pod"}
	if p := find(paths, "mesh", "TCP=1"); p != nil && p.Ratio > 0 {
		one.Got, one.Met = fmt.Sprintf("%.2f", p.Ratio), p.Ratio >= 0.98
		if old := find(paths, "pod-tunnel", "TCP=1"); old != nil {
			before.Got, before.Met = fmt.Sprintf("%.2f against %.2f", p.Ratio, old.Ratio), p.Ratio > old.Ratio
		}
	}
	return append(append(all, one, before), deployGoals(results)...)
}
