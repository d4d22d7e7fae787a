package meshstatus

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sdn-tunnel/sdn-tunnel/api/v1alpha1"
	"github.com/sdn-tunnel/sdn-tunnel/internal/golden"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func before(d time.Duration) metav1.Time { return metav1.NewTime(noon.Add(-d)) }

func yes(kind string) metav1.Condition {
	return metav1.Condition{Type: kind, Status: metav1.ConditionTrue, Reason: "Fine", LastTransitionTime: before(time.Hour)}
}

func no(kind, reason, message string, since time.Duration) metav1.Condition {
	return metav1.Condition{Type: kind, Status: metav1.ConditionFalse, Reason: reason, Message: message, LastTransitionTime: before(since)}
}

func workloadMeta(component string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Name: "sdn-tunnel-" + component, Namespace: "sdn-tunnel",
		Labels: map[string]string{"app.kubernetes.io/name": "sdn-tunnel", labelComponent: component}}
}

func template(component string) corev1.PodTemplateSpec {
	return corev1.PodTemplateSpec{Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: component, Image: "registry.example/" + component + ":v1.2.0"}}}}
}

func pod(component, node string, ready bool) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: workloadMeta(component)}
	p.Name += "-" + node
	p.Spec.NodeName = node
	status := corev1.ConditionTrue
	p.Status.ContainerStatuses = []corev1.ContainerStatus{{RestartCount: 2}}
	if !ready {
		status = corev1.ConditionFalse
		p.Status.ContainerStatuses[0].State.Waiting = &corev1.ContainerStateWaiting{Reason: "ImagePullBackOff"}
	}
	p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: status}}
	return p
}

// cluster is a member with n nodes, all well, linked to the others of n nodes each.
func cluster(name string, i, n int, others ...string) Objects {
	o := Objects{Cluster: name}
	o.Links = append(o.Links, &v1alpha1.LinkedCluster{ObjectMeta: metav1.ObjectMeta{Name: name},
		Status: v1alpha1.LinkedClusterStatus{Nodes: int32(n), ControllerVersion: "v1.2.0", Conditions: []metav1.Condition{yes("Accepted"), yes("Reachable"), yes("InSync")}}})
	peers := v1alpha1.PeerCounts{Configured: int32(n * len(others)), Up: int32(n * len(others))}
	for _, other := range others {
		o.Links = append(o.Links, &v1alpha1.LinkedCluster{ObjectMeta: metav1.ObjectMeta{Name: other}, Status: v1alpha1.LinkedClusterStatus{
			Nodes: int32(n), Services: 14, ControllerVersion: "v1.2.0",
			Access:     &v1alpha1.AccessLife{Issued: before(72 * time.Hour), Expires: metav1.NewTime(noon.Add(648 * time.Hour))},
			Conditions: []metav1.Condition{yes("Accepted"), yes("Reachable"), yes("InSync"), yes("ServicesSynced")}}})
		peers.Clusters = append(peers.Clusters, v1alpha1.ClusterPeers{Cluster: other, Up: int32(n), Path: &v1alpha1.PathState{Probed: int32(n),
			RoundTripMicroseconds: 1240, SlowestMicroseconds: 4100, ReceiveBitsPerSecond: 12_000_000, TransmitBitsPerSecond: 800_000}})
	}
	for k := range n {
		node := fmt.Sprintf("%s-%d", name, k+1)
		o.Nodes = append(o.Nodes, &v1alpha1.TunnelNode{
			ObjectMeta: metav1.ObjectMeta{Name: name + "." + node, CreationTimestamp: before(96 * time.Hour)},
			Spec: v1alpha1.TunnelNodeSpec{Cluster: name, Node: node, Endpoint: &v1alpha1.Endpoint{Host: fmt.Sprintf("192.0.2.%d", 10*i+k+1), Port: 5555},
				TunnelAddress: fmt.Sprintf("100.127.%d.%d", 4*i, k+1), HostSubnets: []v1alpha1.CIDR{v1alpha1.CIDR(fmt.Sprintf("10.%d.%d.0/23", 128+4*i, 2*k))}},
			Status: v1alpha1.TunnelNodeStatus{AgentVersion: "v1.2.0", Cable: "wireguard", MTU: 1370, Peers: peers.DeepCopy(),
				Conditions: []metav1.Condition{yes("Ready"), yes("Settled"), yes("Accepted"), yes("EndpointReady")}},
		})
		o.Pods = append(o.Pods, pod(componentAgent, node, true))
	}
	o.DaemonSets = []*appsv1.DaemonSet{{ObjectMeta: workloadMeta(componentAgent), Spec: appsv1.DaemonSetSpec{Template: template(componentAgent)},
		Status: appsv1.DaemonSetStatus{DesiredNumberScheduled: int32(n), NumberReady: int32(n), UpdatedNumberScheduled: int32(n)}}}
	for _, component := range []string{componentController, componentDNS} {
		o.Deployments = append(o.Deployments, &appsv1.Deployment{ObjectMeta: workloadMeta(component), Spec: appsv1.DeploymentSpec{Replicas: new(int32(2)), Template: template(component)},
			Status: appsv1.DeploymentStatus{ReadyReplicas: 2, UpdatedReplicas: 2}})
	}
	return o
}

// ill is a mesh in which much is wrong.
func ill() []Objects {
	east, west := cluster("east", 0, 2, "west", "north"), cluster("west", 1, 2, "east", "north")
	last := before(12 * time.Minute)
	for _, n := range east.Nodes {
		n.Status.Peers.Up, n.Status.Peers.Stale, n.Status.Peers.Never = 2, 1, 1
		n.Status.Peers.Clusters = []v1alpha1.ClusterPeers{{Cluster: "north", Up: 2}, {Cluster: "west", Stale: 1, Never: 1}}
		n.Status.Peers.NotUp = []v1alpha1.PeerDown{{Name: "west.west-1", LastHandshake: &last}, {Name: "west.west-2"}}
	}
	east.Nodes[0].Status.Conditions[1] = no("Settled", "Contested", "something else undoes flows", 3*time.Minute)
	east.Links[1].Status.Conditions[1] = no("Reachable", "Unreachable", "dial tcp 192.0.2.9:6443:\n i/o timeout\x1b[31m", 25*time.Minute)
	east.Links[1].Status.Conditions[2] = no("InSync", "Unreachable", "the 2 nodes that are known are kept", 20*time.Minute)
	east.Links[2].Status.Access.Expires = before(time.Minute)
	west.Nodes[1].Status = v1alpha1.TunnelNodeStatus{}
	west.Nodes[0].Status.Peers.Clusters[1].Path = &v1alpha1.PathState{Probed: 2, RoundTripMicroseconds: 81_000, SlowestMicroseconds: 200_000, LossPercent: 23,
		LossyPeers: 1, Lossy: []string{"north.north-1"}}
	west.Nodes[0].Status.Cable, west.Nodes[0].Status.AgentVersion = userspaceCable, "v1.1.0"
	west.Pods[1] = pod(componentAgent, "west-2", false)
	west.DaemonSets[0].Status.NumberReady = 1
	west.Links[1].Status.Access.Expires = metav1.NewTime(noon.Add(10 * time.Hour))
	west.Events = []*corev1.Event{
		{Type: "Warning", Reason: "Failed", Message: "pull\nimage", Count: 7, LastTimestamp: before(time.Minute), InvolvedObject: corev1.ObjectReference{Kind: "Pod", Name: "sdn-tunnel-agent-west-2"}},
		{Type: "Warning", Reason: "Failed", Message: "earlier", Count: 1, LastTimestamp: before(2 * time.Minute), InvolvedObject: corev1.ObjectReference{Kind: "Pod", Name: "sdn-tunnel-agent-west-2"}},
		{Type: "Warning", Reason: "Old", LastTimestamp: before(2 * time.Hour)},
		{Type: "Normal", Reason: "Pulled", LastTimestamp: before(time.Minute)},
	}
	return []Objects{east, west, {Cluster: "north", Err: errors.New("cluster north: https://north.example:6443 does not answer")}}
}

// somePairs are many that are well, and some that are not, which are shown.
func somePairs() (all []Pair) {
	age, trip, well, bad := 12.0, 1.5, 0.0, 0.4
	for i := range manyPairs {
		all = append(all, Pair{Node: "east.east-1", Peer: fmt.Sprintf("west.w%d", i), State: "up", HandshakeAge: &age, RoundTrip: &trip, Loss: &well, Receiving: 1e6, Sending: 2e3})
	}
	old, slow := 600.0, 95.0
	return append(all, Pair{Node: "east.east-2", Peer: "west.w1", State: "up", HandshakeAge: &age, RoundTrip: &trip, Loss: &bad},
		Pair{Node: "east.east-2", Peer: "west.w2", State: "stale", HandshakeAge: &old}, Pair{Node: "east.east-2", Peer: "west.w3", State: "never"},
		Pair{Node: "east.east-2", Peer: "west.w4", State: "up", HandshakeAge: &age, RoundTrip: &slow, Loss: &well})
}

func TestRendering(t *testing.T) {
	good := Make(noon, []Objects{cluster("east", 0, 2, "west"), cluster("west", 1, 2, "east")})
	bad := Make(noon, ill())
	pairs := Make(noon, []Objects{cluster("east", 0, 2, "west")})
	pairs.Clusters[0].Pairs = somePairs()
	large := Make(noon, []Objects{cluster("east", 0, 60, "west"), ill()[1]})
	for name, write := range map[string]func(io.Writer) error{
		"well.txt":       func(w io.Writer) error { return good.WriteTable(w, Format{}) },
		"well.json":      good.WriteJSON,
		"ill.txt":        func(w io.Writer) error { return bad.WriteTable(w, Format{}) },
		"ill-wide.txt":   func(w io.Writer) error { return bad.WriteTable(w, Format{Wide: true}) },
		"ill-colour.txt": func(w io.Writer) error { return bad.WriteTable(w, Format{Colour: true}) },
		"ill.yaml":       bad.WriteYAML,
		"large.txt":      func(w io.Writer) error { return large.WriteTable(w, Format{}) },
		"pairs.txt":      func(w io.Writer) error { return pairs.WriteTable(w, Format{}) },
		"undeployed.txt": func(w io.Writer) error { return Make(noon, []Objects{{Cluster: "east"}}).WriteTable(w, Format{}) },
	} {
		t.Run(name, func(t *testing.T) {
			var b strings.Builder
			if err := write(&b); err != nil {
				t.Fatal(err)
			}
			golden.Check(t, name, b.String())
		})
	}
}

// TestHealth: each fault by itself is noticed, and says where.
func TestHealth(t *testing.T) {
	for name, c := range map[string]struct {
		fault func(*Objects)
		says  string // empty: all is well
	}{
		"nothing":      {func(*Objects) {}, ""},
		"a condition":  {func(o *Objects) { o.Nodes[0].Status.Conditions[0].Status = metav1.ConditionUnknown }, "TunnelNode east.east-1: Ready is Unknown"},
		"a stale peer": {func(o *Objects) { o.Nodes[1].Status.Peers.Stale = 1 }, "Peers: 1 more pairs"},
		"loss": {func(o *Objects) {
			p := o.Nodes[1].Status.Peers.Clusters[0].Path
			p.LossyPeers, p.Lossy = 2, []string{"west.west-1"}
		}, "Peer west.west-1: a fifth or more of the probes to it is lost on 1 of 2 nodes (east-2): packets are dropped between them\nPeers: between 1 more pairs"},
		"a little loss":          {func(o *Objects) { o.Nodes[1].Status.Peers.Clusters[0].Path.LossPercent = 9 }, ""},
		"not measured":           {func(o *Objects) { o.Nodes[1].Status.Peers.Clusters[0].Path = nil }, ""},
		"a silent agent":         {func(o *Objects) { o.Nodes[1].Status.Peers = nil }, "TunnelNode east.east-2: its agent has said nothing"},
		"no node":                {func(o *Objects) { o.Nodes = nil }, "no TunnelNode of its own"},
		"no agents":              {func(o *Objects) { o.DaemonSets = nil }, "no DaemonSet"},
		"no controller":          {func(o *Objects) { o.Deployments = nil }, "no Deployment of the controller"},
		"controllers down":       {func(o *Objects) { o.Deployments[0].Status.ReadyReplicas = 0 }, "Deployment sdn-tunnel-controller: 0 of 2 pods"},
		"name servers down":      {func(o *Objects) { o.Deployments[1].Status.ReadyReplicas = 1 }, "Deployment sdn-tunnel-dns: 1 of 2 pods"},
		"no name servers":        {func(o *Objects) { o.Deployments = o.Deployments[:1] }, ""},
		"no agent is wanted":     {func(o *Objects) { o.DaemonSets[0].Status = appsv1.DaemonSetStatus{} }, "there shall be none of it"},
		"not itself":             {func(o *Objects) { o.Links = o.Links[1:] }, "LinkedCluster east: the cluster has none of itself"},
		"nothing said of it":     {func(o *Objects) { o.Links[1].Status.Conditions = nil }, "LinkedCluster west: the controller has said nothing"},
		"no renewal":             {func(o *Objects) { o.Links[1].Status.Access.Expires = metav1.NewTime(noon.Add(10 * time.Hour)) }, "ends in 10h and should have been renewed"},
		"renewed at half":        {func(o *Objects) { o.Links[1].Status.Access.Expires = metav1.NewTime(noon.Add(70 * time.Hour)) }, ""},
		"an update is under way": {func(o *Objects) { o.DaemonSets[0].Generation = 2 }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			o := cluster("east", 0, 2, "west")
			c.fault(&o)
			r := Make(noon, []Objects{o})
			var said []string
			for _, p := range r.Clusters[0].Problems {
				said = append(said, p.Object+": "+p.Message)
			}
			if all := strings.Join(said, "\n"); (c.says == "") != (r.Health() == Well) || !strings.Contains(all, c.says) {
				t.Errorf("%s: %s", r.Health(), all)
			}
		})
	}
}
