package collect

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/sdn-tunnel/sdn-tunnel/internal/apitest"
	"github.com/sdn-tunnel/sdn-tunnel/internal/apply"
	"github.com/sdn-tunnel/sdn-tunnel/internal/diagnose"
	"github.com/sdn-tunnel/sdn-tunnel/internal/mesh"
	"github.com/sdn-tunnel/sdn-tunnel/internal/meshstatus"
)

var (
	east1 = mesh.Ref{Cluster: "east", Node: "east-1"}
	west1 = mesh.Ref{Cluster: "west", Node: "west-1"}
)

// start is an API with a cluster in it.
func start(t *testing.T, cluster string) *apitest.Server {
	t.Helper()
	s := apitest.Start(t, "testdata/sdn.yaml")
	s.Namespaces(t, "sdn-tunnel", "shop")
	file := "testdata/" + cluster + ".yaml"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	objects, err := apply.Read(file, text)
	if err != nil {
		t.Fatal(err)
	}
	c := s.Client(t)
	for _, o := range objects {
		status, there := o.Object["status"]
		if err := c.Create(t.Context(), o); err != nil {
			t.Fatalf("%s: create %s %s: %v", cluster, o.GetKind(), o.GetName(), err)
		}
		if !there {
			continue
		}
		o.Object["status"] = status
		if err := c.Status().Update(t.Context(), o); err != nil {
			t.Fatalf("%s: status of %s %s: %v", cluster, o.GetKind(), o.GetName(), err)
		}
	}
	return s
}

// access opens a cluster the same way each time.
func access(name string, config *rest.Config) meshstatus.Member {
	return meshstatus.Member{Name: name, Open: func(context.Context) (*rest.Config, error) { return config, nil }}
}

func about(members ...meshstatus.Member) Options {
	return Options{Options: meshstatus.Options{Members: members, Namespace: "sdn-tunnel"}, Kubectl: map[string]string{"east": "kubectl --context admin@east"}, Progress: func(string) {}}
}

// TestAPIs of two clusters, and of some that cannot be read.
func TestAPIs(t *testing.T) {
	east, west := start(t, "east"), start(t, "west")
	if err := east.Clientset(t).CoreV1().Pods("sdn-tunnel").Delete(t.Context(), "sdn-tunnel-agent-b", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	away := meshstatus.Member{Name: "away", Open: func(context.Context) (*rest.Config, error) { return nil, errors.New("no way in") }}
	r := &reading{Options: about(access("east", east.Config), access("west", west.Config), access("locked", west.User(t, "nobody")), away), members: map[string]*member{}}
	r.clusters(t.Context())
	t.Run("what a cluster has", func(t *testing.T) { checkEast(t, r.members["east"].found) })
	t.Run("what a cluster has not", func(t *testing.T) {
		want := r.empty("west")
		want.Nodes, want.Forward.Way = r.members["west"].found.Nodes, "manual"
		if diff := cmp.Diff(want, r.members["west"].found, cmp.Comparer(equal)); diff != "" || len(want.Nodes) != 1 {
			t.Error(diff)
		}
	})
	t.Run("what cannot be read", func(t *testing.T) {
		for name, says := range map[string]string{"locked": "forbidden", "away": "no way in"} {
			found := r.members[name].found
			if !strings.Contains(found.Error, says) || len(found.Nodes)+len(found.NodeServices)+len(found.HostSubnets) > 0 {
				t.Errorf("%s: %+v", name, found)
			}
			if _, err := r.member(name); err == nil || !strings.Contains(err.Error(), "cannot be read: "+found.Error) {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
	t.Run("which nodes are doubted", func(t *testing.T) {
		var names []string
		for _, tn := range r.nodes() {
			names = append(names, tn.Name)
		}
		if slices.Sort(names); !slices.Equal(names, []string{"east.east-1", "west.west-1"}) {
			t.Error(names)
		}
	})
	delete(r.members, "locked")
	delete(r.members, "away")
	t.Run("words", func(t *testing.T) { checkWords(t, r) })
	t.Run("asks", func(t *testing.T) { checkAsks(t, r) })
	t.Run("asks for one pod of a service", func(t *testing.T) { checkAsksOfPod(t, r) })
}

func equal(a, b netip.Addr) bool { return a == b }

func checkEast(t *testing.T, found *diagnose.Cluster) {
	if found.Error != "" {
		t.Fatal(found.Error)
	}
	if links := slices.Sorted(maps.Keys(found.Links)); !slices.Equal(links, []string{"east", "west"}) {
		t.Errorf("links %v", links)
	}
	if len(found.Nodes) != 2 || found.Nodes[east1] == nil || found.Nodes[west1] == nil {
		t.Errorf("nodes %v, want its own and the mirror", found.Nodes)
	}
	if a := found.Agents; len(a) != 1 || a["east-1"] == nil || a["east-1"].Name != "sdn-tunnel-agent-a" {
		t.Errorf("agents %v, want no other pod, nor one that is being deleted", a)
	}
	want := about().empty("east")
	want.Kubectl, want.AgentSet = "kubectl --context admin@east", "sdn-tunnel-agent"
	want.Links, want.Nodes, want.Agents, want.AgentsWanted = found.Links, found.Nodes, found.Agents, 2
	want.Controller = diagnose.Workload{Wanted: 1, Ready: 1}
	want.DNS = diagnose.Workload{Wanted: 2, Trouble: "no image"}
	want.PodCIDRs = []netip.Prefix{netip.MustParsePrefix("10.128.0.0/14")}
	want.HostSubnets["east-1"] = netip.MustParsePrefix("10.128.0.0/23")
	want.NodeServices["east-1"] = diagnose.NodeService{Name: "sdn-tunnel-east-1", Type: corev1.ServiceTypeLoadBalancer, Addresses: []string{"192.168.50.201", "lb.example"}, Port: 5555}
	want.Forward = diagnose.Forward{Way: "configmap", Zones: []string{"cluster.east", "west.example"}, To: "172.30.0.9:53", Server: "172.30.0.9", Resolver: netip.MustParseAddr("172.30.0.10")}
	if diff := cmp.Diff(want, found, cmp.Comparer(equal), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
		t.Error(diff)
	}
}

// said is what a question is about, in a line.
func said(q diagnose.Question, podPort uint16) string {
	text := fmt.Sprintf("%s/%d", q.Protocol, q.Port)
	if q.Name != "" {
		text += fmt.Sprintf(" name %s in %q", q.Name, q.Zone)
	}
	if len(q.Aliases) > 0 {
		text += fmt.Sprintf(" aliases %v outside=%v", q.Aliases, q.Outside)
	}
	if q.Host != "" {
		text += " host " + q.Host
	}
	if s := q.Service; s != nil {
		text += fmt.Sprintf(" service %s missing=%v mirrors=%d", s, s.Missing, len(s.Mirrors))
	}
	if p := q.To; p != nil {
		text += fmt.Sprintf(" to %s on %q at %v missing=%v ready=%v policies=%d", p, p.Node, p.Address, p.Missing, p.Ready, len(p.Policies))
		if p.NetID != nil {
			text += fmt.Sprintf(" netid=%d", *p.NetID)
		}
		if p.Trouble != "" {
			text += " trouble: " + p.Trouble
		}
	}
	if podPort != 0 {
		text += fmt.Sprintf(" at %d", podPort)
	}
	return text
}

const web0 = ` to west/shop/web-0 on "west-1" at 10.132.0.6 missing=false ready=true policies=1 netid=77`

// Of the pods of pg, pg-1 is the first one of its slice.
const (
	pg0 = ` to west/shop/pg-0 on "west-1" at 10.132.0.11 missing=false ready=true policies=0 netid=77 at 5432`
	pg1 = ` to west/shop/pg-1 on "west-2" at 10.132.2.10 missing=false ready=true policies=0 netid=77 at 5432`
)

// checkWords: what the words of the command line mean.
func checkWords(t *testing.T, r *reading) {
	for _, tt := range []struct {
		to       string
		port     uint16
		protocol string
		want     string
	}{
		{to: "west/shop/web-0", want: "icmp/0" + web0},
		{to: "west/shop/web-0", port: 8080, want: "tcp/8080" + web0 + " at 8080"},
		{to: "10.132.0.6", want: "icmp/0" + web0},
		{to: "west/shop/web-1", want: `icmp/0 to west/shop/web-1 on "west-1" at invalid IP missing=false ready=false policies=1 netid=77 trouble: ErrImagePull no such image`},
		{to: "west/shop/web", want: "tcp/80 service west/shop/web missing=false mirrors=1" + web0 + " at 8080"},
		{to: "west/shop/web", port: 53, protocol: "udp", want: "udp/53 service west/shop/web missing=false mirrors=1" + web0 + " at 5353"},
		{to: "Web.shop.svc.WEST.example.", want: `tcp/80 name Web.shop.svc.WEST.example in "west.example" service west/shop/web missing=false mirrors=1` + web0 + " at 8080"},
		{to: "db.shop.svc.west.example", want: `icmp/0 name db.shop.svc.west.example in "west.example" service west/shop/db missing=true mirrors=0`},
		{to: "web.shop.svc.clusterset.local", want: `tcp/80 name web.shop.svc.clusterset.local in "clusterset.local" service west/shop/web missing=false mirrors=1` + web0 + " at 8080"},
		{to: "pg.shop.svc.west.example", want: `tcp/5432 name pg.shop.svc.west.example in "west.example" service west/shop/pg missing=false mirrors=0` + pg1},
		{to: "pg-0.pg.shop.svc.west.example", want: `tcp/5432 name pg-0.pg.shop.svc.west.example in "west.example" host pg-0 service west/shop/pg missing=false mirrors=0` + pg0},
		{to: "PG-0.west.pg.shop.svc.clusterset.local", want: `tcp/5432 name PG-0.west.pg.shop.svc.clusterset.local in "clusterset.local" host pg-0 service west/shop/pg missing=false mirrors=0` + pg0},
		{to: "10-132-2-10.pg.shop.svc.west.example", want: `tcp/5432 name 10-132-2-10.pg.shop.svc.west.example in "west.example" host 10-132-2-10 service west/shop/pg missing=false mirrors=0 to west/shop/10-132-2-10 on "" at invalid IP missing=true ready=false policies=0`},
		{to: "10-132-0-6.web.shop.svc.west.example", want: `tcp/80 name 10-132-0-6.web.shop.svc.west.example in "west.example" host 10-132-0-6 service west/shop/web missing=false mirrors=1` + web0 + " at 8080"},
		{to: "_sql._tcp.pg.shop.svc.west.example", want: `tcp/5432 name _sql._tcp.pg.shop.svc.west.example in "west.example" service west/shop/pg missing=false mirrors=0` + pg1},
		{to: "pg-7.pg.shop.svc.west.example", want: `tcp/5432 name pg-7.pg.shop.svc.west.example in "west.example" host pg-7 service west/shop/pg missing=false mirrors=0 to west/shop/pg-7 on "" at invalid IP missing=true ready=false policies=0`},
		{to: "web.shop.svc.cluster.local", want: `icmp/0 name web.shop.svc.cluster.local in "cluster.local" service east/shop/web missing=true mirrors=0`},
		{to: "west/shop/alias", want: `tcp/5432 aliases [there.shop.svc.cluster.local pg-0.west.pg.shop.svc.clusterset.local] outside=false host pg-0 service west/shop/pg missing=false mirrors=0` + pg0},
		{to: "west/shop/ring", want: `icmp/0 aliases ` + fmt.Sprint(slices.Repeat([]string{"ring.shop.svc.west.example"}, maxAliases)) + ` outside=true service west/shop/ring missing=false mirrors=0`},
		{to: "out.shop.svc.west.example", want: `icmp/0 name out.shop.svc.west.example in "west.example" aliases [web.example.org] outside=true service west/shop/out missing=false mirrors=0`},
		{to: "shop.example", want: `icmp/0 name shop.example in ""`},
		{to: "west/shop/none", want: `icmp/0 to west/shop/none on "" at invalid IP missing=true ready=false policies=0`},
	} {
		r.Args, r.Port, r.Protocol = []string{"east/shop/front", tt.to}, tt.port, tt.protocol
		q, podPort, err := r.question(t.Context())
		if err != nil {
			t.Errorf("%s: %v", tt.to, err)
			continue
		}
		if got := said(q, podPort); got != tt.want || q.From.String() != "east/shop/front" {
			t.Errorf("%s: from %s\n%s, want\n%s", tt.to, q.From, got, tt.want)
		}
	}
	r.Port, r.Protocol = 0, ""
	for _, to := range []string{"192.168.60.11", "10.132.0.99", "west/web", "north/shop/web"} { // the first is a node's, and not the pod's alone
		r.Args = []string{"east/shop/front", to}
		if _, _, err := r.question(t.Context()); !errors.Is(err, ErrUsage) {
			t.Errorf("%s: %v", to, err)
		}
	}
}

// checkAsks: both nodes are asked for each other and for the same packets, each from its side.
func checkAsks(t *testing.T, r *reading) {
	r.Args = []string{"east/shop/front", "web.shop.svc.west.example"}
	q, podPort, err := r.question(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	asks := r.asks(&q, podPort)
	near, far := asks[east1], asks[west1]
	addr := netip.MustParseAddr
	front, web := addr("10.128.0.8"), addr("10.132.0.6")
	if len(asks) != 2 || len(near.Peers) != 1 || near.Peers[0].Name != "west.west-1" || len(far.Peers) != 1 || far.Peers[0].Name != "east.east-1" {
		t.Fatalf("%+v", asks)
	}
	if want := []diagnose.NameAsk{{From: front, Server: netip.MustParseAddrPort("172.30.0.10:53"), Name: "web.shop.svc.west.example"}}; !slices.Equal(near.Names, want) || len(far.Names) > 0 {
		t.Errorf("names %v, %v", near.Names, far.Names)
	}
	vip := diagnose.Target{Address: addr("172.30.4.5"), Protocol: "tcp", Port: 80}
	if !slices.Equal(near.Services, []diagnose.Target{vip}) || !slices.Equal(near.Probes, []diagnose.Probe{{From: front, To: vip}}) || len(far.Probes) > 0 {
		t.Errorf("services %v, probes %v, %v", near.Services, near.Probes, far.Probes)
	}
	if want := []netip.Addr{front, web}; !slices.Equal(near.Routes, want) || !slices.Equal(far.Routes, want) {
		t.Errorf("routes %v, %v", near.Routes, far.Routes)
	}
	there := diagnose.Packet{Name: diagnose.PacketOut, From: diagnose.FromPod, Src: front, Dst: web, Protocol: "tcp", SrcPort: clientPort, DstPort: 8080}
	back := diagnose.Packet{Name: diagnose.PacketReplyOut, From: diagnose.FromPod, Src: web, Dst: front, Protocol: "tcp", SrcPort: 8080, DstPort: clientPort, Reply: true}
	in, home := there, back
	in.Name, in.From, home.Name, home.From = diagnose.PacketIn, diagnose.FromTunnel, diagnose.PacketReplyIn, diagnose.FromTunnel
	if !slices.Equal(near.Packets, []diagnose.Packet{there, home}) || !slices.Equal(far.Packets, []diagnose.Packet{in, back}) {
		t.Errorf("packets %+v\n%+v", near.Packets, far.Packets)
	}
}

// checkAsksOfPod: the pod that a name leads to is the one that is probed, on its own node, and
// nothing but names is asked for what is outside the mesh.
func checkAsksOfPod(t *testing.T, r *reading) {
	asks := func(to string) map[mesh.Ref]diagnose.Ask {
		r.Args = []string{"east/shop/front", to}
		q, podPort, err := r.question(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return r.asks(&q, podPort)
	}
	front, pg := netip.MustParseAddr("10.128.0.8"), diagnose.Target{Address: netip.MustParseAddr("10.132.0.11"), Protocol: "tcp", Port: 5432}
	got := asks("pg-0.west.pg.shop.svc.clusterset.local")
	if _, there := got[west1]; len(got) != 2 || !there || !slices.Equal(got[east1].Probes, []diagnose.Probe{{From: front, To: pg}}) || len(got[east1].Services) > 0 {
		t.Errorf("%+v", got)
	}
	var names []string
	got = asks("out.shop.svc.west.example")
	for _, n := range got[east1].Names {
		names = append(names, n.Name)
	}
	if len(got) != 1 || len(got[east1].Probes) > 0 || !slices.Equal(names, []string{"out.shop.svc.west.example", "web.example.org"}) {
		t.Errorf("%v of %+v", names, got)
	}
	if got = asks("west/shop/none"); len(got) != 1 || len(got[east1].Probes)+len(got[east1].Peers) > 0 {
		t.Errorf("a pod that is not there: %+v", got)
	}
	r.Args = []string{"east/shop/none", "west/shop/web-0"}
	if q, podPort, err := r.question(t.Context()); err != nil || !q.From.Missing || len(r.asks(&q, podPort)) > 0 {
		t.Errorf("a source that is not there: %+v, %v", q, err)
	}
}
