package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"github.com/sdn-tunnel/sdn-tunnel/api/v1alpha1"
	"github.com/sdn-tunnel/sdn-tunnel/internal/events"
	"github.com/sdn-tunnel/sdn-tunnel/internal/mesh"
)

// publishPause is the least time between two writes of the status.
const publishPause = time.Second

// publisher writes the node's own TunnelNode: key, subnets and addresses, and the
// status; each only when it differs from what the API holds.
type publisher struct {
	cluster *Cluster
	observe func() Observation
	log     *slog.Logger
	wake    chan struct{}
	// chronicle and tell have Events made of what is observed; tell may be nil.
	chronicle chronicle
	tell      func(...events.Event)
	// measured is when values were written last.
	measured measured

	mu  sync.Mutex // one write at a time
	key mesh.Key
}

// run writes whenever woken, until ctx ends. What fails is tried again.
func (p *publisher) run(ctx context.Context) {
	failures, said := 0, ""
	for {
		wait := time.Duration(-1)
		if err := p.publish(ctx); err != nil && ctx.Err() == nil {
			failures++
			wait = backoff(time.Second, 30*time.Second, failures)
			if err.Error() != said && p.cluster.Connected() {
				p.log.Error("this node's TunnelNode is not up to date", "error", err, "retry", wait)
				said = err.Error()
			}
		} else {
			failures, said = 0, ""
		}
		if !sleep(ctx, publishPause) || !p.await(ctx, wait) {
			return
		}
	}
}

// await returns when woken or, unless wait is negative, after wait.
func (p *publisher) await(ctx context.Context, wait time.Duration) bool {
	var late <-chan time.Time
	if wait >= 0 {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		late = timer.C
	}
	select {
	case <-ctx.Done():
		return false
	case <-p.wake:
	case <-late:
	}
	return true
}

func (p *publisher) notify() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// announce says that the node has another key, and returns when the API has taken it. It
// does not say the former one again unless that was refused.
func (p *publisher) announce(ctx context.Context, key mesh.Key) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	facts, ok := p.cluster.own()
	if !ok {
		return errNotAsked
	}
	before := p.key
	p.key = key
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	err := p.writeSpec(ctx, facts)
	if err != nil && refused(err) {
		p.key = before
	}
	return err
}

func (p *publisher) publish(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, synced := p.cluster.nodes.list(); !synced {
		return nil // woken again when it is
	}
	facts, ok := p.cluster.own()
	if !ok {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	current, found := p.cluster.nodes.get(p.cluster.self.String())
	if !found || !p.says(current.Spec, facts) {
		if err := p.writeSpec(ctx, facts); err != nil {
			return err
		}
	}
	if !found {
		return nil // its status can be written once it is seen
	}
	observed, now := p.observe(), time.Now()
	if p.tell != nil {
		p.tell(p.chronicle.read(observed, now)...)
	}
	status := statusOf(observed, facts.missing, current.Status.Conditions, now, func(s *v1alpha1.TunnelNodeStatus) {
		s.LastRepair = repairOf(observed.State, current.Status.LastRepair)
		p.measured.settle(s, current.Status, p.cluster.ownNodes(), now)
	})
	if sameStatus(status, current.Status) {
		return nil
	}
	return p.write(ctx, "status", map[string]any{"status": status})
}

func (p *publisher) writeSpec(ctx context.Context, facts own) error {
	spec := map[string]any{
		"cluster": p.cluster.self.Cluster, "node": p.cluster.self.Node,
		"publicKey": p.key.String(), "nodeAddresses": facts.nodeAddresses,
	}
	if len(facts.hostSubnets) > 0 {
		spec["hostSubnets"] = facts.hostSubnets
	}
	return p.write(ctx, "", map[string]any{"spec": spec})
}

// says tells whether the object holds what this node says of itself.
func (p *publisher) says(spec v1alpha1.TunnelNodeSpec, facts own) bool {
	return spec.PublicKey == p.key.String() &&
		slices.Equal(spec.HostSubnets, facts.hostSubnets) &&
		slices.Equal(spec.NodeAddresses, facts.nodeAddresses)
}

// sameStatus compares what the agent writes with what is there.
func sameStatus(want, have v1alpha1.TunnelNodeStatus) bool {
	for _, c := range want.Conditions {
		same := false
		for _, h := range have.Conditions {
			h.LastTransitionTime = c.LastTransitionTime
			same = same || c == h
		}
		if !same {
			return false
		}
	}
	want.Conditions, have.Conditions = nil, nil
	return equality.Semantic.DeepEqual(want, have) // times by what they mean
}

// write applies fields of the node's own TunnelNode, as their only owner.
func (p *publisher) write(ctx context.Context, subresource string, fields map[string]any) error {
	name := p.cluster.self.String()
	fields["apiVersion"], fields["kind"] = v1alpha1.GroupVersion.String(), "TunnelNode"
	fields["metadata"] = map[string]any{"name": name}
	body, err := json.Marshal(fields)
	if err != nil {
		return fmt.Errorf("encode TunnelNode %s: %w", name, err)
	}
	if err := apply(ctx, p.cluster.tunnel, name, subresource, body); err != nil {
		return fmt.Errorf("write TunnelNode %s %s: %w", name, subresource, err)
	}
	return nil
}

func apply(ctx context.Context, client rest.Interface, name, subresource string, body []byte) error {
	request := client.Patch(types.ApplyPatchType).Resource("tunnelnodes").Name(name).
		Param("fieldManager", v1alpha1.ManagerAgent).Param("force", "true").Body(body)
	if subresource != "" {
		request = request.SubResource(subresource)
	}
	return request.Do(ctx).Error()
}
