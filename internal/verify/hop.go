package verify

import (
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sdn-tunnel/sdn-tunnel/api/v1alpha1"
	"github.com/sdn-tunnel/sdn-tunnel/internal/mesh"
	"github.com/sdn-tunnel/sdn-tunnel/samples/test-app/probe"
)

// clusterFacts are what one cluster's API and agents know of the tunnels.
type clusterFacts struct {
	// err: the API could not be read.
	err   error
	links map[string]v1alpha1.LinkedCluster
	// nodes are the local ones and the mirrors.
	nodes map[mesh.Ref]v1alpha1.TunnelNode
	// agents are the nodes' own views, by node name.
	agents map[string]agentFacts
}

// agentFacts are what the agent of one node says.
type agentFacts struct {
	// err: the agent could not be asked.
	err   error
	peers map[mesh.Ref]peerFacts
	// flows is how many flows of ours are on the bridge; negative: unknown.
	flows int
}

// peerFacts are one peer of one node.
type peerFacts struct {
	// handshakeSeconds is the age of the last handshake; negative: never.
	handshakeSeconds float64
	endpoint         string
}

// handshakeLimit is WireGuard's REJECT_AFTER_TIME in seconds: an older session is dead.
const handshakeLimit = 180

// failingHop walks from the source to the target and names the first thing that is
// not as it should be.
func failingHop(p Pair, facts map[string]clusterFacts) string {
	if p.Error != "" {
		return fmt.Sprintf("node %s: the API server cannot run a command in its pod (kubelet or node down?)", p.From)
	}
	if hop := partialFailure(p); hop != "" {
		return hop
	}
	steps := []func() string{
		func() string { return localNode(p.from, facts[p.from.Cluster]) },
		func() string { return mirror(p.to, p.from.Cluster, facts[p.from.Cluster]) },
		func() string { return localNode(p.to, facts[p.to.Cluster]) },
		func() string { return mirror(p.from, p.to.Cluster, facts[p.to.Cluster]) },
		func() string { return handshake(p.from, p.to, facts[p.from.Cluster]) },
		func() string { return handshake(p.to, p.from, facts[p.to.Cluster]) },
		func() string { return flows(p.from, facts[p.from.Cluster]) },
		func() string { return flows(p.to, facts[p.to.Cluster]) },
	}
	if p.Kind == Baseline {
		return fmt.Sprintf("the pod network of cluster %s itself, between %s and %s", p.from.Cluster, p.From, p.To)
	}
	for _, step := range steps {
		if hop := step(); hop != "" {
			return hop
		}
	}
	return fmt.Sprintf("the tunnels of %s and %s are up: packets are lost between the tunnel of %s and the pod %s, or on the way back (network policy?)", p.From, p.To, p.To, p.ToAddress)
}

// partialFailure explains pairs of which some packets do pass.
func partialFailure(p Pair) string {
	failed := map[string]bool{}
	passed := 0
	for _, c := range p.Checks {
		switch {
		case c.OK:
			passed++
		case !c.Skipped:
			failed[c.Name] = true
		}
	}
	switch {
	case passed == 0:
		return ""
	case failed[probe.Source] && len(failed) == 1:
		return fmt.Sprintf("node %s: the source address is rewritten on the way to the tunnel (masquerading)", p.From)
	case failed[probe.Transfer] && len(failed) == 1:
		return fmt.Sprintf("the path between %s and %s: small packets and full ones pass, the transfer does not: it is too slow or loses packets", p.From, p.To)
	case failed[probe.DF] && !failed[probe.TCP]:
		return fmt.Sprintf("the path between %s and %s: its MTU is smaller than the tunnels assume, and no ICMP error says so (largest packet: %d bytes)", p.From, p.To, p.DFBytes)
	}
	return ""
}

// localNode checks a node by what its own cluster says of it.
func localNode(ref mesh.Ref, f clusterFacts) string {
	if f.err != nil {
		return fmt.Sprintf("cluster %s: its objects cannot be read: %v", ref.Cluster, f.err)
	}
	n, ok := f.nodes[ref]
	if !ok {
		return fmt.Sprintf("node %s: it has no TunnelNode: its agent does not run or has not started yet", ref)
	}
	for _, kind := range []string{v1alpha1.ConditionAccepted, v1alpha1.ConditionReady, v1alpha1.ConditionEndpointReady} {
		if c := falseCondition(n.Status.Conditions, kind); c != "" {
			return fmt.Sprintf("node %s: %s", ref, c)
		}
	}
	if n.Spec.Endpoint == nil {
		return fmt.Sprintf("node %s: it has no public endpoint: its Service has no address yet", ref)
	}
	return ""
}

// mirror checks what one cluster knows of a node of another.
func mirror(ref mesh.Ref, in string, f clusterFacts) string {
	if f.err != nil {
		return fmt.Sprintf("cluster %s: its objects cannot be read: %v", in, f.err)
	}
	link, linked := f.links[ref.Cluster]
	if !linked {
		return fmt.Sprintf("cluster %s: it has no LinkedCluster %s: run deploy", in, ref.Cluster)
	}
	n, ok := f.nodes[ref]
	if !ok {
		for _, kind := range []string{v1alpha1.ConditionReachable, v1alpha1.ConditionInSync} {
			if c := falseCondition(link.Status.Conditions, kind); c != "" {
				return fmt.Sprintf("cluster %s: it does not know node %s: LinkedCluster %s: %s", in, ref, ref.Cluster, c)
			}
		}
		return fmt.Sprintf("cluster %s: it does not know node %s: the controller has not mirrored it", in, ref)
	}
	if c := falseCondition(n.Status.Conditions, v1alpha1.ConditionAccepted); c != "" {
		return fmt.Sprintf("cluster %s refuses node %s: %s", in, ref, c)
	}
	if n.Spec.PublicKey == "" || n.Spec.Endpoint == nil {
		return fmt.Sprintf("cluster %s: node %s is known there without key or endpoint", in, ref)
	}
	return ""
}

// handshake checks the cable between two nodes from one end.
func handshake(ref, peer mesh.Ref, f clusterFacts) string {
	agent, ok := f.agents[ref.Node]
	if !ok || agent.err != nil || agent.peers == nil {
		return "" // not known
	}
	p, ok := agent.peers[peer]
	switch {
	case !ok:
		return fmt.Sprintf("node %s: its WireGuard has no peer %s", ref, peer)
	case p.handshakeSeconds < 0:
		return fmt.Sprintf("between %s and %s: there was no WireGuard handshake yet: UDP to %s does not get through (firewall, load balancer, service)", ref, peer, p.endpoint)
	case p.handshakeSeconds > handshakeLimit:
		return fmt.Sprintf("between %s and %s: the last WireGuard handshake is %.0f s old: UDP to %s no longer gets through", ref, peer, p.handshakeSeconds, p.endpoint)
	}
	return ""
}

// flows checks the bridge of a node.
func flows(ref mesh.Ref, f clusterFacts) string {
	if agent, ok := f.agents[ref.Node]; ok && agent.err == nil && agent.flows == 0 {
		return fmt.Sprintf("node %s: the flows of the tunnel are missing on its bridge", ref)
	}
	return ""
}

// falseCondition is the condition's text if it is there and not true.
func falseCondition(conditions []metav1.Condition, kind string) string {
	c := meta.FindStatusCondition(conditions, kind)
	if c == nil || c.Status == metav1.ConditionTrue {
		return ""
	}
	return fmt.Sprintf("%s is %s: %s: %s", kind, c.Status, c.Reason, c.Message)
}
