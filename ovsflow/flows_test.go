package ovsflow

import (
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/digitalocean/go-openvswitch/ovs"

	"github.com/sdn-tunnel/sdn-tunnel/internal/golden"
)

func prefixes(ss ...string) []netip.Prefix {
	var ps []netip.Prefix
	for _, s := range ss {
		ps = append(ps, netip.MustParsePrefix(s))
	}
	return ps
}

// onePlan fits the node whose tables are in testdata/sdn: its tunnel's port is 5.
func onePlan() Plan {
	return Plan{
		Port:          5,
		TunnelMAC:     net.HardwareAddr{0x0a, 0x58, 0x64, 0x7f, 0x00, 0x01},
		Local:         prefixes("10.128.0.0/23"),
		Remote:        prefixes("10.132.0.0/14"),
		RemoteService: prefixes("172.31.0.0/16"),
		RemoteTunnel:  prefixes("100.127.4.0/22"),
		Gateway:       netip.MustParseAddr("10.128.0.1"),
		GatewayMAC:    net.HardwareAddr{0x4e, 0xd8, 0xcd, 0x4b, 0x1b, 0x52},
		TunnelAddress: netip.MustParseAddr("100.127.0.1"),
	}
}

func text(t testing.TB, flows []*ovs.Flow) string {
	t.Helper()
	var b strings.Builder
	for _, f := range flows {
		s, err := Text(f)
		if err != nil {
			t.Fatal(err)
		}
		b.WriteString(s + "\n")
	}
	return b.String()
}

func TestFlows(t *testing.T) {
	three := onePlan()
	three.Local = prefixes("10.128.0.0/23", "10.128.4.0/23")
	three.Remote = prefixes("10.132.0.0/14", "10.136.0.0/14")
	three.RemoteService = nil
	three.VNID = 0x2a
	alone := onePlan()
	alone.Remote, alone.RemoteService, alone.RemoteTunnel, alone.TunnelAddress = nil, nil, nil, netip.Addr{}
	dual := onePlan()
	dual.Local = append(dual.Local, prefixes("fd01::/64")...)
	dual.Remote = append(dual.Remote, prefixes("fd02::/48")...)
	dual.RemoteTunnel = append(dual.RemoteTunnel, prefixes("fd03::/64")...)
	for name, p := range map[string]Plan{"two-clusters": onePlan(), "three-clusters-vnid": three, "no-remote": alone, "ipv6-left-out": dual} {
		t.Run(name, func(t *testing.T) {
			flows, err := Flows(p)
			if err != nil {
				t.Fatal(err)
			}
			golden.Check(t, name+".flows", text(t, flows))
		})
	}
}

// TestOursStayOutOfTheSDNsWay holds the flows to what the SDN's own clean-up and version
// check allow.
func TestOursStayOutOfTheSDNsWay(t *testing.T) {
	if Cookie>>32 == 0 {
		t.Errorf("cookie %#x: the SDN uses cookies of 32 bits", Cookie)
	}
	flows, err := Flows(onePlan())
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range flows {
		s, _ := Text(f)
		switch {
		case f.Cookie != Cookie:
			t.Errorf("%s: not our cookie", s)
		case f.Table != TableClassify && f.Table != TableRoute:
			t.Errorf("%s: a table that the SDN cleans", s)
		case f.Table == TableClassify && f.InPort != 5:
			t.Errorf("%s: takes packets of other ports", s)
		case strings.Contains(strings.SplitN(s, " ", 2)[0], "reg"):
			t.Errorf("%s: the SDN deletes flows by register", s)
		}
	}
}

func TestValidate(t *testing.T) {
	tests := map[string]struct {
		change func(*Plan)
		want   string
	}{
		"no port":             {func(p *Plan) { p.Port = 0 }, "port 0"},
		"reserved port":       {func(p *Plan) { p.Port = 0xfffe }, "port 65534"},
		"no tunnel MAC":       {func(p *Plan) { p.TunnelMAC = nil }, "tunnel MAC"},
		"no gateway MAC":      {func(p *Plan) { p.GatewayMAC = nil }, "gateway MAC"},
		"zero MAC":            {func(p *Plan) { p.GatewayMAC = make(net.HardwareAddr, 6) }, "gateway MAC"},
		"group MAC":           {func(p *Plan) { p.TunnelMAC = net.HardwareAddr{1, 0, 0, 0, 0, 0} }, "tunnel MAC"},
		"wide VNID":           {func(p *Plan) { p.VNID = 1 << 24 }, "24 bits"},
		"no host subnet":      {func(p *Plan) { p.Local = nil }, "no IPv4 host subnet"},
		"IPv6 host subnet":    {func(p *Plan) { p.Local = prefixes("fd00::/64") }, "no IPv4 host subnet"},
		"no gateway":          {func(p *Plan) { p.Gateway = netip.Addr{} }, "gateway"},
		"gateway elsewhere":   {func(p *Plan) { p.Gateway = netip.MustParseAddr("10.1.0.1") }, "none of the node's host subnets"},
		"tunnel in subnet":    {func(p *Plan) { p.TunnelAddress = netip.MustParseAddr("10.128.0.9") }, "network of its own"},
		"remote over local":   {func(p *Plan) { p.Remote = prefixes("10.128.0.0/14") }, "overlaps the host subnet"},
		"everything remote":   {func(p *Plan) { p.RemoteService = prefixes("0.0.0.0/0") }, "overlaps the host subnet"},
		"host bits":           {func(p *Plan) { p.Remote = []netip.Prefix{netip.MustParsePrefix("10.132.0.1/14")} }, "without host bits"},
		"prefix that is none": {func(p *Plan) { p.RemoteTunnel = []netip.Prefix{{}} }, "without host bits"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p := onePlan()
			tt.change(&p)
			_, err := Flows(p)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got error %v, want one with %q", err, tt.want)
			}
		})
	}
}
