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
// their transition times from before; those of other writers are left out.
func statusOf(o Observation, missing string, before []metav1.Condition, now time.Time) v1alpha1.TunnelNodeStatus {
	s := v1alpha1.TunnelNodeStatus{
		AgentVersion: version.Version,
		Cable:        o.Cable,
		MTU:          int32(o.MTU),
		Peers:        countPeers(o.Peers, now),
	}
	for _, c := range []metav1.Condition{ready(o, missing), settled(o.State), accepted(o.State)} {
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
	for _, name := range slices.Sorted(maps.Keys(of)) {
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
