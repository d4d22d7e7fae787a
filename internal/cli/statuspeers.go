package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"

	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/kubernetes"

	"github.com/sdn-tunnel/sdn-tunnel/internal/agent"
	"github.com/sdn-tunnel/sdn-tunnel/internal/meshstatus"
	"github.com/sdn-tunnel/sdn-tunnel/internal/podexec"
)

// askAtOnce is how many agents are asked at a time in each cluster.
const askAtOnce = 16

// askAgents adds to a report what the agents themselves say of their peers. An agent that
// cannot be asked is noted.
func askAgents(ctx context.Context, o meshstatus.Options, r *meshstatus.Report) {
	var group sync.WaitGroup
	for i := range r.Clusters {
		group.Go(func() {
			c := &r.Clusters[i]
			if c.Error != "" {
				return
			}
			ctx, cancel := context.WithTimeout(ctx, o.Timeout)
			defer cancel()
			if err := askCluster(ctx, o, c); err != nil {
				c.Notes = append(c.Notes, "not every agent could be asked: "+err.Error())
			}
		})
	}
	group.Wait()
}

func askCluster(ctx context.Context, o meshstatus.Options, c *meshstatus.Cluster) error {
	ask, err := asker(ctx, o, c.Name)
	if err != nil {
		return err
	}
	var group errgroup.Group
	group.SetLimit(askAtOnce)
	answers := make([][]meshstatus.Pair, len(c.Nodes))
	for i, n := range c.Nodes {
		if n.Pod == "" {
			continue
		}
		group.Go(func() (err error) {
			if answers[i], err = ask(n); err != nil {
				return fmt.Errorf("%s: %w", n.Name, err)
			}
			return nil
		})
	}
	err = group.Wait()
	for _, pairs := range answers {
		c.Pairs = append(c.Pairs, pairs...)
	}
	return err
}

// asker asks the agents of one cluster.
func asker(ctx context.Context, o meshstatus.Options, cluster string) (func(meshstatus.Node) ([]meshstatus.Pair, error), error) {
	for _, m := range o.Members {
		if m.Name != cluster {
			continue
		}
		config, err := m.Open(ctx)
		if err != nil {
			return nil, err
		}
		client, err := kubernetes.NewForConfig(config)
		if err != nil {
			return nil, fmt.Errorf("make a client: %w", err)
		}
		return func(n meshstatus.Node) ([]meshstatus.Pair, error) {
			out, err := podexec.Run(ctx, config, client, o.Namespace, n.Pod, nil, "sdn-tunnel-agent", "status", "-o", "json")
			if err != nil {
				return nil, err
			}
			return pairsOf(n.Name, out)
		}, nil
	}
	return nil, fmt.Errorf("%s is not in the inventory", cluster)
}

// pairsOf reads an agent's answer. What it says is shown only.
func pairsOf(node string, answer []byte) ([]meshstatus.Pair, error) {
	var r agent.Report
	if err := json.Unmarshal(answer, &r); err != nil {
		return nil, fmt.Errorf("read the agent's status: %w", err)
	}
	pairs := make([]meshstatus.Pair, 0, len(r.Peers))
	for _, p := range r.Peers {
		pairs = append(pairs, meshstatus.Pair{Node: node, Peer: p.Name, State: p.State, HandshakeAge: p.HandshakeAge,
			RoundTrip: p.RoundTrip, Loss: p.Loss, Receiving: p.Receiving, Sending: p.Sending})
	}
	return pairs, nil
}
