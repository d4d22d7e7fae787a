package svcproxy

import (
	"encoding/json"
	"fmt"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/sdn-tunnel/sdn-tunnel/internal/remoteservice"
)

// sizes are how many services there are, of one port and two endpoints each.
var sizes = []int{100, 1000, 10000}

func many(n int) []*discoveryv1.EndpointSlice {
	out := make([]*discoveryv1.EndpointSlice, 0, n)
	for i := range n {
		out = append(out, single(i, fmt.Sprintf("10.132.%d.%d", i>>8, i&255)))
	}
	return out
}

// single is the i-th service, with two endpoints, of which one is given.
func single(i int, endpoint string) *discoveryv1.EndpointSlice {
	o := mirror(fmt.Sprintf("web%d", i), fmt.Sprintf("172.31.%d.%d", i>>8, i&255), 0, endpoint, fmt.Sprintf("10.133.%d.%d", i>>8, i&255))
	o.Annotations[remoteservice.Annotation] = fmt.Sprintf(`{"ips":["172.31.%d.%d"],"ports":[{"name":"tcp","protocol":"TCP","port":80}]}`, i>>8, i&255)
	return o
}

// processor is the time that this process and nft have worked so far: on a machine that
// does other things too it says more than the time on the clock.
func processor(b *testing.B) time.Duration {
	b.Helper()
	var sum time.Duration
	for _, who := range []int{unix.RUSAGE_SELF, unix.RUSAGE_CHILDREN} {
		var r unix.Rusage
		if err := unix.Getrusage(who, &r); err != nil {
			b.Fatal(err)
		}
		sum += time.Duration(r.Utime.Nano() + r.Stime.Nano())
	}
	return sum
}

// measure runs do in b's loop, after prepare, which does not count.
func measure(b *testing.B, prepare, do func()) {
	b.Helper()
	var worked time.Duration
	for b.Loop() {
		b.StopTimer()
		prepare()
		before := processor(b)
		b.StartTimer()
		do()
		b.StopTimer()
		worked += processor(b) - before
		b.StartTimer()
	}
	b.ReportMetric(float64(worked.Microseconds())/1000/float64(b.N), "cpu-ms/op")
}

// BenchmarkLoad takes n services from nothing: reads the mirrors and programs the kernel.
func BenchmarkLoad(b *testing.B) {
	for _, n := range sizes {
		b.Run(fmt.Sprintf("services=%d", n), func(b *testing.B) {
			w, all := newWorld(b), many(n)
			var p *Part
			measure(b, func() {
				if err := w.part.Remove(b.Context()); err != nil {
					b.Fatal(err)
				}
				p = w.process(b)
				apply(b, p) // the networks are known before the services
			}, func() {
				p.Replace(all)
				apply(b, p)
			})
		})
	}
}

// BenchmarkReload is a new process that takes over from an earlier one.
func BenchmarkReload(b *testing.B) {
	for _, n := range sizes {
		b.Run(fmt.Sprintf("services=%d", n), func(b *testing.B) {
			w, all := newWorld(b), many(n)
			var p *Part
			measure(b, func() {
				p = w.process(b)
				apply(b, p)
			}, func() {
				p.Replace(all)
				apply(b, p)
			})
		})
	}
}

// BenchmarkChange replaces one endpoint of one service among n: from the event to the
// kernel, with the look at what else may have changed.
func BenchmarkChange(b *testing.B) {
	for _, n := range sizes {
		b.Run(fmt.Sprintf("services=%d", n), func(b *testing.B) {
			w := newWorld(b)
			w.part.Replace(many(n))
			apply(b, w.part)
			turns := [2]*discoveryv1.EndpointSlice{single(7, "10.134.0.1"), single(7, "10.134.0.2")}
			i := 0
			measure(b, func() { i++ }, func() {
				w.part.Set(turns[i%2])
				if _, err := w.part.sync(b.Context()); err != nil {
					b.Fatal(err)
				}
			})
		})
	}
}

// BenchmarkHeld is what the agent keeps in memory of n services that are in the kernel: of
// slices as the API's client reads them, which are gone then.
func BenchmarkHeld(b *testing.B) {
	for _, n := range sizes {
		b.Run(fmt.Sprintf("services=%d", n), func(b *testing.B) {
			w, text := newWorld(b), encoded(b, n)
			var p *Part
			w.part = nil
			before := heap()
			for b.Loop() {
				p = w.process(b)
				apply(b, p)
				p.Replace(decoded(b, text))
				apply(b, p)
			}
			b.ReportMetric(float64(heap()-before)/float64(n), "B/service")
			w.part = p
		})
	}
}

func encoded(b *testing.B, n int) []byte {
	b.Helper()
	text, err := json.Marshal(many(n))
	if err != nil {
		b.Fatal(err)
	}
	return text
}

func decoded(b *testing.B, text []byte) (all []*discoveryv1.EndpointSlice) {
	b.Helper()
	if err := json.Unmarshal(text, &all); err != nil {
		b.Fatal(err)
	}
	return all
}

func heap() uint64 {
	runtime.GC()
	runtime.GC() // what pools keep goes with the second
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return s.HeapAlloc
}
