package tables

import (
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
)

func mac(t *testing.T, s string) net.HardwareAddr {
	t.Helper()
	m, err := net.ParseMAC(s)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// recorded is the node whose tables are in testdata.
func recorded(t *testing.T, mode Mode, vxlan, tun string, vnids ...uint32) Node {
	return Node{
		Mode:        mode,
		NodeIP:      netip.MustParseAddr("192.168.50.11"),
		HostSubnet:  netip.MustParsePrefix("10.128.0.0/23"),
		ClusterCIDR: netip.MustParsePrefix("10.128.0.0/14"),
		ServiceCIDR: netip.MustParsePrefix("172.30.0.0/16"),
		VXLANMAC:    mac(t, vxlan), TunMAC: mac(t, tun),
		Pods: []Pod{
			{IP: netip.MustParseAddr("10.128.0.5"), Port: 3, VNID: vnids[0]},
			{IP: netip.MustParseAddr("10.128.0.6"), Port: 4, VNID: vnids[1]},
		},
		Peers: []Peer{{
			NodeIP: netip.MustParseAddr("192.168.50.12"),
			Subnet: netip.MustParsePrefix("10.130.0.0/23"), Cookie: 0x72faa1a2,
		}},
	}
}

func recordedNodes(t *testing.T) map[Mode]Node {
	subnet := recorded(t, Subnet, "ee:54:6e:9a:c7:f6", "e6:ca:e3:e9:81:b1", 0, 0)
	multi := recorded(t, Multitenant, "76:d2:85:a7:90:44", "4e:d8:cd:4b:1b:52", 0x64, 0)
	policy := recorded(t, NetworkPolicy, "8a:52:9a:08:87:ad", "6a:c2:51:b4:23:0f", 0x64, 0xc8)
	isolated := uint32(0x64)
	policy.Policies = []Namespace{
		{VNID: 0x64, Ingress: Rules{Isolated: true, Allow: []Allow{{PeerVNID: &isolated}}}},
		{VNID: 0xc8},
	}
	return map[Mode]Node{Subnet: subnet, Multitenant: multi, NetworkPolicy: policy}
}

func texts(flows []Flow) []string {
	var lines []string
	for _, f := range flows {
		lines = append(lines, f.String())
	}
	slices.Sort(lines)
	return lines
}

// The tables are exactly those recorded, in each mode.
func TestRecordedTables(t *testing.T) {
	for mode, node := range recordedNodes(t) {
		t.Run(string(mode), func(t *testing.T) {
			text, err := os.ReadFile("testdata/" + string(mode) + ".flows")
			if err != nil {
				t.Fatal(err)
			}
			flows, err := ParseFlows(string(text))
			if err != nil {
				t.Fatal(err)
			}
			compare(t, texts(node.Flows()), texts(flows))
		})
	}
}

func compare(t *testing.T, got, want []string) {
	t.Helper()
	for _, line := range want {
		if !slices.Contains(got, line) {
			t.Errorf("missing: %s", line)
		}
	}
	for _, line := range got {
		if !slices.Contains(want, line) {
			t.Errorf("too many: %s", line)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d flows, want %d", len(got), len(want))
	}
}

// A userspace datapath has the same flows and a few of its own, all marked.
func TestUserspaceAddsMarkedFlowsOnly(t *testing.T) {
	for mode, node := range recordedNodes(t) {
		plain := texts(node.Flows())
		node.Userspace = true
		var rest []Flow
		for _, f := range node.Flows() {
			if f.Cookie != UserspaceCookie {
				rest = append(rest, f)
			}
		}
		if !slices.Equal(texts(rest), plain) {
			t.Errorf("%s: other flows differ with a userspace datapath", mode)
		}
		if n := len(node.Flows()) - len(plain); n != 7 {
			t.Errorf("%s: %d flows added, want 7", mode, n)
		}
	}
}

func TestNoTwoFlowsWithOneKey(t *testing.T) {
	for mode, node := range recordedNodes(t) {
		node.Userspace = true
		if flows := node.Flows(); len(index(flows)) != len(flows) {
			t.Errorf("%s: a flow overwrites another", mode)
		}
	}
}

func TestDiff(t *testing.T) {
	base := recordedNodes(t)[NetworkPolicy]
	tests := map[string]struct {
		change func(*Node)
		want   string
	}{
		"nothing": {func(*Node) {}, ""},
		"pod gone": {func(n *Node) { n.Pods = n.Pods[:1] }, `
flow delete ip,nw_dst=10.128.0.6
flow delete ip,nw_src=10.128.0.6
flow delete arp,nw_dst=10.128.0.6
flow delete arp,nw_src=10.128.0.6
flow delete_strict table=20, priority=100,arp,arp_sha=00:00:0a:80:00:06/00:00:ff:ff:ff:ff,arp_spa=10.128.0.6,in_port=4
flow delete_strict table=20, priority=100,in_port=4,ip,nw_src=10.128.0.6
flow delete_strict table=25, priority=100,ip,nw_src=10.128.0.6
flow delete_strict table=40, priority=100,arp,arp_tpa=10.128.0.6
flow delete_strict table=70, priority=100,ip,nw_dst=10.128.0.6
`},
		"peer gone": {func(n *Node) { n.Peers = nil }, `
flow delete_strict table=10, priority=100,tun_src=192.168.50.12
flow delete_strict table=50, priority=100,arp,arp_tpa=10.130.0.0/23
flow delete_strict table=90, priority=100,ip,nw_dst=10.130.0.0/23
`},
		"isolation": {func(n *Node) {
			n.Policies = []Namespace{n.Policies[0], {VNID: 0xc8, Ingress: Rules{Isolated: true}}}
		}, `
flow delete table=27,reg0=0xc8
flow delete table=80,reg1=0xc8
flow add cookie=0x0, table=27, priority=50,reg0=0xc8 actions=goto_table:30
`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			changed := base
			tt.change(&changed)
			var lines []string
			for _, c := range Diff(base, changed) {
				lines = append(lines, string(c))
			}
			if got := strings.Join(lines, "\n"); got != strings.TrimSpace(tt.want) {
				t.Errorf("got\n%s\nwant\n%s", got, tt.want)
			}
		})
	}
}

func TestPolicyRules(t *testing.T) {
	vnid := uint32(7)
	ns := Namespace{VNID: 5, Ingress: Rules{
		Selected: []netip.Addr{netip.MustParseAddr("10.128.0.5")},
		Allow: []Allow{
			{Pod: netip.MustParseAddr("10.128.0.5"), PeerVNID: &vnid, Proto: "tcp", Port: 80},
			{PeerCIDR: netip.MustParsePrefix("10.0.0.0/8")},
		},
	}, Egress: Rules{Isolated: true, Allow: []Allow{{}}}}
	want := []string{
		"cookie=0x0, table=27, priority=150,reg0=0x5 actions=goto_table:30",
		"cookie=0x0, table=80, priority=100,ip,nw_dst=10.128.0.5,reg1=0x5 actions=drop",
		"cookie=0x0, table=80, priority=150,ip,nw_src=10.0.0.0/8,reg1=0x5 actions=output:NXM_NX_REG2[]",
		"cookie=0x0, table=80, priority=150,nw_dst=10.128.0.5,reg0=0x7,reg1=0x5,tcp,tp_dst=80 actions=output:NXM_NX_REG2[]",
		"cookie=0x0, table=80, priority=50,reg1=0x5 actions=output:NXM_NX_REG2[]",
	}
	compare(t, texts(ns.flows()), want)
}

func TestIsCurrent(t *testing.T) {
	note := Node{Mode: Multitenant}.note()
	for name, tt := range map[string]struct {
		flows []Flow
		want  bool
	}{
		"its own note":    {[]Flow{note}, true},
		"no flow":         {nil, false},
		"another mode":    {[]Flow{Node{Mode: Subnet}.note()}, false},
		"a foreign flow":  {[]Flow{note, flow(Version, 1, "", "drop")}, false},
		"a foreign alone": {[]Flow{flow(Version, 1, "", "drop")}, false},
	} {
		if got := IsCurrent(Multitenant, tt.flows); got != tt.want {
			t.Errorf("%s: %v, want %v", name, got, tt.want)
		}
	}
}

func FuzzParseFlow(f *testing.F) {
	f.Add(" cookie=0x72faa1a2, table=10, priority=100,tun_src=192.168.50.12 actions=goto_table:30")
	f.Add("table=253, actions=note:01.0d.00.00.00.00")
	f.Fuzz(func(t *testing.T, line string) {
		flow, err := ParseFlow(line)
		if err != nil {
			return
		}
		again, err := ParseFlow(flow.String())
		if err != nil || again.Match != flow.Match || again.Table != flow.Table {
			t.Errorf("%q: %v, then %v (%v)", line, flow, again, err)
		}
	})
}
