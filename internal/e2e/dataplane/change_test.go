package dataplane

import (
	"crypto/rand"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/sdn-tunnel/sdn-tunnel/internal/mesh"
)

// testEndpoint gives a node another address on the underlay, and back.
func testEndpoint(t *testing.T, w *world) {
	n := w.node("west-1")
	w.sysctl(n.network(), "net/ipv4/conf/eth0/promote_secondaries", "1")
	for _, ip := range []netip.Addr{host(n.cluster.underlay, 31), n.ip} {
		east, west := w.pod("east-1", open), w.pod("west-1", open)
		p := ping(t, east.network(), east.ip, west.ip, pace)
		p.awaitAnswers(t, 3)
		began := time.Now()
		w.ip(n.name, []string{
			fmt.Sprintf("addr add %s/24 dev eth0", ip), fmt.Sprintf("addr del %s/24 dev eth0", n.ip),
			fmt.Sprintf("route replace default via %s", host(n.cluster.underlay, 1)),
		})
		n.ip = ip
		said := time.Now()
		w.sayAll()
		e := w.node("east-1")
		var set time.Duration
		w.eventually(func() error {
			set = time.Since(said) // when it is asked for: the asking takes its time, too
			endpoints := e.sh("nsenter --net=/run/netns/sdn-tunnel wg show sdntun-wg endpoints")
			if want := fmt.Sprintf("%s\t%s:5555", n.key, ip); !strings.Contains(endpoints, want) {
				return fmt.Errorf("east-1 has the endpoints\n%s\nwant %q", endpoints, want)
			}
			return nil
		})
		p.awaitAnswers(t, 3)
		r := p.end()
		t.Logf("west-1 is at %v: set after %.2f s; %v", ip, set.Seconds(), r)
		if set > repairTime || r.outage > repairTime+said.Sub(began) {
			t.Errorf("the new endpoint was set after %v, the outage was %v; want at most %v", set, r.outage, repairTime)
		}
	}
}

// churned nodes join and leave, each when so many others are there that join and leave too.
const churned, overlapping = 20, 3

// testChurn has nodes join and leave a cluster as an autoscaler does, while those that stay
// talk with each other, and with nodes of the same cluster.
func testChurn(t *testing.T, w *world) {
	n := w.node("east-1")
	before := n.snapshot()
	var slowest time.Duration
	nothingLost(t, w.underPings(t, func() {
		for i := range churned + overlapping {
			v := w.view()
			here := addNodes(&v, w.node("west-1").cluster, max(0, i-overlapping+1), min(i, churned-1))
			said := time.Now()
			for _, o := range w.nodes {
				o.say(v)
			}
			p := n.await("those that are there are peers", said, func(p pass) bool { return p.Peers == n.peers()+here && len(p.Errors) == 0 })
			slowest = max(slowest, p.Time.Sub(said))
		}
	}))
	t.Logf("%d nodes joined and left; each step was applied within %.2f s", churned, slowest.Seconds())
	w.eventually(func() error { return differs(n.snapshot(), before) })
}

// addNodes adds nodes to a cluster, the first to the last of those that come and go, and
// tells how many.
func addNodes(v *mesh.View, c *cluster, first, last int) (added int) {
	for i := first; i <= last; i++ {
		v.Nodes = append(v.Nodes, mesh.Node{
			Ref: mesh.Ref{Cluster: c.name, Node: fmt.Sprintf("auto-%d", i)}, Since: time.Unix(2, 0), PublicKey: mesh.Key{byte(i + 1), 1, 2, 3},
			Endpoint: mesh.Endpoint{Host: host(c.underlay, 100+i).String(), Port: 5555}, ListenPort: 5555,
			HostSubnets: []netip.Prefix{netip.PrefixFrom(host(c.pods, (100+i)*512), 23)}, TunnelAddress: host(c.tunnel, 100+i),
		})
		added++
	}
	return added
}

// many is how many nodes and pod networks are added at once.
const many = 500

// testMany adds a cluster of many nodes, each with a pod network of its own, in one go,
// and takes it away, while other traffic passes.
func testMany(t *testing.T, w *world) {
	n := w.node("east-1")
	before := n.snapshot()
	large := w.view()
	addLarge(t, &large)
	nothingLost(t, w.underPings(t, func() {
		said := time.Now()
		n.say(large)
		p := n.await("all peers are applied", said, func(p pass) bool { return p.Peers == n.peers()+many && len(p.Errors) == 0 })
		t.Logf("%d peers and %d remote networks at once: applied after %.1f s", many, many, p.Time.Sub(said).Seconds())
	}))
	flows := strings.Count(n.sh("ovs-ofctl -OOpenFlow13 --no-stats dump-flows br0 %s", ourFlows), "nw_dst=10.14")
	peers := strings.Count(n.sh("nsenter --net=/run/netns/sdn-tunnel wg show sdntun-wg allowed-ips"), "\n")
	if flows != many || peers != n.peers()+many {
		t.Errorf("%d flows to the large cluster, %d peers; want %d and %d", flows, peers, many, n.peers()+many)
	}
	said := time.Now()
	n.say(w.view())
	p := n.await("all peers are gone", said, func(p pass) bool { return p.Peers == n.peers() && len(p.Errors) == 0 })
	t.Logf("taken away after %.1f s", p.Time.Sub(said).Seconds())
	w.eventually(func() error { return differs(n.snapshot(), before) })
}

// addLarge adds the cluster to a view.
func addLarge(t *testing.T, v *mesh.View) {
	t.Helper()
	c := mesh.Cluster{
		Name: "large", ServiceCIDRs: []netip.Prefix{prefix("172.28.0.0/16")}, TunnelCIDR: prefix("100.127.16.0/22"), Topology: mesh.Mesh,
	}
	for i := range many {
		pods := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 140 + byte(i/250), byte(i % 250), 0}), 24)
		c.PodCIDRs = append(c.PodCIDRs, pods)
		node := mesh.Node{
			Ref: mesh.Ref{Cluster: c.Name, Node: fmt.Sprintf("large-%d", i)}, Since: time.Unix(2, 0),
			Endpoint:   mesh.Endpoint{Host: netip.AddrFrom4([4]byte{198, 18, byte(i / 250), byte(i%250 + 1)}).String(), Port: 5555},
			ListenPort: 5555, HostSubnets: []netip.Prefix{pods}, TunnelAddress: host(c.TunnelCIDR, i+1),
		}
		if _, err := rand.Read(node.PublicKey[:]); err != nil {
			t.Fatal(err)
		}
		v.Nodes = append(v.Nodes, node)
	}
	v.Clusters = append(v.Clusters, c)
}
