package vswitch

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/sdn-tunnel/sdn-tunnel/internal/mesh"
	"github.com/sdn-tunnel/sdn-tunnel/internal/nodepath"
	"github.com/sdn-tunnel/sdn-tunnel/ovsflow"
)

const gatewayMAC = "4e:d8:cd:4b:1b:52"

var testPlan = mesh.DataPlane{
	ListenPort: 5555, TunnelAddress: netip.MustParseAddr("100.127.0.1"),
	Local:         []netip.Prefix{netip.MustParsePrefix("10.128.0.0/23")},
	LocalPods:     []netip.Prefix{netip.MustParsePrefix("10.128.0.0/14")},
	Remote:        []netip.Prefix{netip.MustParsePrefix("10.132.0.0/14")},
	RemoteService: []netip.Prefix{netip.MustParsePrefix("172.31.0.0/16")},
	RemoteTunnel:  []netip.Prefix{netip.MustParsePrefix("100.127.4.0/22")},
}

// node is a switch and what happens to it: the Fake, or a real ovs-vswitchd. Its one
// bridge is br0, the link that is to be a port sdntun1.
type node interface {
	reset()
	addBridge() // with a flow of the SDN's and tun0
	deleteBridge()
	addLink()
	deleteLink()
	linkIndex() int
	foreignPort() // sdntun1, without our mark
	deletePort()
	foreignFlow()
	edit(command, flow string) // add or delete a flow by hand
	restart()
	allFlows() string
	setGateway(mac string)
	gateway([]netip.Prefix) (nodepath.Gateway, error)
}

// fakeNode is the Fake in a node that is not there either.
type fakeNode struct {
	*Fake
	mac   net.HardwareAddr
	index int // of the link
}

func (n *fakeNode) reset() { n.DeleteBridge("br0"); n.DeleteLink("sdntun1") }
func (n *fakeNode) addBridge() {
	n.AddBridge("br0", Userspace)
	n.foreignFlow()
	n.setGateway(gatewayMAC)
}
func (n *fakeNode) deleteBridge()    { n.DeleteBridge("br0") }
func (n *fakeNode) addLink()         { n.index++; n.AddLink("sdntun1") }
func (n *fakeNode) linkIndex() int   { return n.index }
func (n *fakeNode) deleteLink()      { n.DeleteLink("sdntun1") }
func (n *fakeNode) foreignPort()     { n.AddForeignPort("br0", "sdntun1") }
func (n *fakeNode) deletePort()      { _ = n.DeletePort(context.Background(), "br0", "sdntun1") }
func (n *fakeNode) foreignFlow()     { n.edit("add", "cookie=0x5,table=0,priority=5 actions=drop") }
func (n *fakeNode) restart()         { n.Stop(); n.Start(); n.foreignFlow() }
func (n *fakeNode) allFlows() string { return n.AllFlows("br0") }

func (n *fakeNode) edit(command, flow string) {
	if err := n.Bundle(context.Background(), "br0", command+" "+flow); err != nil {
		panic(err)
	}
}

func (n *fakeNode) setGateway(mac string) { n.mac, _ = net.ParseMAC(mac) }

func (n *fakeNode) gateway([]netip.Prefix) (nodepath.Gateway, error) {
	return nodepath.Gateway{Address: netip.MustParseAddr("10.128.0.1"), MAC: n.mac}, nil
}

// onBoth runs a test on the fake and on the real switch.
func onBoth(t *testing.T, test func(*testing.T, Switch, node)) {
	t.Run("fake", func(t *testing.T) {
		f := &fakeNode{Fake: NewFake()}
		test(t, f, f)
	})
	t.Run("real", func(t *testing.T) {
		o := startOVS(t)
		test(t, NewOVS(o.dir, slog.New(slog.DiscardHandler)), o)
	})
}

// texts are the canonical texts of the flows in a dump.
func texts(t *testing.T, dump string) string {
	t.Helper()
	flows, err := ovsflow.Parse(dump)
	if err != nil {
		t.Fatal(err)
	}
	if flows, err = ovsflow.Sort(flows); err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, f := range flows {
		s, err := ovsflow.Text(f)
		if err != nil {
			t.Fatal(err)
		}
		b.WriteString(s + "\n")
	}
	return b.String()
}

// watching runs the part's Watch until the test ends.
func watching(t *testing.T, p *Part, notify func()) {
	t.Helper()
	watchUntilEnd(t, func(ctx context.Context) error { return p.Watch(ctx, notify) })
}

// watchFunc runs watch until the test ends and gives what it notifies by.
func watchFunc(t *testing.T, watch func(context.Context, func()) error) <-chan struct{} {
	t.Helper()
	events := make(chan struct{}, 1)
	watchUntilEnd(t, func(ctx context.Context) error {
		return watch(ctx, func() {
			select {
			case events <- struct{}{}:
			default:
			}
		})
	})
	return events
}

func watchUntilEnd(t *testing.T, watch func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- watch(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("watch: %v", err)
		}
	})
}

// quiet waits until nothing has been notified for a while, in which a watch begins that just
// was set up.
func quiet(events <-chan struct{}) {
	for {
		select {
		case <-events:
		case <-time.After(1200 * time.Millisecond):
			return
		}
	}
}
