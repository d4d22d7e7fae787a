package verify

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/rest"

	"github.com/sdn-tunnel/sdn-tunnel/internal/mesh"
	"github.com/sdn-tunnel/sdn-tunnel/samples/test-app/probe"
)

// Defaults of Options.
const (
	DefaultNamespace       = "sdn-tunnel-test"
	DefaultTunnelNamespace = "sdn-tunnel"
	DefaultTransferBytes   = 10_000_000
	DefaultReadyTimeout    = 2 * time.Minute
	DefaultPatience        = 30 * time.Second
	cleanupTimeout         = 60 * time.Second
	port                   = 8080
)

// Member is a cluster of the mesh and the way to its API, as an administrator.
type Member struct {
	Name   string
	Config *rest.Config
}

// Options is what to verify. The zero value of everything but Clusters and Image is
// good.
type Options struct {
	Clusters []Member
	// Namespace is the test application's own; the hostNetwork prober's has "-host" added.
	Namespace string
	// TunnelNamespace is the mesh's, where the agents are.
	TunnelNamespace string
	// Image is the test application's; PullPolicy is IfNotPresent if empty.
	Image, PullPolicy string
	// TransferBytes is the size of each transfer; negative leaves transfers out.
	TransferBytes int64
	// Baseline also probes the pairs inside each cluster, for comparison.
	Baseline bool
	// SkipNodes leaves out the way from nodes (hostNetwork) to pods.
	SkipNodes bool
	// Services also asks the test application's service of each member, by its ClusterIP,
	// from every pod of the others; Names asks it by its name.
	Services, Names bool
	// ClusterSet has every member export it, and asks it by the name that it then has in all.
	ClusterSet bool
	// Patience is how long services and names may take to become known; default 30 s. Right
	// after a first deploy the cluster's own DNS takes up to two minutes to read its new
	// configuration, and remembers for a while what it did not know.
	Patience time.Duration
	// ReadyTimeout bounds the wait for the pods; ProbeTimeout each check of each pair.
	ReadyTimeout, ProbeTimeout time.Duration
	// Attempts is how often a failing pair is tried; default 3: right after a deploy
	// the first handshake may still be under way.
	Attempts int
	// LeaveRemoval asks for the removal of the test application, and does not wait for its end.
	LeaveRemoval bool
	// Alone: the caller sees to it that no other run uses the namespace. A test application
	// that is there is of a run that was killed, and goes at once.
	Alone bool
	// Keep leaves the test application in place.
	Keep bool
	// Progress is called, from several goroutines, with what is going on.
	Progress func(Event)

	connect func(Member) (cluster, error)
	run     string // names this run in the namespaces that it makes
}

// Event is a step of a run.
type Event struct {
	Cluster string // empty: all of them
	Stage   string // deploy, wait, probe, diagnose, services, cleanup
	Message string
}

func (o *Options) setDefaults() error {
	if len(o.Clusters) < 2 && !o.Baseline {
		return errors.New("a mesh has at least two clusters: nothing to verify")
	}
	if o.Image == "" {
		return errors.New("no test image: set test_image in the inventory, or --image")
	}
	setDefault(&o.Namespace, DefaultNamespace)
	setDefault(&o.TunnelNamespace, DefaultTunnelNamespace)
	setDefault(&o.PullPolicy, "IfNotPresent")
	setDefault(&o.TransferBytes, DefaultTransferBytes)
	setDefault(&o.ReadyTimeout, DefaultReadyTimeout)
	setDefault(&o.ProbeTimeout, 10*time.Second)
	setDefault(&o.Attempts, 3)
	setDefault(&o.Patience, DefaultPatience)
	if o.Progress == nil {
		o.Progress = func(Event) {}
	}
	if o.run == "" {
		o.run = rand.Text()
	}
	if o.connect == nil {
		o.connect = connect
	}
	return nil
}

func setDefault[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

// Run verifies the mesh. An error means that it could not be verified; pairs that fail
// are in the Report, whose OK tells.
func Run(ctx context.Context, o Options) (report Report, err error) {
	s, err := Start(ctx, o)
	report.Started, report.Clusters = s.started, s.names()
	if err != nil {
		return report, err
	}
	defer func() { err = errors.Join(err, s.Close(ctx)) }()
	if report.Pairs, err = s.Pairs(ctx, nil); err != nil {
		return report, err
	}
	if report.Services, err = s.options.services(ctx, s.clusters, s.pods); err != nil {
		return report, err
	}
	report.DurationSeconds = time.Since(report.Started).Round(100 * time.Millisecond).Seconds()
	return report, nil
}

// deploy brings the test application up everywhere and returns all its pods.
func (o *Options) deploy(ctx context.Context, clusters []cluster) ([]pod, error) {
	err := each(clusters, func(_ int, c cluster) error {
		o.Progress(Event{c.name(), "deploy", "test application on every node"})
		switch err := c.apply(ctx, o); {
		case apierrors.IsNotFound(err) || meta.IsNoMatchError(err): // a definition that a deploy makes
			return fmt.Errorf("cluster %s: sdn-tunnel is not deployed there: run the deploy: apply the test application: %w", c.name(), err)
		case err != nil:
			return fmt.Errorf("cluster %s: apply the test application: %w", c.name(), err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return o.await(ctx, clusters)
}

// await waits until the test application is ready everywhere and returns all its pods.
func (o *Options) await(ctx context.Context, clusters []cluster) ([]pod, error) {
	pods := make([][]pod, len(clusters))
	err := each(clusters, func(i int, c cluster) error {
		o.Progress(Event{c.name(), "wait", "pods becoming ready"})
		ctx, cancel := context.WithTimeout(ctx, o.ReadyTimeout)
		defer cancel()
		var err error
		if pods[i], err = c.ready(ctx, o); err != nil {
			return fmt.Errorf("cluster %s: %w", c.name(), err)
		}
		o.Progress(Event{c.name(), "wait", fmt.Sprintf("%d pods ready", len(pods[i]))})
		return nil
	})
	return slices.Concat(pods...), err
}

// cleanup removes the test application, also after ctx has ended.
func (o *Options) cleanup(ctx context.Context, clusters []cluster) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
	defer cancel()
	return each(clusters, func(_ int, c cluster) error {
		o.Progress(Event{c.name(), "cleanup", "removing the test application"})
		if err := c.remove(ctx, o); err != nil {
			return fmt.Errorf("cluster %s: remove the test application: %w", c.name(), err)
		}
		return nil
	})
}

// each runs f for all clusters at once and joins the errors.
func each(clusters []cluster, f func(int, cluster) error) error {
	errs := make([]error, len(clusters))
	var wg sync.WaitGroup
	for i, c := range clusters {
		wg.Go(func() { errs[i] = f(i, c) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// cluster is a member's API as a run needs it.
type cluster interface {
	name() string
	// apply makes the test application; ready waits for its pods.
	apply(ctx context.Context, o *Options) error
	ready(ctx context.Context, o *Options) ([]pod, error)
	// remove takes it away and, unless told otherwise, waits until it is gone.
	remove(ctx context.Context, o *Options) error
	// probe runs a request inside a pod.
	probe(ctx context.Context, p pod, req probe.Request) ([]probe.Result, error)
	// ask asks services from inside a pod.
	ask(ctx context.Context, p pod, req probe.ServicesRequest) ([]probe.ServiceResult, error)
	// service is the test application's, as the others may ask it.
	service(ctx context.Context, o *Options) (service, error)
	// facts is what the cluster and its agents know of the tunnels.
	facts(ctx context.Context, namespace string) (clusterFacts, error)
}

// pod is one pod of the test application.
type pod struct {
	ref       mesh.Ref
	namespace string
	name      string
	ip        string
	host      bool // in the node's network
}
