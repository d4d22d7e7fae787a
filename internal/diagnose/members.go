package diagnose

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sdn-tunnel/sdn-tunnel/api/v1alpha1"
	"github.com/sdn-tunnel/sdn-tunnel/internal/mesh"
)

// agents checks that both nodes have an agent that answers.
func (w *walk) agents() {
	if !w.tunnel() {
		return
	}
	for _, ref := range []mesh.Ref{w.near, w.far} {
		w.agent(ref)
	}
}

func (w *walk) agent(ref mesh.Ref) {
	c, object := w.cluster(ref.Cluster), nodeName(ref)
	if c.Error != "" {
		w.warn("api-away", "cluster "+c.Name, "its API cannot be read: "+c.Error, "what is there goes on, and no change comes; see that its API server answers here, and who asks")
		w.unknown("the API of " + c.Name + " is away")
		return
	}
	pod := c.Agents[ref.Node]
	n := w.e.Nodes[ref]
	switch {
	case pod == nil:
		w.noAgent(c, object)
	case !podReady(pod) && (n == nil || n.Error != ""):
		w.found("agent-down", object, "its agent does not run"+suffix(whyNotReady(pod)), c.ours("describe pod "+pod.Name))
	case n == nil:
		w.unknown("the agent of " + ref.String() + " was not asked")
	case n.Error != "":
		w.found("agent-unreachable", object, "its agent's pod cannot be entered: "+n.Error, "is the node up? "+c.kubectl("get node "+ref.Node)+"; else restart the agent: "+c.ours("delete pod "+pod.Name))
	case n.View.Agent == nil:
		w.found("agent-silent", object, "its agent does not answer: "+n.View.AgentError, "it hangs or has just started: "+c.ours("delete pod "+pod.Name))
	case !n.View.Agent.APIConnected:
		w.warn("agent-blind", object, "its agent does not reach its API: it goes on with what it has, and no change comes", "the node's way to its API server; the agent's log says what fails")
	}
}

// noAgent is a node without an agent's pod.
func (w *walk) noAgent(c *Cluster, object string) {
	if c.AgentSet == "" {
		w.found("agent-missing", object, "no agent runs on it: namespace "+c.Namespace+" of "+c.Name+" has no DaemonSet of agents", deployAgain)
		return
	}
	w.found("agent-missing", object, "no agent runs on it: the DaemonSet has no pod there",
		"its nodeSelector or the node's taints keep it away: "+c.ours("describe daemonset "+c.AgentSet)+"; a deploy sets it right")
}

func podReady(p *corev1.Pod) bool {
	return p.DeletionTimestamp == nil && slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

// whyNotReady is the first reason that a pod gives.
func whyNotReady(p *corev1.Pod) string {
	for _, s := range slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses) {
		switch {
		case s.State.Waiting != nil && s.State.Waiting.Reason != "":
			return s.State.Waiting.Reason + suffix(s.State.Waiting.Message)
		case s.State.Terminated != nil && s.State.Terminated.ExitCode != 0:
			return fmt.Sprintf("it ended with %d%s", s.State.Terminated.ExitCode, suffix(s.State.Terminated.Message))
		}
	}
	for _, c := range p.Status.Conditions {
		if c.Status != corev1.ConditionTrue && c.Message != "" {
			return c.Message
		}
	}
	return string(p.Status.Phase)
}

// members checks what the objects of each side say of the two nodes.
func (w *walk) members() {
	if !w.tunnel() {
		return
	}
	for _, ref := range []mesh.Ref{w.near, w.far} {
		if w.cluster(ref.Cluster).Error == "" && ref.Node != "" {
			w.ownNode(ref)
		}
	}
	for _, ref := range []mesh.Ref{w.far, w.near} {
		if w.cluster(ref.Cluster).Error == "" && w.cluster(w.other(ref).Cluster).Error == "" && ref.Cluster != w.other(ref).Cluster {
			w.mirror(ref, w.cluster(w.other(ref).Cluster))
		}
	}
	w.controllers()
}

// agentOf is what has the log of a node's agent.
func agentOf(c *Cluster, node string) string {
	if pod := c.Agents[node]; pod != nil {
		return pod.Name
	}
	return "-l app.kubernetes.io/component=agent"
}

// ownNode checks a TunnelNode in its own cluster.
func (w *walk) ownNode(ref mesh.Ref) {
	c, object := w.cluster(ref.Cluster), "TunnelNode "+ref.String()
	tn := c.Nodes[ref]
	if tn == nil {
		w.found("no-tunnelnode", object, "there is none: the node's agent has not got as far", "the agent's log says why: "+c.ours("logs "+agentOf(c, ref.Node)))
		return
	}
	if real, ok := c.HostSubnets[ref.Node]; ok && !slices.Contains(prefixes(tn.Spec.HostSubnets), real) {
		w.found("wrong-subnet", object, fmt.Sprintf("it has the host subnets %v; the SDN gave the node %v", tn.Spec.HostSubnets, real), "the agent of the node writes it: see its log, or restart it")
	}
	if refused := meta.FindStatusCondition(tn.Status.Conditions, v1alpha1.ConditionAccepted); refused != nil && refused.Status == metav1.ConditionFalse {
		w.found("refused", object, "something of it is refused: "+refused.Message, "the message names field and reason; what it clashes with has to go")
	}
	w.endpoint(ref, tn)
	if tn.Spec.PublicKey == "" {
		w.found("no-key", object, "it has no public key yet", "the agent of the node writes it: see its log")
	}
	if tn.Spec.TunnelAddress == "" {
		w.found("no-tunnel-address", object, "it has no tunnel address yet"+suffix(w.whyStale(c, ref.Cluster)), w.remedyStale(c, ref.Cluster))
	}
}

// endpoint checks where the node is said to be reached, against its Service.
func (w *walk) endpoint(ref mesh.Ref, tn *v1alpha1.TunnelNode) {
	c, object := w.cluster(ref.Cluster), "TunnelNode "+ref.String()
	service, balanced := c.NodeServices[ref.Node]
	balanced = balanced && service.Type == corev1.ServiceTypeLoadBalancer
	e := tn.Spec.Endpoint
	switch {
	case balanced && len(service.Addresses) == 0:
		w.found("no-address", "Service "+ref.Cluster+"/"+c.Namespace+"/"+service.Name, "the load balancer gave it no address, so the tunnel of "+ref.Node+" is not reached from outside",
			"see what the load balancer says: "+c.ours("describe service "+service.Name)+"; widen its pool, or take another service_type")
	case e == nil:
		w.found("no-endpoint", object, "it has no endpoint: nobody knows where to reach it"+suffix(w.whyStale(c, ref.Cluster)), w.remedyStale(c, ref.Cluster))
	case balanced && !slices.Contains(service.Addresses, e.Host):
		w.found("stale-endpoint", object, fmt.Sprintf("its endpoint is %s; the load balancer has %v%s", e.Host, service.Addresses, suffix(w.whyStale(c, ref.Cluster))), w.remedyStale(c, ref.Cluster))
	}
}

// mirror checks that another cluster has the node as its own cluster has it.
func (w *walk) mirror(ref mesh.Ref, in *Cluster) {
	own, there := w.cluster(ref.Cluster).Nodes[ref], in.Nodes[ref]
	if own == nil || in.Links[ref.Cluster] == nil {
		return
	}
	object := fmt.Sprintf("TunnelNode %s in cluster %s", ref, in.Name)
	why, remedy := suffix(w.whyStale(in, ref.Cluster, v1alpha1.ConditionInSync)), w.remedyStale(in, ref.Cluster)
	switch {
	case there == nil:
		w.found("not-mirrored", object, "cluster "+in.Name+" does not know the node"+why, remedy)
	case there.Spec.PublicKey != own.Spec.PublicKey:
		w.found("wrong-key", object, fmt.Sprintf("it has the public key %s; the node's own is %s%s", there.Spec.PublicKey, own.Spec.PublicKey, why), remedy)
	case place(there.Spec.Endpoint) != place(own.Spec.Endpoint):
		w.found("stale-endpoint", object, fmt.Sprintf("it has the endpoint %s; the node's own cluster says %s%s", place(there.Spec.Endpoint), place(own.Spec.Endpoint), why), remedy)
	case !equal(there.Spec.HostSubnets, own.Spec.HostSubnets) || there.Spec.TunnelAddress != own.Spec.TunnelAddress:
		w.found("stale-mirror", object, fmt.Sprintf("it has %v and %s; the node's own cluster says %v and %s%s", there.Spec.HostSubnets, there.Spec.TunnelAddress, own.Spec.HostSubnets, own.Spec.TunnelAddress, why), remedy)
	}
}

func place(e *v1alpha1.Endpoint) string {
	if e == nil {
		return "none"
	}
	return net.JoinHostPort(e.Host, strconv.Itoa(int(e.Port)))
}

// controllers warns of what keeps changes from coming.
func (w *walk) controllers() {
	for _, ref := range []mesh.Ref{w.near, w.far} {
		c, member := w.cluster(ref.Cluster), w.other(ref).Cluster
		if c.Error != "" {
			continue
		}
		if c.Controller.Wanted <= 0 || c.Controller.Ready == 0 {
			w.warn("controller-down", "controller of cluster "+c.Name, fmt.Sprintf("0 of %d pods are ready%s: nothing that changes is taken over", max(0, c.Controller.Wanted), suffix(c.Controller.Trouble)), w.remedyStale(c, member))
			continue
		}
		if why := w.whyStale(c, member); why != "" && member != c.Name {
			w.warn("member-unreachable", fmt.Sprintf("LinkedCluster %s in cluster %s", member, c.Name), why, "traffic goes on, changes of "+member+" do not come: see that its API answers "+c.Name+"; a void access is renewed by a deploy")
		}
	}
}

// known are the addresses by which a node's tunnel may be seen outside.
func (w *walk) known(ref mesh.Ref) (all []netip.Addr) {
	add := func(s string) {
		if a, err := netip.ParseAddr(s); err == nil {
			all = append(all, a.Unmap())
		}
	}
	for _, c := range []string{ref.Cluster, w.other(ref).Cluster} {
		if tn := w.cluster(c).Nodes[ref]; tn != nil {
			if tn.Spec.Endpoint != nil {
				add(tn.Spec.Endpoint.Host)
			}
			for _, a := range tn.Spec.NodeAddresses {
				add(a)
			}
		}
	}
	for _, a := range w.cluster(ref.Cluster).NodeServices[ref.Node].Addresses {
		add(a)
	}
	return all
}
