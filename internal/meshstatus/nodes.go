package meshstatus

import (
	"cmp"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/duration"

	"github.com/sdn-tunnel/sdn-tunnel/api/v1alpha1"
)

const userspaceCable = "wireguard-userspace"

// age is a duration as people say it.
func age(d time.Duration) string { return duration.HumanDuration(d) }

// nodes judges the cluster's own nodes.
func (j *judge) nodes() {
	agents := map[string]*corev1.Pod{}
	for _, p := range j.objects.Pods {
		if p.Labels[labelComponent] == componentAgent && p.DeletionTimestamp == nil {
			agents[p.Spec.NodeName] = p
		}
	}
	if len(j.objects.Nodes) == 0 {
		j.problem("Cluster "+j.cluster.Name, "it has no TunnelNode of its own: no agent has got as far", nil)
	}
	slices.SortFunc(j.objects.Nodes, func(a, b *v1alpha1.TunnelNode) int { return cmp.Compare(a.Name, b.Name) })
	for _, tn := range j.objects.Nodes {
		n := nodeOf(tn)
		if pod := agents[tn.Spec.Node]; pod != nil {
			n.Pod, n.Restarts = pod.Name, restarts(pod)
		}
		object := "TunnelNode " + tn.Name
		n.Health = Well
		if j.conditions(object, tn.Status.Conditions) {
			n.Health = Degraded
		}
		switch p := tn.Status.Peers; {
		case p == nil:
			n.Health = Down
			j.problem(object, "its agent has said nothing yet", &n.Created)
		case p.Stale+p.Never > 0 && p.Up == 0:
			n.Health = Down
		case p.Stale+p.Never > 0 || lossyPeers(p) > 0:
			n.Health = Degraded
		}
		if pod := agents[tn.Spec.Node]; len(j.objects.Pods) > 0 && (pod == nil || !podReady(pod)) {
			n.Health = Worse(n.Health, Degraded)
		}
		j.cluster.Nodes = append(j.cluster.Nodes, n)
	}
}

func nodeOf(tn *v1alpha1.TunnelNode) Node {
	n := Node{
		Name: tn.Name, Node: tn.Spec.Node, TunnelAddress: tn.Spec.TunnelAddress,
		Cable: tn.Status.Cable, MTU: tn.Status.MTU, AgentVersion: tn.Status.AgentVersion, Peers: tn.Status.Peers,
		Created: tn.CreationTimestamp, Conditions: tn.Status.Conditions,
	}
	if e := tn.Spec.Endpoint; e != nil {
		n.Endpoint = net.JoinHostPort(e.Host, strconv.Itoa(int(e.Port)))
	}
	for _, s := range tn.Spec.HostSubnets {
		n.HostSubnets = append(n.HostSubnets, string(s))
	}
	return n
}

func restarts(p *corev1.Pod) (n int32) {
	for _, c := range p.Status.ContainerStatuses {
		n += c.RestartCount
	}
	return n
}

func podReady(p *corev1.Pod) bool {
	return slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

// workloads judges agents, controller and name servers.
func (j *judge) workloads() {
	c := &j.cluster
	for _, ds := range j.objects.DaemonSets {
		if ds.Labels[labelComponent] != componentAgent {
			continue
		}
		c.Agents = &Workload{
			Name: ds.Name, Desired: ds.Status.DesiredNumberScheduled, Ready: ds.Status.NumberReady,
			Updated: ds.Status.UpdatedNumberScheduled, Image: image(ds.Spec.Template), Versions: map[string]int{},
		}
		if ds.Status.ObservedGeneration != ds.Generation {
			c.Agents.Updated = 0
		}
		for _, n := range j.objects.Nodes {
			if v := n.Status.AgentVersion; v != "" {
				c.Agents.Versions[v]++
			}
		}
		j.pods("DaemonSet "+ds.Name, componentAgent, c.Agents)
	}
	for _, d := range j.objects.Deployments {
		switch d.Labels[labelComponent] {
		case componentController:
			c.Controller = deployment(d)
			for _, lc := range j.objects.Links {
				if v := lc.Status.ControllerVersion; v != "" && lc.Name == c.Name {
					c.Controller.Versions = map[string]int{v: 1}
				}
			}
			j.pods("Deployment "+d.Name, componentController, c.Controller)
		case componentDNS:
			c.DNS = deployment(d)
			j.pods("Deployment "+d.Name, componentDNS, c.DNS)
		}
	}
	if c.Agents == nil {
		j.problem("Cluster "+c.Name, "there is no DaemonSet of agents: run the deploy", nil)
	}
	if c.Controller == nil {
		j.problem("Cluster "+c.Name, "there is no Deployment of the controller: run the deploy", nil)
	}
}

func deployment(d *appsv1.Deployment) *Workload {
	w := &Workload{Name: d.Name, Desired: 1, Ready: d.Status.ReadyReplicas, Updated: d.Status.UpdatedReplicas, Image: image(d.Spec.Template)}
	if d.Spec.Replicas != nil {
		w.Desired = *d.Spec.Replicas
	}
	if d.Status.ObservedGeneration != d.Generation {
		w.Updated = 0
	}
	return w
}

func image(t corev1.PodTemplateSpec) string {
	if len(t.Spec.Containers) == 0 {
		return ""
	}
	return t.Spec.Containers[0].Image
}

// pods says which pods of a workload are not ready, and why.
func (j *judge) pods(object, component string, w *Workload) {
	if w.Ready >= w.Desired && w.Desired > 0 {
		return
	}
	var bad []string
	for _, p := range j.objects.Pods {
		if p.Labels[labelComponent] == component && p.DeletionTimestamp == nil && !podReady(p) {
			bad = append(bad, fmt.Sprintf("%s on %s: %s", p.Name, cmp.Or(p.Spec.NodeName, "no node"), whyNotReady(p)))
		}
	}
	slices.Sort(bad)
	text := fmt.Sprintf("%d of %d pods are ready", w.Ready, w.Desired)
	if w.Desired == 0 {
		text = "there shall be none of it: was it scaled down?"
	}
	if len(bad) > 0 {
		text += ": " + few(bad)
	}
	j.problem(object, text, nil)
}

// whyNotReady is the first reason that a pod gives.
func whyNotReady(p *corev1.Pod) string {
	for _, s := range slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses) {
		switch {
		case s.State.Waiting != nil && s.State.Waiting.Reason != "":
			text := s.State.Waiting.Reason
			if t := s.LastTerminationState.Terminated; t != nil && t.Message != "" {
				text += ": " + lastLine(t.Message)
			}
			return text
		case s.State.Terminated != nil && s.State.Terminated.ExitCode != 0:
			return fmt.Sprintf("ended with %d", s.State.Terminated.ExitCode)
		}
	}
	for _, c := range p.Status.Conditions {
		if c.Status != corev1.ConditionTrue && c.Message != "" {
			return c.Message
		}
	}
	return string(p.Status.Phase)
}

func lastLine(s string) string {
	s = strings.TrimSpace(s)
	return s[strings.LastIndexByte(s, '\n')+1:]
}

// notes are what is no problem and still worth a line.
func (j *judge) notes() {
	c := &j.cluster
	versions, mtus, userspace := map[string]bool{}, map[int32]bool{}, 0
	for _, w := range []*Workload{c.Agents, c.Controller} {
		if w == nil {
			continue
		}
		for v := range w.Versions {
			versions[v] = true
		}
		if w.Updated < w.Desired && w.Ready >= w.Desired {
			c.Notes = append(c.Notes, fmt.Sprintf("%s: %d of %d pods are of the newest template", w.Name, w.Updated, w.Desired))
		}
	}
	for _, n := range c.Nodes {
		if n.MTU != 0 {
			mtus[n.MTU] = true
		}
		if n.Cable == userspaceCable {
			userspace++
		}
	}
	if len(versions) > 1 {
		c.Notes = append(c.Notes, "versions differ: "+strings.Join(slices.Sorted(maps.Keys(versions)), ", "))
	}
	if len(mtus) > 1 {
		c.Notes = append(c.Notes, fmt.Sprintf("the tunnels' MTU differs between nodes: %v", slices.Sorted(maps.Keys(mtus))))
	}
	if userspace > 0 {
		c.Notes = append(c.Notes, fmt.Sprintf("%d of %d nodes have WireGuard in userspace: it is slower, and pauses while the agent restarts", userspace, len(c.Nodes)))
	}
}
