package verify

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/sdn-tunnel/sdn-tunnel/api/v1alpha1"
	"github.com/sdn-tunnel/sdn-tunnel/internal/mesh"
	"github.com/sdn-tunnel/sdn-tunnel/internal/podexec"
)

// diagnose fills in the failing hop of the pairs that failed.
func (o *Options) diagnose(ctx context.Context, clusters []cluster, pairs []Pair) {
	failing := false
	for _, p := range pairs {
		failing = failing || !p.OK()
	}
	if !failing {
		return
	}
	o.Progress(Event{"", "diagnose", "asking the clusters and the agents why pairs fail"})
	facts := map[string]clusterFacts{}
	var mu sync.Mutex
	_ = each(clusters, func(_ int, c cluster) error {
		f, err := c.facts(ctx, o.TunnelNamespace)
		f.err = err
		mu.Lock()
		defer mu.Unlock()
		facts[c.name()] = f
		return nil
	})
	for i := range pairs {
		if !pairs[i].OK() {
			pairs[i].FailingHop = failingHop(pairs[i], facts)
		}
	}
}

func (k *kubeCluster) facts(ctx context.Context, namespace string) (clusterFacts, error) {
	f := clusterFacts{links: map[string]v1alpha1.LinkedCluster{}, nodes: map[mesh.Ref]v1alpha1.TunnelNode{}}
	var links v1alpha1.LinkedClusterList
	if err := k.list(ctx, "linkedclusters", &links); err != nil {
		return f, err
	}
	for _, l := range links.Items {
		f.links[l.Name] = l
	}
	var nodes v1alpha1.TunnelNodeList
	if err := k.list(ctx, "tunnelnodes", &nodes); err != nil {
		return f, err
	}
	for _, n := range nodes.Items {
		f.nodes[mesh.Ref{Cluster: n.Spec.Cluster, Node: n.Spec.Node}] = n
	}
	f.agents = k.askAgents(ctx, namespace)
	return f, nil
}

// service is the test application's: its address, and the zone that its cluster declares.
func (k *kubeCluster) service(ctx context.Context, o *Options) (service, error) {
	s := service{cluster: k.member, namespace: o.Namespace, name: testService}
	var links v1alpha1.LinkedClusterList
	if err := k.list(ctx, "linkedclusters", &links); err != nil {
		return s, err
	}
	s.zone = "cluster." + k.member
	for _, l := range links.Items {
		if l.Name == k.member && l.Spec.DNSZone != "" {
			s.zone = l.Spec.DNSZone
		}
	}
	svc, err := k.client.CoreV1().Services(s.namespace).Get(ctx, s.name, metav1.GetOptions{})
	if err != nil {
		return s, fmt.Errorf("the test application's service: %w", err)
	}
	s.address = svc.Spec.ClusterIP
	return s, nil
}

// list reads all objects of one of our kinds into a typed list.
func (k *kubeCluster) list(ctx context.Context, resource string, into any) error {
	list, err := k.dynamic.Resource(v1alpha1.GroupVersion.WithResource(resource)).List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("list %s: %w", resource, err)
	}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(list.UnstructuredContent(), into); err != nil {
		return fmt.Errorf("read %s: %w", resource, err)
	}
	return nil
}

// askAgents runs `sdn-tunnel-agent status` in every agent's pod. What cannot be asked
// is left out: it only makes the diagnosis less exact.
func (k *kubeCluster) askAgents(ctx context.Context, namespace string) map[string]agentFacts {
	agents := map[string]agentFacts{}
	pods, err := k.client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/component=agent"})
	if err != nil {
		return agents
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, p := range pods.Items {
		wg.Go(func() {
			var a agentFacts
			out, err := podexec.Run(ctx, k.config, k.client, namespace, p.Name, nil, "sdn-tunnel-agent", "status", "-o", "json")
			if err == nil {
				a, err = readAgentStatus(out)
			}
			a.err = err
			mu.Lock()
			defer mu.Unlock()
			agents[p.Spec.NodeName] = a
		})
	}
	wg.Wait()
	return agents
}

// agentStatus is the part of `sdn-tunnel-agent status -o json` that is used here.
type agentStatus struct {
	Peers []struct {
		Name             string   `json:"name"` // <cluster>.<node>
		Endpoint         string   `json:"endpoint"`
		HandshakeSeconds *float64 `json:"handshakeAgeSeconds"`
	} `json:"peers"`
	Flows *int `json:"flows"`
}

func readAgentStatus(out []byte) (agentFacts, error) {
	var s agentStatus
	if err := json.Unmarshal(out, &s); err != nil {
		return agentFacts{}, fmt.Errorf("read the agent's status: %w", err)
	}
	a := agentFacts{peers: map[mesh.Ref]peerFacts{}, flows: -1}
	if s.Flows != nil {
		a.flows = *s.Flows
	}
	for _, p := range s.Peers {
		age := -1.0
		if p.HandshakeSeconds != nil {
			age = *p.HandshakeSeconds
		}
		cluster, node, _ := strings.Cut(p.Name, ".")
		a.peers[mesh.Ref{Cluster: cluster, Node: node}] = peerFacts{handshakeSeconds: age, endpoint: p.Endpoint}
	}
	return a, nil
}
