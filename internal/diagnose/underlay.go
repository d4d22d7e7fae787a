package diagnose

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/sdn-tunnel/sdn-tunnel/internal/mesh"
)

const (
	// skew is how far a clock may be off. WireGuard refuses handshakes that are older than
	// one that it has seen (TAI64N); certificates and tokens have their times, too.
	skew = 30 * time.Second
	// full is the part of connection tracking from which new flows are dropped, per cent.
	full = 99
)

// underlay checks that the two nodes' tunnels hear each other.
func (w *walk) underlay() {
	if !w.tunnel() {
		return
	}
	for _, ref := range []mesh.Ref{w.near, w.far} {
		w.condition(ref)
	}
	there, back := w.answers(w.near, w.far), w.answers(w.far, w.near)
	if there == nil && back == nil {
		w.unknown("no agent could have the other node answer")
		return
	}
	if there != nil && there.Answers || back != nil && back.Answers {
		for _, p := range []*PeerView{there, back} {
			if p != nil && p.Answers {
				w.tell(fmt.Sprintf("%s answers through the tunnel in %.1f ms", p.Name, p.Milliseconds))
			}
		}
		return
	}
	w.silent()
}

// condition checks what a node itself needs.
func (w *walk) condition(ref mesh.Ref) {
	v := w.view(ref)
	if v == nil {
		return
	}
	if c := v.Conntrack; c.Max > 0 && max(c.Count, c.Namespace)*100 >= c.Max*full {
		w.found("conntrack-full", nodeName(ref), fmt.Sprintf("its connection tracking is full: %d of %d entries; new flows are dropped", max(c.Count, c.Namespace), c.Max), "find what fills it (conntrack -S, conntrack -L), or raise net.netfilter.nf_conntrack_max")
	}
	off, known := w.off(ref)
	if !known || off == 0 {
		return
	}
	if others, known := w.off(w.other(ref)); known && (off-others).Abs() <= skew {
		w.warn("clock-here", "this machine", fmt.Sprintf("the nodes' clocks agree, and are %v off from the one here", off), "set this machine's clock")
		return
	}
	w.found("clock", nodeName(ref), fmt.Sprintf("its clock is off by %v: WireGuard refuses handshakes with times that went back, and certificates seem not to be valid", off), "set it: is chronyd or ntpd running on the node?")
}

// off is by how much a node's clock differs from that of who asks; 0 if not by much.
func (w *walk) off(ref mesh.Ref) (by time.Duration, known bool) {
	n, v := w.e.Nodes[ref], w.view(ref)
	if v == nil || n.Asked.IsZero() {
		return 0, false
	}
	if v.Time.Before(n.Asked.Add(-skew)) || v.Time.After(n.Answered.Add(skew)) {
		by = v.Time.Sub(n.Asked).Round(time.Second)
	}
	return by, true
}

// silent finds out where handshakes get lost, by what passed the nodes' interfaces.
func (w *walk) silent() {
	near, far := w.view(w.near), w.view(w.far)
	for _, ref := range []mesh.Ref{w.near, w.far} {
		if v := w.view(ref); v != nil && len(v.Firewall) > 0 {
			w.found("firewall", nodeName(ref), "a rule of its own drops the tunnel's UDP port: "+strings.Join(v.Firewall, "; "), "take that rule away, or let the tunnel's port pass")
			return
		}
	}
	if w.translated(w.near, w.far) || w.translated(w.far, w.near) {
		return
	}
	if near == nil || far == nil {
		w.found("udp-blocked", fmt.Sprintf("the way between %s and %s", w.near, w.far), "the tunnels do not hear each other", "let UDP to the endpoints of the nodes pass: firewalls and load balancers between them")
		return
	}
	if w.lost(w.near, w.far) || w.lost(w.far, w.near) {
		return
	}
	w.found("no-handshake", fmt.Sprintf("the tunnel between %s and %s", w.near, w.far),
		"datagrams of both come to the other node, and no session comes about"+w.rejected(), "the two have other keys than they think, or a clock went back: restart both agents; see their logs")
}

func (w *walk) rejected() string {
	for _, ref := range []mesh.Ref{w.near, w.far} {
		v, other := w.view(ref), w.other(ref)
		if v != nil && v.Device != nil && w.arrived(v, other) > 0 {
			return fmt.Sprintf(" (%d came to %s)", w.arrived(v, other), ref)
		}
	}
	return ""
}

// translated tells whether a node sees the other one under an address that is none of it,
// where it cannot answer to.
func (w *walk) translated(at, of mesh.Ref) bool {
	v, theirs := w.view(at), w.tunnelNode(of, at.Cluster)
	if v == nil || v.Device == nil || theirs == nil {
		return false
	}
	known := w.known(of)
	for _, p := range v.Device.Peers {
		seen, err := netip.ParseAddrPort(p.Endpoint)
		if p.PublicKey != theirs.Spec.PublicKey || err != nil || len(known) == 0 || slices.Contains(known, seen.Addr()) {
			continue
		}
		w.found("nat", fmt.Sprintf("the way from %s to %s", of, at), fmt.Sprintf("%s hears it from %v, which is none of its addresses (%s): something on the way translates addresses, and answers do not come back by it", at, seen, addresses(known)),
			"let the nodes' UDP pass without translation of the source, or name the translated address in static_endpoints")
		return true
	}
	return false
}

// arrived counts datagrams at a node that come from an address of another one, and left
// those that go to one.
func (w *walk) arrived(v *NodeView, from mesh.Ref) int { return w.counted(v, from, false) }
func (w *walk) left(v *NodeView, to mesh.Ref) int      { return w.counted(v, to, true) }

func (w *walk) counted(v *NodeView, ref mesh.Ref, out bool) (n int) {
	known := w.known(ref)
	for _, d := range v.Datagrams {
		if d.Out == out && slices.Contains(known, d.Remote.Addr()) {
			n += d.Count
		}
	}
	return n
}

// lost tells whether what one node sends does not come to the other.
func (w *walk) lost(from, to mesh.Ref) bool {
	sender, receiver := w.view(from), w.view(to)
	sent, came := w.left(sender, to), w.arrived(receiver, from)
	sending := slices.ContainsFunc(sender.Device.peers(), func(p DevicePeer) bool { return p.Sent > 0 })
	endpoint := "?"
	if tn := w.tunnelNode(to, from.Cluster); tn != nil {
		endpoint = place(tn.Spec.Endpoint)
	}
	switch {
	case came > 0:
		return false
	case sent == 0 && sending:
		w.found("firewall", nodeName(from), fmt.Sprintf("its WireGuard sends to %s, and nothing leaves the node's interfaces: the node itself drops it", endpoint), "look at the node's firewall and routes: nft list ruleset, ip route get")
		return true
	case sent > 0:
		w.found("udp-blocked", fmt.Sprintf("the way from %s to %s", from, to), fmt.Sprintf("%d datagrams left %s for %s, and none came to %s", sent, from, endpoint, to),
			"something between the two drops UDP to "+endpoint+": open it in firewalls and security groups, and see that the load balancer sends it on to the node")
		return true
	}
	return false
}

func (d *Device) peers() []DevicePeer {
	if d == nil {
		return nil
	}
	return d.Peers
}

// mtu checks that packets of the tunnel's full size pass.
func (w *walk) mtu() {
	if !w.tunnel() {
		return
	}
	looked := false
	for _, ref := range []mesh.Ref{w.near, w.far} {
		other := w.other(ref)
		p := w.answers(ref, other)
		if p == nil || !p.Answers || p.Size == 0 {
			continue
		}
		looked = true
		if !p.Full {
			w.found("mtu", fmt.Sprintf("the way from %s to %s", ref, other), fmt.Sprintf("packets of the tunnel's full size, %d bytes, do not pass; such of %d do: the underlay is narrower than the nodes know and drops fragments", p.Size, p.Largest),
				fmt.Sprintf("let fragments or ICMP pass, or set tunnel_mtu: %d in the inventory and deploy", max(1280, p.Largest)))
			return
		}
		w.tell(fmt.Sprintf("%d bytes pass", p.Size))
	}
	if !looked {
		w.skip("nothing passes at all")
	}
}
