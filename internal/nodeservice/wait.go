package nodeservice

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// pollInterval is how often Wait looks; one request for all nodes.
const pollInterval = time.Second

// ErrNoEndpoint says that a node's public address did not come in time.
var ErrNoEndpoint = errors.New("no public address in time")

// WaitError lists what is there and what is missing after a wait.
type WaitError struct {
	Cluster string
	Waited  time.Duration
	Made    []Observed
	Missing []Observed
}

// Error names the nodes without an endpoint, the remedy, and what was made.
func (e *WaitError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "cluster %s: %v: after %s, %d of %d nodes have no endpoint:",
		e.Cluster, ErrNoEndpoint, e.Waited.Round(time.Second), len(e.Missing), len(e.Missing)+len(e.Made))
	// Mostly all nodes wait for the same: it is said once.
	var reasons []string
	nodes := map[string][]string{}
	for _, m := range e.Missing {
		if nodes[m.Missing] == nil {
			reasons = append(reasons, m.Missing)
		}
		nodes[m.Missing] = append(nodes[m.Missing], fmt.Sprintf("%s (Service %s)", m.Node, Name(m.Node)))
	}
	for _, reason := range reasons {
		fmt.Fprintf(&b, " %s: %s;", strings.Join(nodes[reason], ", "), reason)
	}
	b.WriteString(" made and left in place:")
	for _, m := range e.Made {
		fmt.Fprintf(&b, " %s = %s;", m.Node, m.Endpoint)
	}
	for _, m := range e.Missing {
		fmt.Fprintf(&b, " Service %s;", Name(m.Node))
	}
	return strings.TrimSuffix(b.String(), ";")
}

// Unwrap gives ErrNoEndpoint.
func (e *WaitError) Unwrap() error { return ErrNoEndpoint }

// Wait returns the endpoints of all nodes once every one has one, in the order of
// nodes. It calls progress (which may be nil) whenever the number changes. After the
// timeout it returns what is there and a *WaitError.
func Wait(ctx context.Context, c Client, nodes []corev1.Node, o Options, timeout time.Duration, progress func(ready, total int)) ([]Observed, error) {
	start, last := time.Now(), -1
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		all, ready, err := ObserveAll(ctx, c, nodes, o)
		if err != nil {
			return all, err
		}
		if ready != last && progress != nil {
			progress(ready, len(nodes))
		}
		last = ready
		if ready == len(nodes) {
			return all, nil
		}
		if time.Since(start) >= timeout {
			return all, waitError(o.Cluster, time.Since(start), all)
		}
		select {
		case <-ctx.Done():
			return all, errors.Join(ctx.Err(), waitError(o.Cluster, time.Since(start), all))
		case <-tick.C:
		}
	}
}

// ObserveAll reads the endpoints of all nodes once and counts those that have one.
func ObserveAll(ctx context.Context, c Client, nodes []corev1.Node, o Options) ([]Observed, int, error) {
	is := State{}
	if o.HasService() {
		var err error
		if is, err = Read(ctx, c, o); err != nil {
			return nil, 0, err
		}
	}
	ready := 0
	all := make([]Observed, len(nodes))
	for i := range nodes {
		all[i] = Observe(&nodes[i], is.Services[nodes[i].Name], o)
		if all[i].Endpoint != nil {
			ready++
		}
	}
	return all, ready, nil
}

func waitError(cluster string, waited time.Duration, all []Observed) error {
	e := &WaitError{Cluster: cluster, Waited: waited}
	for _, o := range all {
		if o.Endpoint != nil {
			e.Made = append(e.Made, o)
		} else {
			e.Missing = append(e.Missing, o)
		}
	}
	return e
}
