package verify

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/sdn-tunnel/sdn-tunnel/internal/mesh"
	"github.com/sdn-tunnel/sdn-tunnel/samples/test-app/probe"
)

// Kind says what a pair's source is.
type Kind string

// Kinds of pairs.
const (
	PodToPod  Kind = "pod"      // from a pod to a pod of another member
	NodeToPod Kind = "node"     // from a node (hostNetwork) to a pod of another member
	Baseline  Kind = "baseline" // from a pod to a pod of the same member
)

// retryPause is the wait before a failing pair is tried again: one more than
// WireGuard's REKEY_TIMEOUT, after which a lost handshake is repeated.
var retryPause = 6 * time.Second

// matrix probes from every pod, all sources at once, the pairs that only takes (nil: all),
// and returns them sorted.
func (o *Options) matrix(ctx context.Context, clusters []cluster, pods []pod, only func(from, to mesh.Ref) bool) []Pair {
	byName := map[string]cluster{}
	for _, c := range clusters {
		byName[c.name()] = c
	}
	var mu sync.Mutex
	var pairs []Pair
	done, total := 0, 0
	var wg sync.WaitGroup
	for _, source := range pods {
		targets := slices.DeleteFunc(o.targetsOf(source, pods), func(p pod) bool { return only != nil && !only(source.ref, p.ref) })
		if len(targets) == 0 {
			continue
		}
		total++
		wg.Go(func() {
			got := o.probeFrom(ctx, byName[source.ref.Cluster], source, targets)
			mu.Lock()
			defer mu.Unlock()
			pairs = append(pairs, got...)
			done++
			o.Progress(Event{source.ref.Cluster, "probe", progressLine(source, got, done, total)})
		})
	}
	wg.Wait()
	slices.SortFunc(pairs, comparePairs)
	return pairs
}

func progressLine(source pod, pairs []Pair, done, total int) string {
	ok := 0
	for _, p := range pairs {
		if p.OK() {
			ok++
		}
	}
	from := "pod on " + source.ref.Node
	if source.host {
		from = "node " + source.ref.Node
	}
	return fmt.Sprintf("%s: %d of %d pairs OK (%d of %d sources)", from, ok, len(pairs), done, total)
}

func comparePairs(a, b Pair) int {
	return cmp.Or(
		cmp.Compare(kindOrder(a.Kind), kindOrder(b.Kind)),
		cmp.Compare(a.From, b.From),
		cmp.Compare(a.To, b.To),
	)
}

func kindOrder(k Kind) int { return slices.Index([]Kind{PodToPod, NodeToPod, Baseline}, k) }

// targetsOf are the pods that source has to reach.
func (o *Options) targetsOf(source pod, pods []pod) []pod {
	var targets []pod
	for _, p := range pods {
		same := p.ref.Cluster == source.ref.Cluster
		switch {
		case p.host, p.name == source.name && same:
		case !same:
			targets = append(targets, p)
		case o.Baseline && !source.host:
			targets = append(targets, p)
		}
	}
	return targets
}

// probeFrom probes targets from one pod, and those that fail again.
func (o *Options) probeFrom(ctx context.Context, c cluster, source pod, targets []pod) []Pair {
	pairs := make([]Pair, len(targets))
	todo := make([]int, len(targets))
	for i := range targets {
		todo[i] = i
	}
	for attempt := 1; len(todo) > 0; attempt++ {
		part := make([]pod, len(todo))
		for i, index := range todo {
			part[i] = targets[index]
		}
		var failing []int
		for i, pair := range o.probeOnce(ctx, c, source, part) {
			pair.Attempts = attempt
			pairs[todo[i]] = pair
			if !pair.OK() {
				failing = append(failing, todo[i])
			}
		}
		todo = failing
		if attempt == o.Attempts || len(todo) == 0 || !pause(ctx, retryPause) {
			break
		}
	}
	return pairs
}

// pause waits, and tells whether it waited to the end.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

func (o *Options) probeOnce(ctx context.Context, c cluster, source pod, targets []pod) []Pair {
	req := probe.Request{
		TransferBytes:  max(o.TransferBytes, 0),
		TimeoutSeconds: int(o.ProbeTimeout.Seconds()),
	}
	for _, t := range targets {
		req.Targets = append(req.Targets, probe.Target{Name: t.ref.String(), Address: t.ip, Port: port})
	}
	results, err := c.probe(ctx, source, req)
	if err == nil && len(results) != len(targets) {
		err = fmt.Errorf("%d results for %d targets", len(results), len(targets))
	}
	pairs := make([]Pair, len(targets))
	for i, t := range targets {
		pairs[i] = Pair{Kind: kindOf(source, t), From: source.ref.String(), To: t.ref.String(), from: source.ref, to: t.ref, ToAddress: t.ip}
		if !source.host {
			pairs[i].FromAddress = source.ip
		}
		if err != nil {
			pairs[i].Error = fmt.Sprintf("probe could not run in pod %s/%s: %v", source.namespace, source.name, err)
			continue
		}
		pairs[i].take(results[i], source)
	}
	return pairs
}

func kindOf(source, target pod) Kind {
	switch {
	case source.ref.Cluster == target.ref.Cluster:
		return Baseline
	case source.host:
		return NodeToPod
	default:
		return PodToPod
	}
}

// take fills a pair from what the prober found.
func (p *Pair) take(r probe.Result, source pod) {
	p.Seen, p.RTTMicros, p.DFBytes, p.LinkMTU = r.Seen, r.RTTMicros, r.DFBytes, r.LinkMTU
	if p.FromAddress == "" {
		p.FromAddress = r.Source
	}
	for _, name := range probe.Checks {
		c, ok := r.Checks[name]
		if !ok {
			continue
		}
		if name == probe.Source && c.OK && !source.host && r.Seen != source.ip {
			c = probe.Check{Detail: fmt.Sprintf("the pod has the address %s, but the server saw %s", source.ip, r.Seen)}
		}
		p.Checks = append(p.Checks, Check{Name: name, Check: c})
	}
}
