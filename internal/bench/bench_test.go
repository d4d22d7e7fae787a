package bench

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sdn-tunnel/sdn-tunnel/internal/golden"
)

// output is of two packages, with what else comes between.
const output = `goos: linux
pkg: github.com/sdn-tunnel/sdn-tunnel/internal/mesh
cpu: AMD EPYC
BenchmarkCompute/clusters=100/nodes=10000-2         	      60	  26286731 ns/op	15275621 B/op	   76503 allocs/op
BenchmarkChange/clusters=100/nodes=10000-2          	    1000	   2000000 ns/op	  102400 B/op	      10 allocs/op
PASS
BenchmarkHeld/services=10000-2 	       1	1868406883 ns/op	      1936 B/service	 1048576 B/op	 7 allocs/op
Benchmark without a result
pkg: github.com/sdn-tunnel/sdn-tunnel/internal/e2e/dataplane
BenchmarkKernelPath/layout=wireguard/TCP=1 	     100	   1000000 ns/op	  65.5 MB/s
BenchmarkKernelPath/layout=wireguard/UDP=64 	     100	   1000 ns/op	  1000000 packets/s
BenchmarkKernelPath/layout=wireguard/latency 	     100	   20000 ns/op
BenchmarkKernelPath/layout=mesh/TCP=1 	     100	   1000000 ns/op	  64.845 MB/s
BenchmarkKernelPath/layout=mesh/TCP=1#01 	     100	   1000000 ns/op	  99 MB/s
BenchmarkKernelPath/layout=mesh/TCP=1#02 	     100	   1000000 ns/op	  1 MB/s
BenchmarkKernelPath/layout=mesh/UDP=64 	     100	   2000 ns/op	  500000 packets/s
BenchmarkKernelPath/layout=mesh/latency 	     100	   40000 ns/op
BenchmarkKernelPath/layout=pod-tunnel/TCP=1 	     100	   1000000 ns/op	  60 MB/s
`

func results(t *testing.T) []Result {
	t.Helper()
	r, err := Parse(strings.NewReader(output))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestParse(t *testing.T) {
	r := results(t)
	if len(r) != 10 {
		t.Fatalf("%d results: %+v", len(r), r)
	}
	first := r[0]
	if first.Package != "internal/mesh" || first.Name != "Compute/clusters=100/nodes=10000" || first.N != 60 || first.Values["allocs/op"] != 76503 {
		t.Errorf("%+v", first)
	}
	if _, err := Parse(strings.NewReader("BenchmarkX 1 much ns/op\n")); err == nil {
		t.Error("a figure that is none was read")
	}
}

func TestPathsAndGoals(t *testing.T) {
	rep := New("v1", Machine{CPU: "a CPU", Paths: "a guest"}, results(t))
	rep.Time = time.Time{}
	for _, p := range rep.Paths {
		want := map[string]float64{"TCP=1": 0.99, "UDP=64": 0.5, "latency": 0.5}[p.Measure]
		if p.Layout == "mesh" && (p.Ratio < want-1e-9 || p.Ratio > want+1e-9) {
			t.Errorf("%+v, want a ratio of %v", p, want)
		}
	}
	var text bytes.Buffer
	if err := rep.Print(&text); err != nil {
		t.Fatal(err)
	}
	golden.Check(t, "report.txt", text.String())
	file := filepath.Join(t.TempDir(), "bench.json")
	if err := rep.WriteJSON(file); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(file)
	var back Report
	if err != nil || json.Unmarshal(content, &back) != nil || len(back.Results) != len(rep.Results) || back.Machine != rep.Machine {
		t.Errorf("read back: %+v, %v", back, err)
	}
}

// FuzzParse: whatever is read, it does not panic, and every result has a name and values.
func FuzzParse(f *testing.F) {
	f.Add(output)
	f.Fuzz(func(t *testing.T, text string) {
		all, _ := Parse(strings.NewReader(text))
		for _, r := range all {
			if len(r.Values) == 0 {
				t.Errorf("%+v", r)
			}
		}
	})
}

func TestModel(t *testing.T) {
	if got := model("processor\t: 0\nmodel name\t: Some CPU @ 2 GHz\n"); got != "Some CPU @ 2 GHz" {
		t.Errorf("%q", got)
	}
}
