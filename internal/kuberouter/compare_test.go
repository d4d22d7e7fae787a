package kuberouter

import (
	"fmt"
	"testing"
	"time"

	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/sdn-tunnel/sdn-tunnel/internal/kerneltest"
	"github.com/sdn-tunnel/sdn-tunnel/internal/remoteservice"
	"github.com/sdn-tunnel/sdn-tunnel/internal/svcproxy"
)

// many are n services of west, of one port and two endpoints each; of the first of them one
// endpoint is given.
func many(n int, first string) []*discoveryv1.EndpointSlice {
	out := make([]*discoveryv1.EndpointSlice, 0, n)
	for i := range n {
		endpoint := fmt.Sprintf("10.132.%d.%d", i>>8, i&255)
		if i == 0 {
			endpoint = first
		}
		address := fmt.Sprintf("172.31.%d.%d", i>>8, i&255)
		o := mirror(fmt.Sprintf("web%d", i), address, 0, endpoint, fmt.Sprintf("10.133.%d.%d", i>>8, i&255))
		o.Annotations[remoteservice.Annotation] = fmt.Sprintf(`{"ips":[%q],"ports":[{"name":"tcp","protocol":"TCP","port":80}]}`, address)
		out = append(out, o)
	}
	return out
}

// patience is how long kube-router is waited for with so many services, by the clock of the
// machine that it runs on: it could do 10,000 in minutes, and in an emulated machine in hours.
func patience(services int) time.Duration {
	if services > 1000 {
		return 15 * time.Second
	}
	return time.Minute
}

// TestKernelCompare shows what the same services cost the two proxies, one after the other
// on the same machine: from empty, and one endpoint of one service. In a virtual machine
// the ratio is what counts. Of what kube-router has not done in time, it is told how far
// it came.
func TestKernelCompare(t *testing.T) {
	kerneltest.Need(t, "ip_vs")
	kerneltest.Long(t)
	for _, n := range []int{100, 1000, 10000} {
		all, changed := many(n, "10.134.0.1"), many(n, "10.134.0.2")[0]
		var builtIn, upstream []progress
		// Each in a world of its own, which goes with the subtest.
		t.Run(fmt.Sprintf("nftables/%d", n), func(t *testing.T) { builtIn = byNFTables(t, all, changed) })
		if !t.Run(fmt.Sprintf("kube-router/%d", n), func(t *testing.T) { upstream = byKubeRouter(t, all, changed) }) {
			return
		}
		for i, is := range upstream {
			what := []string{"from empty", "one endpoint"}[i]
			t.Logf("%d services, %s: nftables %.3f s, kube-router %s", n, what, builtIn[i].took.Seconds(), is.beside(builtIn[i].took))
		}
	}
}

// progress is how long something took, or how far it came in that time.
type progress struct {
	took       time.Duration
	done, want int // services that are as they should be
}

func (p progress) beside(other time.Duration) string {
	times := p.took.Seconds() / other.Seconds()
	if p.done < p.want {
		return fmt.Sprintf("more than %.0f s, more than %.0f times as long: then it had %d of %d services", p.took.Seconds(), times, p.done, p.want)
	}
	return fmt.Sprintf("%.3f s, %.0f times as long", p.took.Seconds(), times)
}

func byNFTables(t *testing.T, all []*discoveryv1.EndpointSlice, changed *discoveryv1.EndpointSlice) []progress {
	w := newWorld(t, "")
	p, err := svcproxy.New(svcproxy.Config{Namespace: w.Tunnel})
	if err != nil {
		t.Fatal(err)
	}
	apply := func() progress {
		began := time.Now()
		if _, err := p.Apply(t.Context(), dataPlane()); err != nil {
			t.Fatal(err)
		}
		return progress{took: time.Since(began)}
	}
	p.Replace(nil)
	apply()
	p.Replace(all)
	empty := apply()
	p.Set(changed)
	return []progress{empty, apply()}
}

// byKubeRouter does the second only if the first was done in time.
func byKubeRouter(t *testing.T, all []*discoveryv1.EndpointSlice, changed *discoveryv1.EndpointSlice) []progress {
	w := newWorld(t, kerneltest.KubeRouter(t))
	w.start(t)
	w.part.Replace(nil)
	w.serving(t)
	w.part.Replace(all)
	took := []progress{w.follows(t)}
	if took[0].done < took[0].want {
		return took
	}
	w.part.Set(changed)
	return append(took, w.follows(t))
}

// follows waits until IPVS has what west's view wants, as long as there is patience.
func (w *world) follows(t *testing.T) progress {
	t.Helper()
	view, _ := w.part.view("west")
	want, _ := view.wanted()
	room := newRoom(w.Tunnel, "west")
	for began := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		have, err := readIPVS(room.namespace)
		if err != nil {
			t.Fatal(err)
		}
		p := progress{took: time.Since(began), done: len(want), want: len(want)}
		if have.equals(want) {
			return p
		}
		if p.took > patience(len(want)) {
			p.done = 0
			for k, b := range want {
				if have.serves(k, b) {
					p.done++
				}
			}
			return p
		}
	}
}
