package controller

import (
	"slices"
	"strings"
	"sync"
)

// outcome is what has become of a remote service; the zero value: nothing, there is none.
type outcome struct {
	slices, leftOut int
	refused         string
}

// tally knows what has become of each remote service, by member and key.
type tally struct {
	mu        sync.Mutex
	byCluster map[string]map[string]outcome
}

// set notes an outcome and gives the one before.
func (t *tally) set(cluster, key string, o outcome) (was outcome) {
	t.mu.Lock()
	defer t.mu.Unlock()
	was = t.byCluster[cluster][key]
	if o == (outcome{}) {
		delete(t.byCluster[cluster], key)
		return was
	}
	if t.byCluster == nil {
		t.byCluster = map[string]map[string]outcome{}
	}
	if t.byCluster[cluster] == nil {
		t.byCluster[cluster] = map[string]outcome{}
	}
	t.byCluster[cluster][key] = o
	return was
}

func (t *tally) has(cluster, key string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, ok := t.byCluster[cluster][key]
	return ok
}

func (t *tally) keys(cluster string) []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	keys := make([]string, 0, len(t.byCluster[cluster]))
	for k := range t.byCluster[cluster] {
		keys = append(keys, k)
	}
	return keys
}

// sum is what there is to say of all services of a member.
type sum struct {
	mirrored, slices, leftOut int
	refused                   []string // in plain words, in order
}

func (t *tally) of(cluster string) (s sum) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for key, o := range t.byCluster[cluster] {
		if o.refused != "" {
			s.refused = append(s.refused, strings.TrimPrefix(key, cluster+"/")+": "+o.refused)
			continue
		}
		s.mirrored++
		s.slices += o.slices
		s.leftOut += o.leftOut
	}
	slices.Sort(s.refused)
	return s
}
