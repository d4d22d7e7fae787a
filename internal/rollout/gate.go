package rollout

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sdn-tunnel/sdn-tunnel/internal/meshstatus"
)

// Known names what is wrong in a mesh: an object that has a problem, or a cluster that
// cannot be read.
func Known(r meshstatus.Report) []string {
	var known []string
	for _, c := range r.Clusters {
		if c.Error != "" {
			known = append(known, unread(c.Name))
		}
		for _, p := range c.Problems {
			known = append(known, key(c.Name, p.Object))
		}
	}
	slices.Sort(known)
	return slices.Compact(known)
}

func key(cluster, object string) string { return cluster + ": " + object }

func unread(cluster string) string { return cluster + ": its API" }

// Worse says what is wrong in a mesh and not among what was known before.
func Worse(known []string, now meshstatus.Report) []string {
	var worse []string
	for _, c := range now.Clusters {
		if c.Error != "" && !slices.Contains(known, unread(c.Name)) {
			worse = append(worse, c.Error)
		}
		for _, p := range c.Problems {
			if !slices.Contains(known, key(c.Name, p.Object)) {
				worse = append(worse, fmt.Sprintf("cluster %s: %s: %s", c.Name, p.Object, p.Message))
			}
		}
	}
	return worse
}

// calm is how long all must have been well.
const calm = 2 * time.Second

// Settle waits until nothing is wrong in the mesh but what was known, and that for a moment.
// When limit is over it fails with what is.
func Settle(ctx context.Context, o meshstatus.Options, known []string, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	s := settling{well: make(chan struct{})}
	watch, stop := context.WithCancel(ctx)
	var wait sync.WaitGroup
	wait.Go(func() {
		meshstatus.Watch(watch, o, func(all []meshstatus.Objects) {
			s.look(Worse(known, meshstatus.Make(time.Now(), all)))
		})
	})
	defer wait.Wait()
	defer stop()
	select {
	case <-s.well:
		return nil
	case <-ctx.Done():
	}
	return s.failure(ctx, limit)
}

// settling follows the looks at a mesh.
type settling struct {
	mu    sync.Mutex
	worse []string
	seen  bool
	timer *time.Timer
	once  sync.Once
	well  chan struct{}
}

// look takes in what is worse now: once nothing is, the time of calm begins.
func (s *settling) look(worse []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.worse, s.seen = worse, true
	switch {
	case len(worse) > 0 && s.timer != nil:
		s.timer.Stop()
		s.timer = nil
	case len(worse) == 0 && s.timer == nil:
		s.timer = time.AfterFunc(calm, func() { s.once.Do(func() { close(s.well) }) })
	}
}

func (s *settling) failure(ctx context.Context, limit time.Duration) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return ctx.Err()
	}
	if !s.seen || len(s.worse) == 0 {
		return fmt.Errorf("the mesh could not be looked at within %s", limit)
	}
	const most = 10
	worse := slices.SortedFunc(slices.Values(s.worse), cmp.Compare[string])
	more := ""
	if len(worse) > most {
		more = fmt.Sprintf("\nand %d more", len(worse)-most)
		worse = worse[:most]
	}
	return fmt.Errorf("after %s the mesh is worse than before:\n%s%s", limit, strings.Join(worse, "\n"), more)
}
