package meshplan

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"github.com/sdn-tunnel/sdn-tunnel/internal/golden"
)

func pfx(ss ...string) []netip.Prefix {
	var ps []netip.Prefix
	for _, s := range ss {
		ps = append(ps, netip.MustParsePrefix(s))
	}
	return ps
}

func addrs(ss ...string) []netip.Addr {
	var as []netip.Addr
	for _, s := range ss {
		as = append(as, netip.MustParseAddr(s))
	}
	return as
}

// cluster makes the facts of the i-th cluster with two nodes.
func cluster(name string, i int) Facts {
	f := Facts{Name: name, Server: fmt.Sprintf("https://api.%s.example.org:6443", name), Major: 1, Minor: 30,
		Platform: OpenShift, NetworkType: "OpenShiftSDN",
		PodCIDRs: pfx(fmt.Sprintf("10.%d.0.0/14", 128+4*i)), ServiceCIDRs: pfx(fmt.Sprintf("172.%d.0.0/16", 30-i))}
	for k := range 2 {
		f.Nodes = append(f.Nodes, Node{Name: fmt.Sprintf("%s-%d", name, k+1), Ready: true, Schedulable: true,
			InternalIPs: addrs(fmt.Sprintf("192.168.%d.%d", 50+10*i, 11+k)),
			HostSubnets: pfx(fmt.Sprintf("10.%d.%d.0/23", 128+4*i, 2*k))})
	}
	return f
}

func two() Input { return Input{Clusters: []Facts{cluster("east", 0), cluster("west", 1)}} }

func TestMakeGolden(t *testing.T) {
	static := two()
	static.Options = Options{ServiceType: Static, TunnelPort: 51820, DNSZone: "{cluster}.mesh.example.org",
		StaticEndpoints: map[string]string{"east-1": "203.0.113.1", "east-2": "203.0.113.1:51821",
			"west.west-1": "w1.example.org", "west-2": "203.0.113.4"},
		ExportPolicy: map[string]string{"east": "", "west": "exported"}}
	ports := two()
	ports.Options = Options{ServiceType: NodePort, NodePort: 31000}
	ports.Clusters = append(ports.Clusters, cluster("north", 2))
	ports.Clusters[0].TunnelCIDRs = map[string]netip.Prefix{"east": pfx("100.127.8.0/22")[0], "gone": pfx("100.127.0.0/22")[0]}
	for name, in := range map[string]Input{"two": two(), "static": static, "node-ports-kept": ports} {
		t.Run(name, func(t *testing.T) {
			plan, conflicts := Make(in)
			if len(conflicts) > 0 {
				t.Fatal(conflicts)
			}
			got, err := json.MarshalIndent(plan, "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			golden.Check(t, name+".json", string(got)+"\n")
			var back Plan
			if err := json.Unmarshal(got, &back); err != nil || !reflect.DeepEqual(back.Clusters[0].TunnelCIDR, plan.Clusters[0].TunnelCIDR) {
				t.Errorf("not read back: %v", err)
			}
		})
	}
}

// Each case spoils one thing; want are the conflicts as "cluster field", all of them.
func TestConflicts(t *testing.T) {
	tests := map[string]struct {
		change func(*Input)
		want   string
	}{
		"none":                       {func(*Input) {}, ""},
		"no clusters":                {func(in *Input) { in.Clusters = nil }, " clusters"},
		"invalid name":               {func(in *Input) { in.Clusters[1].Name = "West_1" }, "West_1 name"},
		"name too long":              {func(in *Input) { in.Clusters[1].Name = strings.Repeat("w", 64) }, strings.Repeat("w", 64) + " name"},
		"duplicate name":             {func(in *Input) { in.Clusters[1].Name = "east" }, "east name"},
		"the same API twice":         {func(in *Input) { in.Clusters[1].Server = in.Clusters[0].Server }, "west server"},
		"plain HTTP":                 {func(in *Input) { in.Clusters[1].Server = "http://west" }, "west server"},
		"Kubernetes 1.23":            {func(in *Input) { in.Clusters[0].Minor = 23 }, "east version"},
		"Kubernetes unknown":         {func(in *Input) { in.Clusters[0].Major, in.Clusters[0].Minor = 0, 0 }, "east version"},
		"OVN":                        {func(in *Input) { in.Clusters[0].NetworkType = "OVNKubernetes" }, "east networkType"},
		"no network type":            {func(in *Input) { in.Clusters[0].NetworkType = "" }, "east networkType"},
		"host attachment on the SDN": {func(in *Input) { in.Clusters[0].Attachment = AttachHost }, "east attachment"},
		"unknown attachment":         {func(in *Input) { in.Clusters[0].Attachment = "magic" }, "east attachment"},
		"no nodes":                   {func(in *Input) { in.Clusters[1].Nodes = nil }, "west nodes"},
		"node twice":                 {func(in *Input) { in.Clusters[1].Nodes[1].Name = "west-1" }, "west nodes[west-1]"},
		"node without address":       {func(in *Input) { in.Clusters[1].Nodes[1].InternalIPs = nil }, "west nodes[west-2].internalIPs"},
		"no pod network": {func(in *Input) {
			in.Clusters[1].PodCIDRs = nil
			in.Clusters[1].Nodes[0].HostSubnets = nil
			in.Clusters[1].Nodes[1].HostSubnets = nil
		}, "west podCIDRs"},
		"host bits": {func(in *Input) { in.Clusters[1].ServiceCIDRs[0] = netip.MustParsePrefix("172.29.0.1/16") }, "west serviceCIDRs[0]"},
		"no subnets": {func(in *Input) {
			for i := range in.Clusters[1].Nodes {
				in.Clusters[1].Nodes[i].HostSubnets = nil
			}
		}, "west nodes"},
		"subnet outside":            {func(in *Input) { in.Clusters[1].Nodes[0].HostSubnets = pfx("10.200.0.0/23") }, "west nodes[west-1].hostSubnets[0]"},
		"subnets overlap":           {func(in *Input) { in.Clusters[1].Nodes[1].HostSubnets = pfx("10.132.1.0/24") }, "west nodes[west-2].hostSubnets[0]"},
		"pods overlap":              {func(in *Input) { in.Clusters[1].PodCIDRs = pfx("10.128.0.0/9") }, "west podCIDRs[0]"},
		"services overlap":          {func(in *Input) { in.Clusters[1].ServiceCIDRs = pfx("172.30.0.0/16") }, "west serviceCIDRs[0]"},
		"services over pods":        {func(in *Input) { in.Clusters[1].ServiceCIDRs = pfx("10.128.0.0/16") }, "west serviceCIDRs[0]"},
		"own services over pods":    {func(in *Input) { in.Clusters[1].ServiceCIDRs = pfx("10.132.64.0/18") }, "west serviceCIDRs[0]"},
		"pods over another's nodes": {func(in *Input) { in.Clusters[0].Nodes[0].InternalIPs = addrs("10.134.1.1") }, "west podCIDRs[0]"},
		"pods over own nodes":       {func(in *Input) { in.Clusters[0].Nodes[0].ExternalIPs = addrs("10.131.1.1") }, "east podCIDRs[0]"},
		"services over nodes":       {func(in *Input) { in.Clusters[0].ServiceCIDRs = pfx("192.168.60.0/24") }, "east serviceCIDRs[0]"},
		"pool over pods":            {func(in *Input) { in.Options.TunnelPool = pfx("10.132.0.0/16")[0] }, "west podCIDRs[0]"},
		"pool over nodes":           {func(in *Input) { in.Options.TunnelPool = pfx("192.168.0.0/16")[0] }, "east nodes, west nodes"},
		"pool too small":            {func(in *Input) { in.Options.TunnelPool = pfx("100.127.0.0/30")[0] }, " tunnel_pool"},
		"pool of IPv6":              {func(in *Input) { in.Options.TunnelPool = pfx("fd00::/64")[0] }, " tunnel_pool"},
		"globals of another length": {func(in *Input) { in.Clusters[1].GlobalPodCIDRs = pfx("10.200.0.0/16") }, "west globalPodCIDRs"},
		"tunnel on the VXLAN port":  {func(in *Input) { in.Options.TunnelPort = 4789 }, " tunnel_port"},
		"tunnel port taken":         {func(in *Input) { in.Clusters[0].Nodes[1].UDPPorts = []uint16{53, 5555} }, "east nodes[east-2].udpPorts"},
		"unknown service type":      {func(in *Input) { in.Options.ServiceType = "Ingress" }, " service_type"},
		"node port out of range":    {func(in *Input) { in.Options.ServiceType, in.Options.NodePort = NodePort, 5555 }, "east node_port, west node_port"},
		"node ports past the end":   {func(in *Input) { in.Options.ServiceType, in.Options.NodePort = NodePort, 32767 }, "east node_port, west node_port"},
		"empty node port range":     {func(in *Input) { in.Options.NodePortFirst, in.Options.NodePortLast = 2, 1 }, " node_port_range"},
		"one zone for all":          {func(in *Input) { in.Options.DNSZone = "cluster.local" }, " dns_zone"},
		"unknown policy":            {func(in *Input) { in.Options.ExportPolicy = map[string]string{"west": "some", "east": "All"} }, "west export_policy"},
		"bad zone":                  {func(in *Input) { in.Options.DNSZone = "{cluster}..x" }, " dns_zone"},
		"nodes share an address": {func(in *Input) {
			in.Options.ServiceType = HostNetwork
			in.Clusters[1].Nodes[0].ExternalIPs = addrs("192.168.50.11")
		}, "west nodes[west-1].endpoint"},
		"tunnel CIDRs differ": {func(in *Input) {
			in.Clusters[0].TunnelCIDRs = map[string]netip.Prefix{"west": pfx("100.127.0.0/22")[0]}
			in.Clusters[1].TunnelCIDRs = map[string]netip.Prefix{"west": pfx("100.127.4.0/22")[0]}
		}, "east tunnelCIDRs[west]"},
		"tunnel CIDRs overlap": {func(in *Input) {
			in.Clusters[0].TunnelCIDRs = map[string]netip.Prefix{"east": pfx("100.127.0.0/21")[0], "west": pfx("100.127.4.0/22")[0]}
		}, "east tunnelCIDRs[west]"},
		"tunnel CIDR too small": {func(in *Input) {
			in.Clusters[0].TunnelCIDRs = map[string]netip.Prefix{"east": pfx("100.127.0.0/31")[0]}
		}, "east tunnelCIDR"},
		"static map lacks nodes": {func(in *Input) {
			in.Options = Options{ServiceType: Static, StaticEndpoints: map[string]string{"east-1": "203.0.113.1", "west-1": "203.0.113.2", "west-2": "203.0.113.3"}}
		}, "east static_endpoints"},
		"static map names nobody": {func(in *Input) { statics(in)["east-9"] = "203.0.113.9" }, " static_endpoints[east-9]"},
		"static address is bad":   {func(in *Input) { statics(in)["east-1"] = "203.0.113.300" }, " static_endpoints[east-1]"},
		"static port is bad":      {func(in *Input) { statics(in)["east-1"] = "203.0.113.1:0" }, " static_endpoints[east-1]"},
		"static address twice":    {func(in *Input) { statics(in)["west-2"] = "203.0.113.1" }, "west nodes[west-2].endpoint"},
		"static name is ambiguous": {func(in *Input) {
			in.Clusters[0].Nodes[0].Name, in.Clusters[1].Nodes[0].Name = "n", "n"
			in.Options = Options{ServiceType: Static, StaticEndpoints: map[string]string{"n": "203.0.113.9",
				"east.n": "203.0.113.1", "west.n": "203.0.113.2", "east-2": "203.0.113.3", "west-2": "203.0.113.4"}}
		}, " static_endpoints[n]"},
		"two things at once": {func(in *Input) { in.Clusters[0].Minor = 20; in.Clusters[1].Nodes = nil }, "east version, west nodes"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			in := two()
			tt.change(&in)
			_, conflicts := Make(in)
			var got []string
			for _, c := range conflicts {
				got = append(got, c.Cluster+" "+c.Field)
				if c.Detail == "" || c.Remedy == "" {
					t.Errorf("%v says too little", c)
				}
			}
			if strings.Join(got, ", ") != tt.want {
				t.Errorf("got  %q\nwant %q\n%v", strings.Join(got, ", "), tt.want, conflicts)
			}
		})
	}
}

func statics(in *Input) map[string]string {
	in.Options = Options{ServiceType: Static, StaticEndpoints: map[string]string{"east-1": "203.0.113.1",
		"east-2": "203.0.113.2", "west-1": "203.0.113.3", "west-2": "203.0.113.4"}}
	return in.Options.StaticEndpoints
}

func TestWarnings(t *testing.T) {
	tests := map[string]struct {
		change func(*Input)
		want   string
	}{
		"one cluster":      {func(in *Input) { in.Clusters = in.Clusters[:1] }, "one cluster only"},
		"node not ready":   {func(in *Input) { in.Clusters[0].Nodes[0].Ready = false }, "east-1 is not ready"},
		"no subnet yet":    {func(in *Input) { in.Clusters[0].Nodes[0].HostSubnets = nil }, "no host subnet yet"},
		"no services":      {func(in *Input) { in.Clusters[0].ServiceCIDRs = nil }, "no service network"},
		"IPv6":             {func(in *Input) { in.Clusters[0].PodCIDRs = append(in.Clusters[0].PodCIDRs, pfx("fd01::/48")...) }, "only IPv4"},
		"old API server":   {func(in *Input) { in.Clusters[0].Minor = 29 }, "no ValidatingAdmissionPolicy"},
		"unused endpoints": {func(in *Input) { in.Options.StaticEndpoints = map[string]string{"a": "b"} }, "not used"},
		"unused node port": {func(in *Input) { in.Options.NodePort = 30000 }, "not used"},
		"kept outside": {func(in *Input) {
			in.Clusters[0].TunnelCIDRs = map[string]netip.Prefix{"east": pfx("100.100.0.0/22")[0]}
		}, "not in the tunnel pool"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			in := two()
			tt.change(&in)
			plan, conflicts := Make(in)
			if len(conflicts) > 0 || len(plan.Warnings) != 1 || !strings.Contains(plan.Warnings[0].Detail, tt.want) {
				t.Errorf("warnings %v, conflicts %v", plan.Warnings, conflicts)
			}
		})
	}
}

// TestSamePodNetworkWithGlobals: equal pod networks are no conflict when each cluster shows
// the others a global one.
func TestSamePodNetworkWithGlobals(t *testing.T) {
	in := two()
	in.Clusters[1].PodCIDRs = pfx("10.128.0.0/14")
	in.Clusters[1].Nodes[0].HostSubnets, in.Clusters[1].Nodes[1].HostSubnets = pfx("10.128.0.0/23"), pfx("10.128.2.0/23")
	in.Clusters[0].GlobalPodCIDRs, in.Clusters[1].GlobalPodCIDRs = pfx("10.200.0.0/14"), pfx("10.204.0.0/14")
	if _, conflicts := Make(in); len(conflicts) > 0 {
		t.Error(conflicts)
	}
	in.Clusters[1].GlobalPodCIDRs = nil
	if _, conflicts := Make(in); len(conflicts) == 0 {
		t.Error("east uses inside what west shows outside, and nothing is said")
	}
}

// TestTunnelCIDRsStay: planning again with what was applied, and with a cluster more,
// moves nobody.
func TestTunnelCIDRsStay(t *testing.T) {
	in := two()
	first, _ := Make(in)
	kept := map[string]netip.Prefix{}
	for _, c := range first.Clusters {
		kept[c.Name] = c.TunnelCIDR
	}
	in.Clusters[0].TunnelCIDRs, in.Clusters[1].TunnelCIDRs = kept, kept
	in.Clusters = append(in.Clusters, cluster("aaa", 2))
	second, conflicts := Make(in)
	if len(conflicts) > 0 {
		t.Fatal(conflicts)
	}
	for _, c := range second.Clusters {
		if k, ok := kept[c.Name]; ok && k != c.TunnelCIDR {
			t.Errorf("%s moved from %v to %v", c.Name, k, c.TunnelCIDR)
		}
	}
}

// TestCarve: parts lie in the pool, do not overlap and are large enough, for any pool and
// numbers of nodes, or there is a conflict.
func TestCarve(t *testing.T) {
	for seed := range uint64(500) {
		r := rand.New(rand.NewPCG(seed, 1))
		pool := netip.PrefixFrom(netip.MustParseAddr("100.64.0.0"), 10+r.IntN(20)).Masked()
		var in Input
		in.Options.TunnelPool = pool
		for i := range 1 + r.IntN(6) {
			c := Facts{Name: fmt.Sprintf("c%d", i), Nodes: make([]Node, 1+r.IntN(1<<r.IntN(11)))}
			if r.IntN(4) == 0 {
				part := netip.PrefixFrom(pool.Addr(), min(pool.Bits()+r.IntN(8), 28)).Masked()
				c.TunnelCIDRs = map[string]netip.Prefix{c.Name: part}
			}
			in.Clusters = append(in.Clusters, c)
		}
		p := &planner{options: in.Options.Defaults(), clusters: in.Clusters}
		got := p.carve()
		if len(p.conflicts) > 0 {
			continue
		}
		for i, a := range in.Clusters {
			part := got[a.Name]
			if !part.IsValid() || !pool.Overlaps(part) || part != part.Masked() || capacity(part.Bits()) < len(a.Nodes) {
				t.Errorf("seed %d: %s with %d nodes has %v of %v", seed, a.Name, len(a.Nodes), part, pool)
			}
			for _, b := range in.Clusters[:i] {
				if got[b.Name].Overlaps(part) {
					t.Errorf("seed %d: %s %v overlaps %s %v", seed, a.Name, part, b.Name, got[b.Name])
				}
			}
		}
	}
}

// FuzzMake: facts from anywhere give a plan or conflicts, never a crash, in any order the same.
func FuzzMake(f *testing.F) {
	seed, err := json.Marshal(two())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	f.Add([]byte(`{"clusters":[{"name":"a","podCIDRs":["0.0.0.0/0"],"nodes":[{}],"tunnelCIDRs":{"a":"::/0","b":"10.0.0.0/32"}}],"options":{"tunnelPool":"0.0.0.0/8","serviceType":"Static"}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var in Input
		if json.Unmarshal(b, &in) != nil {
			return
		}
		plan, conflicts := Make(in)
		again, sameConflicts := Make(in)
		if !reflect.DeepEqual(plan, again) || !reflect.DeepEqual(conflicts, sameConflicts) {
			t.Error("the same facts give two plans")
		}
		if _, err := json.Marshal(plan); err != nil {
			t.Error(err)
		}
	})
}

func BenchmarkMake(b *testing.B) {
	in := Input{}
	for i := range 10 {
		c := cluster(fmt.Sprintf("c%d", i), i)
		c.Nodes = nil
		for k := range 500 {
			c.Nodes = append(c.Nodes, Node{Name: fmt.Sprintf("n%d", k), Ready: true, InternalIPs: addrs(fmt.Sprintf("192.168.%d.%d", k/250, k%250)),
				HostSubnets: []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(128 + 4*i + k/128), byte(k % 128 * 2), 0}), 23)}})
		}
		in.Clusters = append(in.Clusters, c)
	}
	for b.Loop() {
		if _, conflicts := Make(in); len(conflicts) > 0 {
			b.Fatal(conflicts)
		}
	}
}
