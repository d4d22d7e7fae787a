package nodetrace

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sdn-tunnel/sdn-tunnel/internal/diagnose"
	"github.com/sdn-tunnel/sdn-tunnel/internal/nodepath"
	"github.com/sdn-tunnel/sdn-tunnel/internal/tunnelns"
	"github.com/sdn-tunnel/sdn-tunnel/ovsflow"
)

// gatewayPort is the SDN's own port of the node.
const gatewayPort = tunnelns.DefaultPodLink

// What comes and goes is looked at again: a packet that goes astray is believed when it does
// so in confirmed looks, one after the other, in which nothing explains it.
const (
	confirmed    = 3
	mostLooks    = 6
	betweenLooks = 70 * time.Millisecond
)

// bridge compares the flows with those of the plan, and follows the packets.
func (l *looker) bridge(ctx context.Context) {
	view, traces := settled(
		func() (diagnose.SwitchView, []diagnose.TraceView) { return l.lookAtBridge(ctx) },
		func() bool { return pause(ctx, betweenLooks) })
	l.set(func(v *diagnose.NodeView) { v.Switch, v.Traces = view, traces })
}

// settled looks until what is seen can be believed; pause is called between two looks, and
// gives false to end them.
func settled(look func() (diagnose.SwitchView, []diagnose.TraceView), pause func() bool) (view diagnose.SwitchView, traces []diagnose.TraceView) {
	alike := 0
	for range mostLooks {
		before := traces
		view, traces = look()
		if view.Error != "" || len(view.Missing) > 0 || arrive(traces) {
			break
		}
		if alike++; !sameWay(before, traces) {
			alike = 1
		}
		if alike == confirmed || !pause() {
			break
		}
	}
	return view, traces
}

// lookAtBridge follows the packets once, and says what explains why they do not arrive. A
// fault that the agent mends meanwhile may be there after the packets were followed only, or
// before.
func (l *looker) lookAtBridge(ctx context.Context) (diagnose.SwitchView, []diagnose.TraceView) {
	view := l.port(ctx)
	traces := make([]diagnose.TraceView, len(l.ask.Packets))
	for i, p := range l.ask.Packets {
		traces[i] = l.trace(ctx, p, view.OFPort)
		if !traces[i].Arrives {
			l.compare(ctx, &view)
		}
	}
	if arrive(traces) {
		l.compare(ctx, &view)
		return view, traces
	}
	if after := l.port(ctx); view.Error == "" {
		view.Error = after.Error
		if after.Error == "" && after.OFPort != view.OFPort {
			view.Error = fmt.Sprintf("%s was taken from %s and is back: its port was %d, and is %d", tunnelns.DefaultOutside, l.Bridge, view.OFPort, after.OFPort)
		}
	}
	return view, traces
}

// port looks for the tunnel's port.
func (l *looker) port(ctx context.Context) diagnose.SwitchView {
	state, err := l.Switch.State(ctx, l.Bridge, tunnelns.DefaultOutside)
	view := diagnose.SwitchView{OFPort: state.OFPort}
	switch {
	case err != nil:
		view.Error = err.Error()
	case !state.OnBridge:
		view.Error = fmt.Sprintf("%s is no port of %s", tunnelns.DefaultOutside, l.Bridge)
	case state.Error != "":
		view.Error = fmt.Sprintf("%s: %s", tunnelns.DefaultOutside, state.Error)
	case state.OFPort == 0:
		view.Error = tunnelns.DefaultOutside + " has no port number"
	}
	return view
}

// compare notes what differs from the plan, if that was not seen before.
func (l *looker) compare(ctx context.Context, view *diagnose.SwitchView) {
	if len(view.Missing) > 0 || view.OFPort == 0 {
		return
	}
	var err error
	view.Missing, view.Extra, err = l.compareFlows(ctx, view.OFPort)
	l.failed("compare the flows with the plan", err)
}

// arrive tells whether all packets go where they should.
func arrive(traces []diagnose.TraceView) bool {
	return !slices.ContainsFunc(traces, func(t diagnose.TraceView) bool { return !t.Arrives })
}

// sameWay tells whether packets went the same way in two looks.
func sameWay(a, b []diagnose.TraceView) bool {
	return slices.EqualFunc(a, b, func(a, b diagnose.TraceView) bool {
		return a.Arrives == b.Arrives && a.Table == b.Table && a.Last == b.Last && a.Error == b.Error
	})
}

// pause waits; false: the look is over.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// compareFlows gives the texts of flows that are missing, and that should not be.
func (l *looker) compareFlows(ctx context.Context, port uint32) (missing, extra []string, err error) {
	gw, err := nodepath.FindGateway(l.Node, gatewayPort, l.plan.Local)
	if err != nil {
		return nil, nil, err
	}
	want, err := ovsflow.Flows(ovsflow.Plan{
		Port: port, TunnelMAC: tunnelns.InsideMAC,
		Local: l.plan.Local, Remote: l.plan.Remote, RemoteService: l.plan.RemoteService, RemoteTunnel: l.plan.RemoteTunnel,
		Gateway: gw.Address, GatewayMAC: gw.MAC, VNID: l.VNID, TunnelAddress: l.plan.TunnelAddress,
	})
	if err != nil {
		return nil, nil, err
	}
	text, err := l.Switch.Flows(ctx, l.Bridge)
	if err != nil {
		return nil, nil, err
	}
	have, err := ovsflow.Parse(text)
	if err != nil {
		return nil, nil, err
	}
	d, err := ovsflow.Diff(have, want)
	if err != nil {
		return nil, nil, err
	}
	for _, f := range d.Missing {
		line, _ := ovsflow.Text(f) // it was compared by its text
		missing = append(missing, line)
	}
	for _, f := range d.Surplus {
		line, _ := ovsflow.Text(f)
		extra = append(extra, line)
	}
	return missing, extra, nil
}

// trace follows one packet.
func (l *looker) trace(ctx context.Context, p diagnose.Packet, tunnel uint32) diagnose.TraceView {
	v := diagnose.TraceView{Packet: p}
	in, out, err := l.ends(ctx, p, tunnel)
	if err != nil {
		v.Error = err.Error()
		return v
	}
	t, err := l.Switch.Trace(ctx, l.Bridge, flowOf(p, in), p.Reply)
	if err != nil {
		v.Error = err.Error()
		return v
	}
	last := t.Last()
	v.Last, v.Table, v.Ours, v.Outputs = last.Flow, last.Table, last.Ours, t.Outputs
	v.Arrives = out != 0 && t.Leaves(out)
	return v
}

// ends are the ports that a packet comes in by, and should go out by.
func (l *looker) ends(ctx context.Context, p diagnose.Packet, tunnel uint32) (in, out uint32, err error) {
	pod := func(at string) (uint32, error) { return l.Switch.PodPort(ctx, at) }
	node := func() (uint32, error) {
		s, err := l.Switch.State(ctx, l.Bridge, gatewayPort)
		return s.OFPort, err
	}
	switch p.From {
	case diagnose.FromPod:
		in, err = pod(p.Src.String())
		return in, tunnel, err
	case diagnose.FromNode:
		in, err = node()
		return in, tunnel, err
	case diagnose.FromTunnel:
		for _, local := range l.plan.Local {
			if local.Masked().Addr().Next() == p.Dst {
				out, err = node()
				return tunnel, out, err
			}
		}
		out, err = pod(p.Dst.String())
		return tunnel, out, err
	}
	return 0, 0, fmt.Errorf("a packet from %q: want %s, %s or %s", p.From, diagnose.FromPod, diagnose.FromNode, diagnose.FromTunnel)
}

// flowOf is a packet in the words of ofproto/trace.
func flowOf(p diagnose.Packet, in uint32) string {
	terms := []string{
		"in_port=" + strconv.FormatUint(uint64(in), 10), p.Protocol,
		"nw_src=" + p.Src.String(), "nw_dst=" + p.Dst.String(), "nw_ttl=64",
	}
	switch p.Protocol {
	case "tcp", "udp":
		terms = append(terms, fmt.Sprintf("tp_src=%d", p.SrcPort), fmt.Sprintf("tp_dst=%d", p.DstPort))
	case "icmp":
		kind := 8
		if p.Reply {
			kind = 0
		}
		terms = append(terms, fmt.Sprintf("icmp_type=%d", kind), "icmp_code=0")
	}
	return strings.Join(terms, ",")
}
