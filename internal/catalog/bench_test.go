package catalog

import (
	"fmt"
	"runtime"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
)

// BenchmarkCatalog: all services at once, with what is kept of one; and one change among
// them, which must not depend on how many there are.
func BenchmarkCatalog(b *testing.B) {
	for _, n := range []int{1_000, 10_000} {
		services, slices := make([]any, n), make([]any, n)
		for i := range n {
			name := fmt.Sprintf("service-%d", i)
			services[i] = service(name, i)
			slices[i] = slice(name+"-x7k2p", name, fmt.Sprintf("10.132.%d.%d", i/250, i%250), fmt.Sprintf("10.133.%d.%d", i/250, i%250))
			slim(services[i].(*corev1.Service))
			slim(slices[i].(*discoveryv1.EndpointSlice))
		}
		fill := func() *book {
			c := newBook(Options{})
			c.lists(self(""))
			_ = c.table(kindService).Replace(services, "1")
			_ = c.table(kindSlice).Replace(slices, "1")
			c.told = nil
			return c
		}
		b.Run(fmt.Sprintf("all/%d", n), func(b *testing.B) {
			before := heap()
			for b.Loop() {
				fill()
			}
			c := fill()
			b.ReportMetric(float64(heap()-before)/float64(n), "B/service")
			runtime.KeepAlive(c)
		})
		b.Run(fmt.Sprintf("change/%d", n), func(b *testing.B) {
			c, table := fill(), (*table)(nil)
			table = c.table(kindSlice)
			more := slice("service-7-x7k2p", "service-7", "10.132.0.7", "10.133.0.7", "10.132.9.9")
			for i := 0; b.Loop(); i++ {
				_ = table.Update([]any{more, slices[7]}[i%2])
				if len(c.told) != 1 {
					b.Fatalf("told %v", c.told)
				}
				c.told = c.told[:0]
			}
		})
	}
}

func heap() uint64 {
	runtime.GC()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return s.HeapAlloc
}
