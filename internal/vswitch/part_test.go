package vswitch

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/sdn-tunnel/sdn-tunnel/internal/mesh"
	"github.com/sdn-tunnel/sdn-tunnel/ovsflow"
)

func newPart(t *testing.T, s Switch, n node) *Part {
	t.Helper()
	p, err := New(Config{Switch: s})
	if err != nil {
		t.Fatal(err)
	}
	p.gateway, p.link = n.gateway, n.linkIndex
	return p
}

// inOrder holds the bridge to the plan, all of it and nothing more.
func inOrder(t *testing.T, p *Part, s Switch, n node, dp mesh.DataPlane) {
	t.Helper()
	if again, err := p.Apply(t.Context(), dp); err != nil || len(again) > 0 {
		t.Errorf("another Apply: %v, %v", again, err)
	}
	st := state(t, s)
	if !st.OnBridge || !st.Tagged || st.OFPort == 0 {
		t.Fatalf("port: %+v", st)
	}
	gw, err := n.gateway(dp.Local)
	must(t, err)
	flows, err := ovsflow.Flows(ovsflow.Plan{
		Port: st.OFPort, TunnelMAC: p.cfg.TunnelMAC, Local: dp.Local, Remote: dp.Remote,
		RemoteService: dp.RemoteService, RemoteTunnel: dp.RemoteTunnel,
		Gateway: gw.Address, GatewayMAC: gw.MAC, TunnelAddress: dp.TunnelAddress,
	})
	must(t, err)
	var want strings.Builder
	for _, f := range flows {
		line, err := ovsflow.Text(f)
		must(t, err)
		want.WriteString(line + "\n")
	}
	dump, err := s.Flows(t.Context(), "br0")
	must(t, err)
	if got := texts(t, dump); got != want.String() {
		t.Errorf("flows:\n%swant:\n%s", got, want.String())
	}
	if p.FlowCount() != len(flows) {
		t.Errorf("FlowCount %d, want %d", p.FlowCount(), len(flows))
	}
	if !strings.Contains(texts(t, n.allFlows()), theirFlow) {
		t.Error("the SDN's flow is gone")
	}
}

// TestPartRepairs: after each fault Watch notifies, and Apply makes good.
func TestPartRepairs(t *testing.T) {
	onBoth(t, func(t *testing.T, s Switch, n node) {
		n.reset()
		p := newPart(t, s, n)
		if _, err := p.Apply(t.Context(), testPlan); !errors.Is(err, ErrNoBridge) {
			t.Fatalf("without br0: %v", err)
		}
		n.addBridge()
		n.addLink()
		if did, err := p.Apply(t.Context(), testPlan); err != nil || len(did) != 2 {
			t.Fatalf("first Apply: %v, %v", did, err)
		}
		inOrder(t, p, s, n, testPlan)
		if !p.UserspaceDatapath() {
			t.Error("the datapath is in user space, and not told so")
		}
		events := make(chan struct{}, 1)
		notify := func() {
			select {
			case events <- struct{}{}:
			default:
			}
		}
		watching(t, p, notify)
		for _, fault := range []struct {
			name string
			do   func()
		}{
			{"our flows deleted", func() { n.edit("delete", ovsflow.DeleteOurs) }},
			{"a flow too many", func() { n.edit("add", strings.Replace(strings.TrimSpace(ourFlow), "10.132", "10.200", 1)) }},
			{"a flow with other actions", func() {
				n.edit("add", "cookie=0x73646e74756e0001,table=30,priority=350,ip,nw_src=10.128.0.0/23,nw_dst=10.132.0.0/14 actions=drop")
			}},
			{"port deleted", n.deletePort},
			{"port not marked as ours", func() { n.deletePort(); n.foreignPort() }},
			{"switch restarted", n.restart},
			{"link made again", func() { n.deleteLink(); n.addLink(); notify() }}, // tunnelns tells
			{"bridge made again", func() { n.deleteBridge(); n.addBridge() }},
		} {
			quiet(events)
			fault.do()
			took := untilInOrder(t, p, events)
			t.Logf("%s: in order %v after", fault.name, took.Round(time.Millisecond))
			inOrder(t, p, s, n, testPlan)
		}
	})
}

// untilInOrder applies at each notification until one finds nothing to do.
func untilInOrder(t *testing.T, p *Part, events <-chan struct{}) time.Duration {
	t.Helper()
	start, deadline := time.Now(), time.After(30*time.Second)
	for {
		select {
		case <-events:
			_, err := p.Apply(t.Context(), testPlan)
			if again, err2 := p.Apply(t.Context(), testPlan); err == nil && err2 == nil && len(again) == 0 {
				return time.Since(start)
			}
		case <-deadline:
			t.Fatal("not repaired in 30 s")
		}
	}
}

// TestPartFollows: plans that come one after the other, and a gateway that changes.
func TestPartFollows(t *testing.T) {
	onBoth(t, func(t *testing.T, s Switch, n node) {
		n.reset()
		n.addBridge()
		n.addLink()
		p := newPart(t, s, n)
		third := testPlan
		third.Remote = append([]netip.Prefix{netip.MustParsePrefix("10.136.0.0/14")}, testPlan.Remote...)
		alone := testPlan
		alone.Remote, alone.RemoteService, alone.RemoteTunnel = nil, nil, nil
		for _, dp := range []mesh.DataPlane{alone, testPlan, third, testPlan} {
			if did, err := p.Apply(t.Context(), dp); err != nil || len(did) == 0 {
				t.Errorf("Apply: %v, %v", did, err)
			}
			inOrder(t, p, s, n, dp)
		}
		n.setGateway("4e:d8:cd:4b:1b:53")
		if did, err := p.Apply(t.Context(), testPlan); err != nil || len(did) != 1 {
			t.Errorf("tun0 has another hardware address: %v, %v", did, err)
		}
		inOrder(t, p, s, n, testPlan)

		second := newPart(t, s, n) // another process takes over
		inOrder2, err := second.Apply(t.Context(), testPlan)
		if err != nil || len(inOrder2) > 0 {
			t.Errorf("a second process changed %v, %v", inOrder2, err)
		}
	})
}

// TestPartWithoutLink: flows of a port without number go, as the number may be given to
// another port.
func TestPartWithoutLink(t *testing.T) {
	onBoth(t, func(t *testing.T, s Switch, n node) {
		n.reset()
		n.addBridge()
		n.addLink()
		p := newPart(t, s, n)
		if _, err := p.Apply(t.Context(), testPlan); err != nil {
			t.Fatal(err)
		}
		n.deleteLink()
		eventually(t, "the port loses its number", func() bool { return state(t, s).OFPort == 0 })
		_, err := p.Apply(t.Context(), testPlan)
		if err == nil || !strings.Contains(err.Error(), "sdntun1") || !strings.Contains(err.Error(), "No such device") {
			t.Errorf("want an error that names port and reason, got %v", err)
		}
		holds(t, s, n, "", theirFlow)
		if p.FlowCount() != 0 {
			t.Errorf("FlowCount %d after the flows were taken away", p.FlowCount())
		}
	})
}

func TestPartRemove(t *testing.T) {
	onBoth(t, func(t *testing.T, s Switch, n node) {
		n.reset()
		p := newPart(t, s, n)
		must(t, p.Remove(t.Context())) // no bridge: nothing to remove
		n.addBridge()
		n.addLink()
		before, ports := texts(t, n.allFlows()), state(t, s)
		if _, err := p.Apply(t.Context(), testPlan); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			must(t, newPart(t, s, n).Remove(t.Context())) // by another process
			if after := texts(t, n.allFlows()); after != before {
				t.Errorf("flows before:\n%safter:\n%s", before, after)
			}
			if after := state(t, s); after != ports {
				t.Errorf("port before: %+v, after: %+v", ports, after)
			}
		}
	})
}

func TestNewRefuses(t *testing.T) {
	if _, err := New(Config{VNID: 1 << 24}); err == nil {
		t.Error("a network id of 25 bits was taken")
	}
}
