package verify

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sdn-tunnel/sdn-tunnel/internal/mesh"
	"github.com/sdn-tunnel/sdn-tunnel/samples/test-app/probe"
)

// fakeCluster has nodes whose pods answer, but for the targets that are down.
type fakeCluster struct {
	member string
	nodes  int
	down   []string // target names that fail
	// onProbe is called before a probe runs.
	onProbe func(context.Context) error
	readyIs error

	mu              sync.Mutex
	applied, probes int
	asked, unknown  int     // asked so often; the first unknown times its services are not known
	removedWith     []error // the context's state at each removal
}

func (f *fakeCluster) name() string { return f.member }

func (f *fakeCluster) apply(context.Context, *Options) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.applied++
	return nil
}

func (f *fakeCluster) ready(_ context.Context, o *Options) ([]pod, error) {
	var pods []pod
	for n := 1; n <= f.nodes; n++ {
		ref := mesh.Ref{Cluster: f.member, Node: fmt.Sprintf("%s-%d", f.member, n)}
		pods = append(pods, pod{ref: ref, namespace: o.Namespace, name: "pod-" + ref.Node, ip: fmt.Sprintf("10.%d.0.%d", len(f.member), n)},
			pod{ref: ref, namespace: o.hostNamespace(), name: "host-" + ref.Node, ip: "192.0.2.1", host: true})
	}
	return pods, f.readyIs
}

func (f *fakeCluster) remove(ctx context.Context, _ *Options) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.removedWith = append(f.removedWith, ctx.Err())
	return nil
}

func (f *fakeCluster) probe(ctx context.Context, p pod, req probe.Request) ([]probe.Result, error) {
	f.mu.Lock()
	f.probes++
	f.mu.Unlock()
	if f.onProbe != nil {
		if err := f.onProbe(ctx); err != nil {
			return nil, err
		}
	}
	var results []probe.Result
	for _, target := range req.Targets {
		r := probe.Result{Target: target, Seen: p.ip, Checks: map[string]probe.Check{}}
		for _, name := range probe.Checks {
			r.Checks[name] = probe.Check{OK: !slices.Contains(f.down, target.Name)}
		}
		results = append(results, r)
	}
	return results, nil
}

func (f *fakeCluster) facts(context.Context, string) (clusterFacts, error) {
	return clusterFacts{}, nil
}

func fakeOptions(clusters ...*fakeCluster) Options {
	o := Options{Image: "test-app", Attempts: 2}
	byName := map[string]*fakeCluster{}
	for _, c := range clusters {
		o.Clusters = append(o.Clusters, Member{Name: c.member})
		byName[c.member] = c
	}
	o.connect = func(m Member) (cluster, error) { return byName[m.Name], nil }
	return o
}

func shortPause(t *testing.T) {
	t.Helper()
	before := retryPause
	retryPause = time.Millisecond
	t.Cleanup(func() { retryPause = before })
}

func TestRunProbesEveryPair(t *testing.T) {
	shortPause(t)
	east, west := &fakeCluster{member: "east", nodes: 2}, &fakeCluster{member: "western", nodes: 3}
	report, err := Run(t.Context(), fakeOptions(east, west))
	if err != nil {
		t.Fatal(err)
	}
	// 2*3 pairs of nodes in both directions, from pods and from nodes.
	if len(report.Pairs) != 24 || !report.OK() {
		t.Errorf("%d pairs, OK %t", len(report.Pairs), report.OK())
	}
	seen := map[string]bool{}
	for _, p := range report.Pairs {
		seen[fmt.Sprint(p.Kind, p.From, p.To)] = true
	}
	if len(seen) != 24 {
		t.Errorf("%d different pairs", len(seen))
	}
}

func TestRunTriesAgainAndNamesTheHop(t *testing.T) {
	shortPause(t)
	east, west := &fakeCluster{member: "east", nodes: 1, down: []string{"west.west-1"}}, &fakeCluster{member: "west", nodes: 1}
	report, err := Run(t.Context(), fakeOptions(east, west))
	if err != nil || report.OK() || report.Failed() != 2 {
		t.Fatalf("error %v, %s", err, report.Summary())
	}
	for _, p := range report.Pairs {
		if !p.OK() && (p.Attempts != 2 || !strings.Contains(p.FailingHop, "node east.east-1")) {
			t.Errorf("attempts %d, hop %q", p.Attempts, p.FailingHop)
		}
	}
}

func TestRunCleansUp(t *testing.T) {
	shortPause(t)
	for name, c := range map[string]struct {
		prepare func(east *fakeCluster, cancel context.CancelFunc)
		want    error
	}{
		"cancelled while probing": {func(f *fakeCluster, cancel context.CancelFunc) {
			f.onProbe = func(ctx context.Context) error { cancel(); <-ctx.Done(); return ctx.Err() }
		}, context.Canceled},
		"pods never ready": {func(f *fakeCluster, _ context.CancelFunc) { f.readyIs = errNeverReady }, errNeverReady},
		"all well":         {func(*fakeCluster, context.CancelFunc) {}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			east, west := &fakeCluster{member: "east", nodes: 1}, &fakeCluster{member: "west", nodes: 1}
			c.prepare(east, cancel)
			if _, err := Run(ctx, fakeOptions(east, west)); !errors.Is(err, c.want) {
				t.Errorf("error %v, want %v", err, c.want)
			}
			for _, f := range []*fakeCluster{east, west} {
				if len(f.removedWith) != 1 || f.removedWith[0] != nil {
					t.Errorf("cluster %s: removals, and the state of their context: %v", f.member, f.removedWith)
				}
			}
		})
	}
}

var errNeverReady = errors.New("never ready")

func TestRunRefuses(t *testing.T) {
	one := fakeOptions(&fakeCluster{member: "east"})
	if _, err := Run(t.Context(), one); err == nil || !strings.Contains(err.Error(), "at least two clusters") {
		t.Errorf("one cluster: %v", err)
	}
	two := fakeOptions(&fakeCluster{member: "east"}, &fakeCluster{member: "west"})
	two.Image = ""
	if _, err := Run(t.Context(), two); err == nil || !strings.Contains(err.Error(), "test_image") {
		t.Errorf("no image: %v", err)
	}
}

func TestManifestsCarryTheOptions(t *testing.T) {
	o := &Options{ClusterSet: true, Namespace: "mine", Image: "registry.example.org/t:1", PullPolicy: "Always"}
	objects, err := o.manifests()
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range objects {
		ns := u.GetNamespace()
		if u.GetKind() == "Namespace" {
			ns = u.GetName()
		}
		if !slices.Contains(o.namespaces(), ns) {
			t.Errorf("%s %s is in namespace %q", u.GetKind(), u.GetName(), ns)
		}
		if text := fmt.Sprint(u.Object); strings.Contains(text, "sdn-tunnel-test") ||
			u.GetKind() == "DaemonSet" && !strings.Contains(text, o.Image) {
			t.Errorf("%s %s: %s", u.GetKind(), u.GetName(), text)
		}
	}
}
