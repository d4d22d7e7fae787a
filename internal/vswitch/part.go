package vswitch

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"sync"

	"github.com/sdn-tunnel/sdn-tunnel/internal/mesh"
	"github.com/sdn-tunnel/sdn-tunnel/internal/nodepath"
	"github.com/sdn-tunnel/sdn-tunnel/internal/tunnelns"
	"github.com/sdn-tunnel/sdn-tunnel/ovsflow"
)

// Kinds of errors that callers can tell apart.
var (
	ErrNoOVS    = errors.New("the node's Open vSwitch does not answer; see that ovsdb-server and ovs-vswitchd run there")
	ErrNoBridge = errors.New("the bridge does not exist; is OpenShift SDN running on this node?")
	ErrNoSubnet = errors.New("the node has no accepted host subnet, so nothing is sent its way; see the TunnelNode's conditions")
)

// Userspace is the type of a bridge whose datapath runs in ovs-vswitchd itself.
const Userspace = "netdev"

// State is what a switch has of a bridge and of our port on it.
type State struct {
	DatapathType string // "", "system" or Userspace
	OnBridge     bool   // the port is on the bridge
	Tagged       bool   // and marked as ours
	OFPort       uint32 // 0: none (yet)
	Link         int    // index of the link that the port was made for; 0: not known
	Error        string // why the switch cannot use the port
}

// Switch is what this package needs of Open vSwitch. State returns ErrNoOVS or
// ErrNoBridge, wrapped, when that is so.
type Switch interface {
	State(ctx context.Context, bridge, port string) (State, error)
	// AddPort puts the port on the bridge, marked as ours and with the index of its link;
	// harmless if it is there.
	AddPort(ctx context.Context, bridge, port string, link int) error
	DeletePort(ctx context.Context, bridge, port string) error
	// Flows returns the flows with our cookie, as ovs-ofctl prints them.
	Flows(ctx context.Context, bridge string) (string, error)
	// Bundle applies lines of "add …" and "delete …" all at once or not at all.
	Bundle(ctx context.Context, bridge, lines string) error
	// Watch calls notify on changes of the bridge, its ports and our flows.
	Watch(ctx context.Context, bridge string, notify func()) error
}

// Config says which bridge and port. Zero values give the defaults.
type Config struct {
	Bridge string // default: br0
	Port   string // default: tunnelns.DefaultOutside
	// GatewayLink is the SDN's link of the node into its host subnet; default: tun0.
	GatewayLink string
	Node        tunnelns.Namespace // the node's; default: the process's own
	TunnelMAC   net.HardwareAddr   // default: tunnelns.InsideMAC
	VNID        uint32
	Switch      Switch // default: NewOVS("")
	Log         *slog.Logger
}

// Part keeps the port and the flows.
type Part struct {
	cfg Config
	// gateway finds the SDN's way into the host subnets.
	gateway func(local []netip.Prefix) (nodepath.Gateway, error)
	// link gives the index of the port's link; 0: there is none.
	link func() int

	mu       sync.Mutex
	datapath string
	flows    int
}

// New checks the configuration; it touches nothing.
func New(c Config) (*Part, error) {
	if c.Bridge == "" {
		c.Bridge = "br0"
	}
	if c.Port == "" {
		c.Port = tunnelns.DefaultOutside
	}
	if c.GatewayLink == "" {
		c.GatewayLink = tunnelns.DefaultPodLink
	}
	if c.TunnelMAC == nil {
		c.TunnelMAC = tunnelns.InsideMAC
	}
	if c.VNID > 0xffffff {
		return nil, fmt.Errorf("VNID %#x: a network id has 24 bits", c.VNID)
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Switch == nil {
		c.Switch = NewOVS("", c.Log)
	}
	gateway := func(local []netip.Prefix) (nodepath.Gateway, error) {
		return nodepath.FindGateway(c.Node, c.GatewayLink, local)
	}
	return &Part{cfg: c, gateway: gateway, link: func() int { return linkIndex(c.Node, c.Port) }}, nil
}

// Name is the part's name in logs and metrics.
func (*Part) Name() string { return "vswitch" }

// UserspaceDatapath asks the switch whether the bridge's datapath runs in user space,
// and remembers the answer for when the switch does not answer.
func (p *Part) UserspaceDatapath() bool {
	if s, err := p.cfg.Switch.State(context.Background(), p.cfg.Bridge, p.cfg.Port); err == nil {
		p.remember(s.DatapathType)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.datapath == Userspace
}

// FlowCount is how many flows of ours the last Apply left on the bridge.
func (p *Part) FlowCount() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.flows
}

func (p *Part) remember(datapath string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.datapath = datapath
}

// Apply makes port and flows equal to dp.
func (p *Part) Apply(ctx context.Context, dp mesh.DataPlane) ([]string, error) {
	port, changes, err := p.syncPort(ctx)
	if err != nil {
		return changes, err
	}
	if len(dp.Local) == 0 { // the node has no subnet any more, or not yet
		return changes, errors.Join(p.dropFlows(ctx), ErrNoSubnet)
	}
	gw, err := p.gateway(dp.Local)
	if err != nil {
		return changes, err
	}
	want, err := ovsflow.Flows(ovsflow.Plan{
		Port: port, TunnelMAC: p.cfg.TunnelMAC,
		Local: dp.Local, Remote: dp.Remote, RemoteService: dp.RemoteService, RemoteTunnel: dp.RemoteTunnel,
		Gateway: gw.Address, GatewayMAC: gw.MAC, VNID: p.cfg.VNID, TunnelAddress: dp.TunnelAddress,
	})
	if err != nil {
		return changes, err
	}
	text, err := p.cfg.Switch.Flows(ctx, p.cfg.Bridge)
	if err != nil {
		return changes, err
	}
	have, err := ovsflow.Parse(text)
	if err != nil {
		return changes, fmt.Errorf("read the flows of %s: %w", p.cfg.Bridge, err)
	}
	d, err := ovsflow.Diff(have, want)
	if err != nil {
		return changes, err
	}
	if !d.Empty() {
		lines, err := ovsflow.Bundle(want)
		if err != nil {
			return changes, err
		}
		if err := p.cfg.Switch.Bundle(ctx, p.cfg.Bridge, lines); err != nil {
			return changes, err
		}
		changes = append(changes, fmt.Sprintf("flows of %s: %d missing, %d surplus, replaced in one bundle", p.cfg.Bridge, len(d.Missing), len(d.Surplus)))
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.flows = len(want)
	return changes, nil
}

// syncPort puts the port on the bridge and returns its OpenFlow number. Flows of a port
// that is gone are taken away: its number may be given to another.
func (p *Part) syncPort(ctx context.Context) (uint32, []string, error) {
	var changes []string
	s, err := p.cfg.Switch.State(ctx, p.cfg.Bridge, p.cfg.Port)
	if err != nil {
		return 0, nil, err
	}
	link := p.link()
	if s.OnBridge && s.Tagged && link != 0 && s.Link != link {
		// The link was made again under its name: a datapath in user space goes on
		// reading from the one that is gone.
		if err := p.cfg.Switch.DeletePort(ctx, p.cfg.Bridge, p.cfg.Port); err != nil {
			return 0, nil, err
		}
		if err := p.dropFlows(ctx); err != nil {
			return 0, nil, err
		}
		s.OnBridge = false
	}
	if !s.OnBridge || !s.Tagged {
		if err := p.cfg.Switch.AddPort(ctx, p.cfg.Bridge, p.cfg.Port, link); err != nil {
			return 0, nil, err
		}
		changes = append(changes, fmt.Sprintf("port %s added to %s", p.cfg.Port, p.cfg.Bridge))
		if s, err = p.cfg.Switch.State(ctx, p.cfg.Bridge, p.cfg.Port); err != nil {
			return 0, changes, err
		}
	}
	p.remember(s.DatapathType)
	if s.OFPort == 0 {
		err := fmt.Errorf("port %s of %s has no OpenFlow number yet: %s", p.cfg.Port, p.cfg.Bridge, s.Error)
		return 0, changes, errors.Join(err, p.dropFlows(ctx))
	}
	return s.OFPort, changes, nil
}

// linkIndex is 0 when there is no such link.
func linkIndex(node tunnelns.Namespace, name string) int {
	h, err := node.Netlink()
	if err != nil {
		return 0
	}
	defer h.Close()
	l, err := h.LinkByName(name)
	if err != nil {
		return 0
	}
	return l.Attrs().Index
}

func (p *Part) dropFlows(ctx context.Context) error {
	lines, err := ovsflow.Bundle(nil)
	if err != nil {
		return err
	}
	if err := p.cfg.Switch.Bundle(ctx, p.cfg.Bridge, lines); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.flows = 0
	return nil
}

// Watch calls notify when the bridge, its ports or our flows change. Changes of the
// gateway link are for internal/nodepath to notice, those of the port's link for
// internal/tunnelns.
func (p *Part) Watch(ctx context.Context, notify func()) error {
	return p.cfg.Switch.Watch(ctx, p.cfg.Bridge, notify)
}

// Remove takes flows and port away. Without a switch's socket or without the bridge there
// are none; a switch that only does not answer may still have them, which is an error.
func (p *Part) Remove(ctx context.Context) error {
	_, err := p.cfg.Switch.State(ctx, p.cfg.Bridge, p.cfg.Port)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrNoBridge) {
		return nil
	}
	if err != nil {
		return err
	}
	return errors.Join(p.dropFlows(ctx), p.cfg.Switch.DeletePort(ctx, p.cfg.Bridge, p.cfg.Port))
}
