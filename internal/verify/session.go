package verify

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sdn-tunnel/sdn-tunnel/internal/mesh"
)

// Session is the test application, up in all clusters from Start to Close.
type Session struct {
	options  Options
	clusters []cluster
	pods     []pod
	started  time.Time
}

// Start brings the test application up. The Session that it returns is never nil; after an
// error there is nothing left to close.
func Start(ctx context.Context, o Options) (*Session, error) {
	s := &Session{}
	if err := o.setDefaults(); err != nil {
		return s, err
	}
	s.options, s.started = o, time.Now().UTC().Truncate(time.Second)
	for _, m := range o.Clusters {
		c, err := o.connect(m)
		if err != nil {
			return s, fmt.Errorf("cluster %s: %w", m.Name, err)
		}
		s.clusters = append(s.clusters, c)
	}
	var err error
	if s.pods, err = s.options.deploy(ctx, s.clusters); err != nil {
		return s, errors.Join(err, s.Close(ctx))
	}
	return s, nil
}

// Look takes up nodes that have come and gone since.
func (s *Session) Look(ctx context.Context) (err error) {
	s.pods, err = s.options.await(ctx, s.clusters)
	return err
}

// names are the clusters' names.
func (s *Session) names() []string {
	var names []string
	for _, c := range s.clusters {
		names = append(names, c.name())
	}
	return names
}

// Pairs probes the pairs that only takes, or all if it is nil. Of those that fail it names
// the first hop at fault.
func (s *Session) Pairs(ctx context.Context, only func(from, to mesh.Ref) bool) ([]Pair, error) {
	pairs := s.options.matrix(ctx, s.clusters, s.pods, only)
	if err := ctx.Err(); err != nil {
		return pairs, fmt.Errorf("verify: %w", context.Cause(ctx))
	}
	s.options.diagnose(ctx, s.clusters, pairs)
	return pairs, nil
}

// Close removes the test application, also after ctx has ended.
func (s *Session) Close(ctx context.Context) error {
	if s.options.Keep {
		return nil
	}
	return s.options.cleanup(ctx, s.clusters)
}

// Some are up to n nodes of each cluster.
func (s *Session) Some(n int) map[mesh.Ref]bool {
	some, of := map[mesh.Ref]bool{}, map[string]int{}
	for _, p := range s.pods {
		if !p.host && !some[p.ref] && of[p.ref.Cluster] < n {
			some[p.ref] = true
			of[p.ref.Cluster]++
		}
	}
	return some
}
