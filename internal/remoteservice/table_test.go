package remoteservice

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/sdn-tunnel/sdn-tunnel/internal/mesh"
)

func west() mesh.RemoteCluster {
	return mesh.RemoteCluster{Name: "west",
		Pods: []netip.Prefix{netip.MustParsePrefix("10.132.0.0/14")}, Services: []netip.Prefix{netip.MustParsePrefix("172.31.0.0/16")}}
}

func south() mesh.RemoteCluster {
	return mesh.RemoteCluster{Name: "south",
		Pods: []netip.Prefix{netip.MustParsePrefix("10.136.0.0/14")}, Services: []netip.Prefix{netip.MustParsePrefix("172.29.0.0/16")}}
}

var webKey = Key{netip.MustParseAddr("172.31.4.5"), corev1.ProtocolTCP, 80}

// with gives a table of two members with these slices.
func with(all ...*discoveryv1.EndpointSlice) *Table {
	t := NewTable()
	t.Declare([]mesh.RemoteCluster{west(), south()})
	t.Replace(all)
	return t
}

// show is the table in lines, short: keys with what is behind them, then refusals.
func show(t *Table) string {
	var lines []string
	for k, b := range t.All() {
		line := fmt.Sprintf("%v %s %d %v:", k.Addr, k.Protocol, k.Port, b.Service)
		for _, e := range b.Serve {
			if slices.Contains(b.Use, e) {
				line += fmt.Sprintf(" %v", e)
			} else {
				line += fmt.Sprintf(" (%v)", e)
			}
		}
		if b.Affinity > 0 {
			line += fmt.Sprintf(" affinity %d", b.Affinity)
		}
		lines = append(lines, line)
	}
	slices.Sort(lines)
	for _, r := range t.Refusals() {
		lines = append(lines, fmt.Sprintf("! %s %s %s", r.Ref.Cluster, r.Field, r.Reason))
	}
	return strings.Join(lines, "\n")
}

func of(o *discoveryv1.EndpointSlice, i Identity) *discoveryv1.EndpointSlice {
	o.Labels = i.Labels("derived-2")
	return o
}

func TestTable(t *testing.T) {
	const head = "172.31.4.5 TCP 80 web.shop.west:"
	udp, dns, n53 := corev1.ProtocolUDP, "dns", int32(5353)
	two := slice("a", `{"ips":["172.31.4.5"],"ports":[{"name":"http","protocol":"TCP","port":80},{"name":"dns","protocol":"UDP","port":53}],"affinity":600}`, at("10.132.0.5"))
	two.Ports = append(two.Ports, discoveryv1.EndpointPort{Name: &dns, Protocol: &udp, Port: &n53})
	other := slice("b", web, at("10.132.0.9"))
	other.Ports[0].Protocol = &udp
	for name, tt := range map[string]struct {
		slices []*discoveryv1.EndpointSlice
		want   string
	}{
		"nothing":        {nil, ""},
		"no endpoints":   {[]*discoveryv1.EndpointSlice{slice("a", web)}, head},
		"ready":          {[]*discoveryv1.EndpointSlice{slice("a", web, at("10.132.0.6"), at("10.132.0.5"))}, head + " 10.132.0.5:8080 10.132.0.6:8080"},
		"not ready":      {[]*discoveryv1.EndpointSlice{slice("a", web, at("10.132.0.5", false))}, head},
		"terminating":    {[]*discoveryv1.EndpointSlice{slice("a", web, at("10.132.0.5"), at("10.132.0.6", false, true, true))}, head + " 10.132.0.5:8080 (10.132.0.6:8080)"},
		"only those":     {[]*discoveryv1.EndpointSlice{slice("a", web, at("10.132.0.6", false, true, true), at("10.132.0.7", false, false, true))}, head + " 10.132.0.6:8080"},
		"several slices": {[]*discoveryv1.EndpointSlice{slice("a", web, at("10.132.0.5"), at("10.132.0.6")), slice("b", web, at("10.132.0.6", false, true, true), at("10.132.0.7"))}, head + " 10.132.0.5:8080 10.132.0.6:8080 10.132.0.7:8080"},
		"several ports":  {[]*discoveryv1.EndpointSlice{two}, head + " 10.132.0.5:8080 affinity 600\n172.31.4.5 UDP 53 web.shop.west: 10.132.0.5:5353 affinity 600"},
		"other protocol": {[]*discoveryv1.EndpointSlice{other}, head},
		"headless":       {[]*discoveryv1.EndpointSlice{slice("a", `{"ips":[]}`, at("10.132.0.5"))}, ""},
		"both families": {[]*discoveryv1.EndpointSlice{slice("a", `{"ips":["172.31.4.5","fd01::5"],"ports":[{"name":"http","protocol":"TCP","port":80}]}`, at("10.132.0.5"))},
			head + " 10.132.0.5:8080\n! west EndpointSlice a OutsideDeclared"},
		"unknown member": {[]*discoveryv1.EndpointSlice{slice("a", web, at("10.132.0.5")), of(slice("b", web, at("10.132.0.6")), Identity{"north", "shop", "web"})},
			head + " 10.132.0.5:8080\n! north EndpointSlice b UnknownCluster"},
		"address of another member": {[]*discoveryv1.EndpointSlice{of(slice("a", web, at("10.136.0.5")), Identity{"south", "shop", "web"})},
			"! south EndpointSlice a OutsideDeclared"},
		"endpoint of another member": {[]*discoveryv1.EndpointSlice{slice("a", web, at("10.132.0.5"), at("10.136.0.5"), at("192.168.60.11"))},
			head + " 10.132.0.5:8080\n! west EndpointSlice a OutsideDeclared"},
		"malformed": {[]*discoveryv1.EndpointSlice{slice("a", web, at("10.132.0.5")), slice("b", `{`, at("10.132.0.6"))},
			head + " 10.132.0.5:8080\n! west EndpointSlice b Malformed"},
		"two services at one address": {[]*discoveryv1.EndpointSlice{of(slice("a", web, at("10.132.0.6")), Identity{"west", "shop", "web2"}), slice("b", web, at("10.132.0.5"))},
			head + " 10.132.0.5:8080\n! west EndpointSlice a Overlap"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := show(with(tt.slices...)); got != tt.want {
				t.Errorf("got\n%s\nwant\n%s", got, tt.want)
			}
		})
	}
}

// TestChanges: each change tells the keys behind which something changed, and no others.
func TestChanges(t *testing.T) {
	table := with(slice("a", web, at("10.132.0.5")), slice("b", web))
	says := func(what string, got []Key, want ...Key) {
		t.Helper()
		if !slices.Equal(got, want) {
			t.Errorf("%s changed %v, want %v", what, got, want)
		}
	}
	says("the same again", table.Set(slice("a", web, at("10.132.0.5"))))
	says("an endpoint that is not ready", table.Set(slice("a", web, at("10.132.0.5"), at("10.132.0.6", false))))
	says("one more endpoint", table.Set(slice("b", web, at("10.132.0.6"))), webKey)
	says("the networks as before", table.Declare([]mesh.RemoteCluster{south(), west()}))
	says("the member gone", table.Declare([]mesh.RemoteCluster{south()}), webKey)
	if _, ok := table.Get(webKey); ok || len(table.Refusals()) != 2 {
		t.Errorf("a service of a member that is gone is there, or not refused: %v", table.Refusals())
	}
	says("the member back", table.Declare([]mesh.RemoteCluster{west()}), webKey)
	says("another slice gone", table.Delete("none"))
	says("a slice gone", table.Delete("a"), webKey)
	moved := Key{netip.MustParseAddr("172.31.4.6"), corev1.ProtocolTCP, 80}
	says("another address", table.Set(slice("b", strings.ReplaceAll(web, ".4.5", ".4.6"))), webKey, moved)
	says("malformed", table.Set(slice("b", "")), moved)
	says("good again", table.Replace([]*discoveryv1.EndpointSlice{slice("b", web)}), webKey)
	says("all gone", table.Replace(nil), webKey)
	if got := show(table); got != "" {
		t.Errorf("an empty table shows\n%s", got)
	}
}

// random makes a slice of one of a few services, good or not.
func random(r *rand.Rand, name string) *discoveryv1.EndpointSlice {
	annotation := web
	if r.IntN(10) == 0 {
		annotation = []string{"", `{"ips":["172.31.4.5"]}`, `{"ips":["10.0.0.1"],"ports":[{"name":"http","protocol":"TCP","port":80}]}`,
			`{"ips":["172.31.4.5"],"ports":[{"name":"http","protocol":"TCP","port":80}],"affinity":60}`}[r.IntN(4)]
	}
	o := slice(name, strings.ReplaceAll(annotation, ".4.5", fmt.Sprintf(".4.%d", r.IntN(3))))
	for range r.IntN(4) {
		o.Endpoints = append(o.Endpoints, at(fmt.Sprintf("10.%d.0.%d", 131+r.IntN(3), r.IntN(4)), r.IntN(2) == 0, r.IntN(2) == 0, r.IntN(2) == 0))
	}
	return of(o, Identity{[]string{"west", "south", "west"}[r.IntN(3)], "shop", fmt.Sprintf("web%d", r.IntN(3))})
}

// TestIncremental: after any changes the table is the one that the slices make from
// nothing, and each change told exactly the keys at which it made a difference.
func TestIncremental(t *testing.T) {
	for seed := range uint64(200) {
		incremental(t, rand.New(rand.NewPCG(seed, 1)), 40)
	}
}

func FuzzIncremental(f *testing.F) {
	f.Add(uint64(1), uint8(10))
	f.Fuzz(func(t *testing.T, seed uint64, steps uint8) {
		incremental(t, rand.New(rand.NewPCG(seed, 2)), int(steps))
	})
}

func incremental(t *testing.T, r *rand.Rand, steps int) {
	t.Helper()
	table, have := NewTable(), map[string]*discoveryv1.EndpointSlice{}
	var members []mesh.RemoteCluster
	for range steps {
		before := maps.Collect(table.All())
		var changed []Key
		name := fmt.Sprintf("s%d", r.IntN(6))
		switch r.IntN(8) {
		case 0:
			members = [][]mesh.RemoteCluster{nil, {west()}, {west(), south()}}[r.IntN(3)]
			changed = table.Declare(members)
		case 1:
			delete(have, name)
			changed = table.Delete(name)
		case 2:
			have = map[string]*discoveryv1.EndpointSlice{name: random(r, name), "t": random(r, "t")}
			changed = table.Replace(slices.Collect(maps.Values(have)))
		default:
			have[name] = random(r, name)
			changed = table.Set(have[name])
		}
		after := maps.Collect(table.All())
		if want := differ(before, after); !slices.Equal(changed, want) {
			t.Fatalf("told %v, changed %v", changed, want)
		}
	}
	fresh := NewTable()
	fresh.Declare(members)
	for _, o := range have {
		fresh.Set(o)
	}
	if got, want := show(table), show(fresh); got != want {
		t.Fatalf("got\n%s\nwant\n%s", got, want)
	}
	declaredOnly(t, table, members)
}

func differ(a, b map[Key]Backends) (keys []Key) {
	for k := range a {
		if !reflect.DeepEqual(a[k], b[k]) && !a[k].equal(b[k]) {
			keys = append(keys, k)
		}
	}
	for k := range b {
		if _, ok := a[k]; !ok {
			keys = append(keys, k)
		}
	}
	slices.SortFunc(keys, Key.Compare)
	return keys
}

// declaredOnly: nothing that its member does not declare is ever in the table.
func declaredOnly(t *testing.T, table *Table, members []mesh.RemoteCluster) {
	t.Helper()
	for k, b := range table.All() {
		i := slices.IndexFunc(members, func(m mesh.RemoteCluster) bool { return m.Name == b.Service.Cluster })
		if i < 0 || !Within(members[i].Services, k.Addr) {
			t.Fatalf("%v has %v", b.Service, k)
		}
		for _, e := range b.Serve {
			if !Within(members[i].Pods, e.Addr()) {
				t.Fatalf("%v has endpoint %v", b.Service, e)
			}
		}
	}
}

// BenchmarkSet changes one endpoint of one service; n is how many services there are.
func BenchmarkSet(b *testing.B) {
	for _, n := range []int{100, 1000, 10000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			table := with()
			for i := range n {
				vip := fmt.Sprintf("172.31.%d.%d", i>>8, i&255)
				o := slice(fmt.Sprint(i), strings.ReplaceAll(web, "172.31.4.5", vip), at("10.132.0.5"), at("10.132.0.6"))
				table.Set(of(o, Identity{"west", "shop", fmt.Sprint(i)}))
			}
			turns := [2]*discoveryv1.EndpointSlice{}
			for i, address := range []string{"10.132.0.7", "10.132.0.8"} {
				turns[i] = of(slice("7", strings.ReplaceAll(web, "172.31.4.5", "172.31.0.7"), at("10.132.0.5"), at(address)), Identity{"west", "shop", "7"})
			}
			i := 0
			for b.Loop() {
				if i++; len(table.Set(turns[i%2])) != 1 {
					b.Fatal("not one key changed")
				}
			}
		})
	}
}

// TestManyClaims: of a key that thousands of services claim, a change costs no more than
// looking at them; all but the first of them are refused when that is asked for.
func TestManyClaims(t *testing.T) {
	const many = 2000
	all := make([]*discoveryv1.EndpointSlice, many)
	for i := range all {
		name := fmt.Sprintf("web-%04d", i)
		all[i] = of(slice(name, web, at("10.132.0.5")), Identity{"west", "shop", name})
	}
	table := with(all...)
	if b, _ := table.Get(webKey); b.Service.Name != "web-0000" || len(b.Use) != 1 || len(table.Refusals()) != many-1 {
		t.Errorf("%v has the key, %d are refused", b.Service, len(table.Refusals()))
	}
	var changed []Key
	made := testing.AllocsPerRun(10, func() { changed = table.Set(all[many/2]) })
	if len(changed) != 0 || made > many/4 {
		t.Errorf("a change of a claim that is refused makes %.0f objects and changes %v", made, changed)
	}
}
