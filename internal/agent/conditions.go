package agent

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sdn-tunnel/sdn-tunnel/api/v1alpha1"
	"github.com/sdn-tunnel/sdn-tunnel/internal/kuberouter"
	"github.com/sdn-tunnel/sdn-tunnel/internal/mesh"
	"github.com/sdn-tunnel/sdn-tunnel/internal/version"
)

// shownRefusals bounds the refusals that a condition spells out.
const shownRefusals = 10

// statusOf is the TunnelNode status that says what was observed. Conditions keep
// their transition times from before; those of other writers are left out. settle, if not
// nil, may keep values of before.
func statusOf(o Observation, missing string, before []metav1.Condition, now time.Time, settle func(*v1alpha1.TunnelNodeStatus)) v1alpha1.TunnelNodeStatus {
	s := v1alpha1.TunnelNodeStatus{
		AgentVersion: version.Version,
		Cable:        o.Cable,
		MTU:          int32(o.MTU),
		Peers:        countPeers(o.Peers, now),
		Key:          o.Key,
	}
	if settle != nil {
		settle(&s)
	}
	for _, c := range []metav1.Condition{ready(o, missing), peersUp(s.Peers), settled(o.State), accepted(o.State)} {
		if old := meta.FindStatusCondition(before, c.Type); old != nil {
			s.Conditions = append(s.Conditions, *old)
		}
		c.LastTransitionTime = metav1.NewTime(now.Truncate(time.Second))
		meta.SetStatusCondition(&s.Conditions, c)
	}
	return s
}

func countPeers(peers []Peer, now time.Time) *v1alpha1.PeerCounts {
	n := &v1alpha1.PeerCounts{Configured: int32(len(peers))}
	of := map[string]*v1alpha1.ClusterPeers{}
	for _, p := range peers {
		c := of[p.Ref.Cluster]
		if c == nil {
			c = &v1alpha1.ClusterPeers{Cluster: p.Ref.Cluster}
			of[p.Ref.Cluster] = c
		}
		switch p.State(now) {
		case PeerUp:
			n.Up++
			c.Up++
			continue
		case PeerStale:
			n.Stale++
			c.Stale++
		default:
			n.Never++
			c.Never++
		}
		if len(n.NotUp) < v1alpha1.MaxPeersDown {
			n.NotUp = append(n.NotUp, peerDown(p))
		}
	}
	paths := pathsOf(peers)
	for _, name := range slices.Sorted(maps.Keys(of)) {
		of[name].Path = paths[name]
		n.Clusters = append(n.Clusters, *of[name])
	}
	return n
}

func peerDown(p Peer) v1alpha1.PeerDown {
	d := v1alpha1.PeerDown{Name: p.Ref.String()}
	if !p.LastHandshake.IsZero() {
		at := metav1.NewTime(p.LastHandshake.Truncate(time.Second)) // as the API keeps it
		d.LastHandshake = &at
	}
	return d
}

// ready says whether the data plane is as planned, and if not, what is missing.
func ready(o Observation, missing string) metav1.Condition {
	c := metav1.Condition{Type: v1alpha1.ConditionReady, Status: metav1.ConditionFalse}
	failed := o.State.Failed()
	switch {
	case len(failed) > 0:
		var lines []string
		for _, p := range failed {
			lines = append(lines, fmt.Sprintf("%s: %v", p.Name, p.Err))
		}
		c.Reason, c.Message = "PartFailed", strings.Join(lines, "; ")
	case o.State.Source == PlanNone || !o.State.Applied:
		c.Reason, c.Message = "Starting", "the plan has not been applied yet"
	case missing != "":
		c.Reason, c.Message = "NoHostSubnet", missing
	case !o.State.Plan.TunnelAddress.IsValid():
		c.Reason, c.Message = "NoTunnelAddress", "the controller has not given this node a tunnel address yet"
	default:
		c.Status, c.Reason = metav1.ConditionTrue, "AsPlanned"
		c.Message = "the data plane is as planned"
		if o.Cable == "wireguard-userspace" {
			c.Message += "; WireGuard runs in the agent, for the kernel has none: it is slower, and pauses while the agent restarts"
		}
		c.Message += overloaded(o.KubeRouters)
	}
	return c
}

// shownPeers bounds the peers that a condition names.
const shownPeers = 5

// peersUp says whether the tunnel reaches every peer.
func peersUp(n *v1alpha1.PeerCounts) metav1.Condition {
	c := metav1.Condition{Type: v1alpha1.ConditionPeersUp, Status: metav1.ConditionTrue, Reason: "AllUp",
		Message: fmt.Sprintf("all %d peers are up", n.Configured)}
	var missing, lossy, texts []string
	lossyPeers := int32(0)
	for _, p := range n.NotUp {
		missing = append(missing, p.Name)
	}
	for _, m := range n.Clusters {
		if m.Path != nil {
			lossyPeers += m.Path.LossyPeers
			lossy = append(lossy, m.Path.Lossy...)
		}
	}
	if lossyPeers > 0 {
		c.Status, c.Reason = metav1.ConditionFalse, "PacketsLost"
		texts = append(texts, fmt.Sprintf("of probes to %d of %d peers a fifth or more is lost: %s; packets are dropped between these nodes",
			lossyPeers, n.Configured, few(lossy, lossyPeers)))
	}
	if down := n.Stale + n.Never; down > 0 {
		c.Status, c.Reason = metav1.ConditionFalse, "PeersDown"
		texts = slices.Insert(texts, 0, fmt.Sprintf("%d of %d peers have no handshake of the last three minutes: %s; their UDP port cannot be reached from here, or they are down",
			down, n.Configured, few(missing, down)))
	}
	if n.Configured == 0 {
		c.Reason, c.Message = "NoPeers", "there are no peers yet"
	}
	if len(texts) > 0 {
		c.Message = strings.Join(texts, "; ")
	}
	return c
}

// few names the first of so many.
func few(names []string, all int32) string {
	names = names[:min(len(names), shownPeers)]
	text := strings.Join(names, ", ")
	if more := all - int32(len(names)); more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// settled says whether what this node's agent makes stays as it is.
func settled(s State) metav1.Condition {
	var contested []string
	for _, p := range s.Parts {
		if p.Contested {
			contested = append(contested, p.Name)
		}
	}
	if len(contested) == 0 {
		return metav1.Condition{Type: v1alpha1.ConditionSettled, Status: metav1.ConditionTrue,
			Reason: "Settled", Message: "what the agent makes stays as it is"}
	}
	return metav1.Condition{Type: v1alpha1.ConditionSettled, Status: metav1.ConditionFalse, Reason: "Contested",
		Message: "something else on the node undoes what the agent makes, again and again: " + strings.Join(contested, ", ") +
			"; the agent's log has what it puts back: end what changes it"}
}

// overloaded says which members have more services than kube-router is good for.
func overloaded(all []kuberouter.Status) (text string) {
	for _, k := range all {
		if k.Services > kuberouter.Fit {
			text += fmt.Sprintf("; kube-router follows the %d services and ports of %s slowly, as they are more than about %d: service_proxy nftables does not mind",
				k.Services, k.Member, kuberouter.Fit)
		}
	}
	return text
}

// accepted says what is refused of this node; what is refused of others is added for
// people to see.
func accepted(s State) metav1.Condition {
	var ours, others []string
	for _, r := range s.Refusals {
		if r.Ref == s.Plan.Self || r.Ref == (mesh.Ref{Cluster: s.Plan.Self.Cluster}) {
			ours = append(ours, r.String())
		} else {
			others = append(others, r.String())
		}
	}
	c := metav1.Condition{
		Type: v1alpha1.ConditionAccepted, Status: metav1.ConditionTrue,
		Reason: "NothingRefused", Message: "nothing is refused",
	}
	switch {
	case len(ours) > 0:
		c.Status, c.Reason, c.Message = metav1.ConditionFalse, "Refused", join(append(ours, others...))
	case len(others) > 0:
		c.Reason, c.Message = "OthersRefused", "nothing of this node is refused; of others: "+join(others)
	}
	return c
}

func join(lines []string) string {
	if more := len(lines) - shownRefusals; more > 0 {
		lines = append(lines[:shownRefusals:shownRefusals], fmt.Sprintf("and %d more", more))
	}
	return strings.Join(lines, "; ")
}
