package agent

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"

	"github.com/sdn-tunnel/sdn-tunnel/api/v1alpha1"
	"github.com/sdn-tunnel/sdn-tunnel/internal/events"
	"github.com/sdn-tunnel/sdn-tunnel/internal/mesh"
)

// Actions of the Events on a node's own TunnelNode.
const (
	actionHandshake  = "Handshake"
	actionRepair     = "Repair"
	actionApply      = "Apply"
	actionReplaceKey = "ReplaceKey"
)

// firstHandshake is how long a peer may be without any before it counts as down: it may
// be new, or this node's WireGuard may be.
const firstHandshake = 30 * time.Second

// chronicle tells what happened from one observation to the next. What it finds at first
// has been said by an earlier process, or is in the conditions.
type chronicle struct {
	begun bool
	down  map[mesh.Ref]bool
	// fresh are peers without any handshake, and since when they are known.
	fresh map[mesh.Ref]time.Time
	parts map[string]PartState
}

// read gives what an operator should hear of. Events are about the node that it is.
func (c *chronicle) read(o Observation, now time.Time) (out []events.Event) {
	if o.State.Applied {
		out = append(out, c.readParts(o.State.Parts)...)
	}
	if o.PeersErr == nil {
		out = append(out, c.readPeers(o.Peers, now)...)
	}
	return out
}

// change is which peers of a member are down since the last look, and which are not any
// more.
type change struct {
	down, back []string
	up, all    int
}

func (c *chronicle) readPeers(peers []Peer, now time.Time) (out []events.Event) {
	down, fresh, of := map[mesh.Ref]bool{}, map[mesh.Ref]time.Time{}, map[string]*change{}
	for _, p := range peers {
		m := of[p.Ref.Cluster]
		if m == nil {
			m = &change{}
			of[p.Ref.Cluster] = m
		}
		m.all++
		state := p.State(now)
		if state == PeerNever {
			since, known := c.fresh[p.Ref]
			if !known {
				since = now
			}
			fresh[p.Ref] = since
		}
		switch waits := state == PeerNever && now.Sub(fresh[p.Ref]) < firstHandshake; {
		case state == PeerUp:
			m.up++
			if c.down[p.Ref] {
				m.back = append(m.back, p.Ref.String())
			}
		case c.down[p.Ref]:
			down[p.Ref] = true
		case !waits:
			down[p.Ref] = true
			m.down = append(m.down, p.Ref.String())
		}
	}
	if c.begun {
		for _, member := range slices.Sorted(maps.Keys(of)) {
			if e, news := of[member].event(member); news {
				out = append(out, e)
			}
		}
	}
	c.begun, c.down, c.fresh = true, down, fresh
	return out
}

// event says it of all peers of the member at once, however many these are.
func (m *change) event(member string) (events.Event, bool) {
	e := events.Event{Action: actionHandshake, Reason: "PeersBack",
		Related: &corev1.ObjectReference{APIVersion: v1alpha1.GroupVersion.String(), Kind: "LinkedCluster", Name: member}}
	var texts []string
	if len(m.down) > 0 {
		e.Reason, e.Warning = "PeersDown", true
		texts = append(texts, "no handshake of late with "+few(m.down, int32(len(m.down)))+
			": their UDP port cannot be reached from here, or they are down")
	}
	if len(m.back) > 0 {
		texts = append(texts, few(m.back, int32(len(m.back)))+" can be reached again")
	}
	e.Note = fmt.Sprintf("%s; of %s %d of %d peers are up", strings.Join(texts, "; "), member, m.up, m.all)
	return e, len(texts) > 0
}

// readParts tells of repairs, of parts that fail and that are well again.
func (c *chronicle) readParts(parts []PartState) (out []events.Event) {
	var repaired, contested []string
	before, known := c.parts, c.parts != nil
	c.parts = map[string]PartState{}
	for _, p := range parts {
		was := before[p.Name]
		c.parts[p.Name] = PartState{Err: p.Err, Contested: p.Contested, Repairs: p.Repairs}
		if p.Repairs > was.Repairs {
			repaired = append(repaired, p.Name+": "+p.Repaired)
		}
		if p.Contested && !was.Contested {
			contested = append(contested, p.Name)
		}
		switch {
		case !known:
		case p.Err != nil && (was.Err == nil || was.Err.Error() != p.Err.Error()):
			out = append(out, events.Event{Action: actionApply + p.Name, Reason: "PartFailed", Warning: true,
				Note: fmt.Sprintf("%s: %v; it is tried again", p.Name, p.Err)})
		case p.Err == nil && was.Err != nil:
			out = append(out, events.Event{Action: actionApply + p.Name, Reason: "PartWell", Note: p.Name + " is as planned again"})
		}
	}
	if len(repaired) > 0 {
		e := events.Event{Action: actionRepair, Reason: "Repaired",
			Note: "put back what something else on the node had changed: " + strings.Join(repaired, "; ")}
		if len(contested) > 0 {
			e.Reason, e.Warning = "Contested", true
			e.Note = "something else on the node undoes again and again what the agent makes: " + strings.Join(contested, ", ") + "; " + e.Note
		}
		out = append(out, e)
	}
	return out
}

// keyEvent says what came of a replacement of the node's key.
func keyEvent(why string, now mesh.Key, err error) events.Event {
	if err != nil {
		return events.Event{Action: actionReplaceKey, Reason: "KeyNotReplaced", Warning: true,
			Note: fmt.Sprintf("the node's key was not replaced (reason: %s): %v", why, err)}
	}
	return events.Event{Action: actionReplaceKey, Reason: "KeyReplaced",
		Note: fmt.Sprintf("the node has a new key (reason: %s), its public half is %s; the former one is destroyed", why, now)}
}

// tell has Events made about this node, once it has a TunnelNode.
func (a *Agent) tell(all ...events.Event) {
	self, found := a.cluster.nodes.get(a.cfg.Self.String())
	if !found {
		return
	}
	for _, e := range all {
		e.About = corev1.ObjectReference{APIVersion: v1alpha1.GroupVersion.String(), Kind: "TunnelNode", Name: self.Name, UID: self.UID}
		a.recorder.Say(e)
	}
}

func (c *Cluster) writeEvent(ctx context.Context, e *eventsv1.Event) error {
	err := c.events.Post().Namespace(e.Namespace).Resource("events").Body(e).Do(ctx).Error()
	if err != nil {
		return fmt.Errorf("create Event %s/%s: %w", e.Namespace, e.Name, err)
	}
	return nil
}
