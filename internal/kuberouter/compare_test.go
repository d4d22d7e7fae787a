package kuberouter

import (
	"fmt"
	"testing"
	"time"

	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/sdn-tunnel/sdn-tunnel/internal/kerneltest"
	"github.com/sdn-tunnel/sdn-tunnel/internal/mesh"
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

// TestKernelCompare shows what the same services cost the two proxies, one after the other
// on the same machine: from empty, and one endpoint of one service. In a virtual machine
// the ratio is what counts.
func TestKernelCompare(t *testing.T) {
	kerneltest.Need(t, "ip_vs")
	kerneltest.Long(t)
	for _, n := range []int{100, 1000} {
		all, changed := many(n, "10.134.0.1"), many(n, "10.134.0.2")[0]
		var builtIn, upstream [2]time.Duration
		// Each in a world of its own, which goes with the subtest.
		t.Run(fmt.Sprintf("nftables/%d", n), func(t *testing.T) { builtIn = byNFTables(t, all, changed) })
		if !t.Run(fmt.Sprintf("kube-router/%d", n), func(t *testing.T) { upstream = byKubeRouter(t, all, changed) }) {
			return
		}
		for i, what := range []string{"from empty", "one endpoint"} {
			t.Logf("%d services, %s: nftables %.3f s, kube-router %.3f s: %.0f times as long",
				n, what, builtIn[i].Seconds(), upstream[i].Seconds(), upstream[i].Seconds()/builtIn[i].Seconds())
		}
	}
}

func byNFTables(t *testing.T, all []*discoveryv1.EndpointSlice, changed *discoveryv1.EndpointSlice) (took [2]time.Duration) {
	w := newWorld(t, "")
	p, err := svcproxy.New(svcproxy.Config{Namespace: w.tunnel})
	if err != nil {
		t.Fatal(err)
	}
	apply := func(dp mesh.DataPlane) time.Duration {
		began := time.Now()
		if _, err := p.Apply(t.Context(), dp); err != nil {
			t.Fatal(err)
		}
		return time.Since(began)
	}
	p.Replace(nil)
	apply(dataPlane())
	p.Replace(all)
	took[0] = apply(dataPlane())
	p.Set(changed)
	took[1] = apply(dataPlane())
	return took
}

func byKubeRouter(t *testing.T, all []*discoveryv1.EndpointSlice, changed *discoveryv1.EndpointSlice) (took [2]time.Duration) {
	w := newWorld(t, kerneltest.KubeRouter(t))
	w.start(t)
	w.part.Replace(nil)
	w.serving(t)
	w.part.Replace(all)
	took[0] = w.inIPVS(t)
	w.part.Set(changed)
	took[1] = w.inIPVS(t)
	return took
}
