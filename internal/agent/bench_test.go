package agent

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sdn-tunnel/sdn-tunnel/api/v1alpha1"
	"github.com/sdn-tunnel/sdn-tunnel/internal/mesh"
)

// BenchmarkMemory has an agent know a mesh of so many nodes: the objects as its API gives
// them, the plan, and the state of its peers. B/op is what it goes on holding of that, and
// the time what it takes to read and plan all of it. Services are not in it.
func BenchmarkMemory(b *testing.B) {
	for _, n := range []int{10, 100, 1000, 10000} {
		b.Run(fmt.Sprintf("nodes=%d", n), func(b *testing.B) {
			members, nodes := meshText(b, n)
			var held *knowledge
			before := heap()
			for b.Loop() {
				held = know(b, members, nodes)
			}
			b.ReportMetric(float64(heap()-before), "B/op")
			if peers := len(held.loop.plan.Peers); peers != n-n/10 {
				b.Fatalf("%d peers of %d nodes", peers, n)
			}
		})
	}
}

// heap is how many bytes are in use.
func heap() int64 {
	var s runtime.MemStats
	runtime.GC()
	runtime.GC() // what finalizers have let go of
	runtime.ReadMemStats(&s)
	return int64(s.HeapAlloc)
}

// knowledge is what an agent keeps of the mesh.
type knowledge struct {
	cluster *Cluster
	loop    *Loop
	board   board
}

func know(b *testing.B, members, nodes [][]byte) *knowledge {
	b.Helper()
	k := &knowledge{cluster: &Cluster{
		self: mesh.Ref{Cluster: "c0", Node: "n0"}, port: 5555,
		members: newStore[v1alpha1.LinkedCluster](), nodes: newStore[v1alpha1.TunnelNode](),
	}}
	if err := k.cluster.members.Replace(decoded[v1alpha1.LinkedCluster](b, members), ""); err != nil {
		b.Fatal(err)
	}
	if err := k.cluster.nodes.Replace(decoded[v1alpha1.TunnelNode](b, nodes), ""); err != nil {
		b.Fatal(err)
	}
	k.loop = &Loop{Self: k.cluster.self, Observer: k.cluster, PlanPath: filepath.Join(b.TempDir(), "plan.json"), Log: slog.New(slog.DiscardHandler)}
	k.loop.observed.Store(true)
	k.loop.observe(false)
	if r := k.loop.plan.Refusals; len(r) > 0 {
		b.Fatal(r[0])
	}
	peers := make([]Peer, 0, len(k.loop.plan.Peers))
	for _, p := range k.loop.plan.Peers {
		peers = append(peers, Peer{Ref: p.Ref, Endpoint: fmt.Sprintf("%s:%d", p.Endpoint.Host, p.Endpoint.Port), LastHandshake: time.Now()})
	}
	k.board.setPeers(peers, nil)
	return k
}

func decoded[T any](b *testing.B, texts [][]byte) []any {
	b.Helper()
	all := make([]any, len(texts))
	for i, text := range texts {
		o := new(T)
		if err := json.Unmarshal(text, o); err != nil {
			b.Fatal(err)
		}
		all[i] = o
	}
	return all
}

// meshText has ten members of as many nodes each, as an API server would give them.
func meshText(b *testing.B, n int) (members, nodes [][]byte) {
	b.Helper()
	text := func(o any) []byte {
		t, err := json.Marshal(o)
		if err != nil {
			b.Fatal(err)
		}
		return t
	}
	for c := range 10 {
		members = append(members, text(v1alpha1.LinkedCluster{ObjectMeta: objectMeta(fmt.Sprintf("c%d", c)), Spec: v1alpha1.LinkedClusterSpec{
			PodCIDRs:     []v1alpha1.CIDR{v1alpha1.CIDR(fmt.Sprintf("10.%d.0.0/12", 16*c))},
			ServiceCIDRs: []v1alpha1.CIDR{v1alpha1.CIDR(fmt.Sprintf("172.%d.0.0/16", 16+c))},
			TunnelCIDR:   v1alpha1.CIDR(fmt.Sprintf("100.%d.0.0/20", 64+c)),
		}}))
	}
	for i := range n {
		c, k := i%10, i/10
		var key mesh.Key
		binary.BigEndian.PutUint32(key[4:], uint32(i+1))
		o := v1alpha1.TunnelNode{ObjectMeta: objectMeta(fmt.Sprintf("c%d.n%d", c, k)), Spec: v1alpha1.TunnelNodeSpec{
			Cluster: fmt.Sprintf("c%d", c), Node: fmt.Sprintf("n%d", k), PublicKey: key.String(),
			TunnelAddress: fmt.Sprintf("100.%d.%d.%d", 64+c, k>>8, k&255), NodeAddresses: []string{netip.AddrFrom4([4]byte{192, 168, byte(i >> 8), byte(i)}).String()},
			HostSubnets: []v1alpha1.CIDR{v1alpha1.CIDR(fmt.Sprintf("10.%d.%d.0/24", 16*c+k>>8, k&255))},
			Endpoint:    &v1alpha1.Endpoint{Host: netip.AddrFrom4([4]byte{203, byte(i >> 16), byte(i >> 8), byte(i)}).String(), Port: 5555},
		}}
		nodes = append(nodes, text(o))
	}
	return members, nodes
}

func objectMeta(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Name: name, UID: "01234567-89ab-cdef-0123-456789abcdef", ResourceVersion: "123456", Generation: 2, CreationTimestamp: metav1.Now(),
		Labels: map[string]string{v1alpha1.LabelCluster: name},
	}
}
