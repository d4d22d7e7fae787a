package kuberouter

import (
	"encoding/json"
	"fmt"
	"runtime"
	"testing"

	discoveryv1 "k8s.io/api/discovery/v1"
)

// BenchmarkHeld is what the agent keeps in memory of n services: what it knows of them, and
// the view that kube-router has.
func BenchmarkHeld(b *testing.B) {
	for _, n := range []int{100, 1000, 10000} {
		b.Run(fmt.Sprintf("services=%d", n), func(b *testing.B) {
			text, err := json.Marshal(many(n, "10.134.0.1"))
			if err != nil {
				b.Fatal(err)
			}
			var s *Services
			before := heap()
			for b.Loop() {
				var all []*discoveryv1.EndpointSlice
				if err := json.Unmarshal(text, &all); err != nil {
					b.Fatal(err)
				}
				s = newServices()
				s.declare(dataPlane().RemoteClusters)
				s.Replace(all)
			}
			b.ReportMetric(float64(heap()-before)/float64(n), "B/service")
			runtime.KeepAlive(s)
		})
	}
}

func heap() uint64 {
	runtime.GC()
	runtime.GC() // what pools keep goes with the second
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return s.HeapAlloc
}
