package controller

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"time"

	"github.com/go-logr/logr"
	networkv1 "github.com/openshift/api/network/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/selection"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	toolscache "k8s.io/client-go/tools/cache"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	mcsv1alpha1 "sigs.k8s.io/mcs-api/pkg/apis/v1alpha1"

	"github.com/sdn-tunnel/sdn-tunnel/api/v1alpha1"
	"github.com/sdn-tunnel/sdn-tunnel/internal/events"
	"github.com/sdn-tunnel/sdn-tunnel/internal/nodeservice"
	"github.com/sdn-tunnel/sdn-tunnel/internal/remoteservice"
	"github.com/sdn-tunnel/sdn-tunnel/internal/serve"
)

// clusterIndex finds the TunnelNodes of a member in the cache.
const clusterIndex = "spec.cluster"

// Options of a controller.
type Options struct {
	nodeservice.Options
	MetricsAddress string // "0": none; serves /metrics, /healthz and /readyz
	LeaderElection bool
	// ExportedOnly: nothing here balances the other members' services, so that of these only
	// the exported ones are mirrored, for the services of all clusters.
	ExportedOnly bool
	// Webhook holds the agents to their own nodes where the API server cannot; its
	// Port is 0 where it can.
	Webhook WebhookOptions
	// TokenLife is asked for when access is renewed; 0: peeraccess.DefaultExpiration.
	TokenLife time.Duration
	Log       *slog.Logger
	// Now is the clock for token renewal; nil: time.Now.
	Now func() time.Time
}

func (o Options) now() time.Time {
	if o.Now != nil {
		return o.Now()
	}
	return time.Now()
}

// Run reconciles the cluster that cfg leads to until ctx ends.
func Run(ctx context.Context, cfg *rest.Config, o Options) error {
	if err := o.Validate(); err != nil {
		return err
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	beats := &pulse{queue: &notifier{}, interval: pulseInterval, now: time.Now}
	mgr, err := newManager(cfg, o, beats)
	if err != nil {
		return err
	}
	if err := index(ctx, mgr.GetFieldIndexer(), o.Namespace); err != nil {
		return err
	}
	if err := setup(ctx, mgr, o, beats); err != nil {
		return err
	}
	if err := mgr.Start(ctx); err != nil {
		return fmt.Errorf("run the controller: %w", err)
	}
	return nil
}

// index lets the cache find objects by what they are of.
func index(ctx context.Context, i client.FieldIndexer, namespace string) error {
	if err := i.IndexField(ctx, &v1alpha1.TunnelNode{}, clusterIndex, func(obj client.Object) []string {
		n, _ := obj.(*v1alpha1.TunnelNode)
		return []string{n.Spec.Cluster}
	}); err != nil {
		return fmt.Errorf("index the TunnelNodes: %w", err)
	}
	for field, key := range map[string]func(remoteservice.Identity) string{
		serviceIndex: serviceKey, clusterIndex: func(id remoteservice.Identity) string { return id.Cluster },
	} {
		if err := i.IndexField(ctx, &discoveryv1.EndpointSlice{}, field, func(obj client.Object) []string {
			if id, ok := mirrorOf(obj); ok {
				return []string{key(id)}
			}
			return nil
		}); err != nil {
			return fmt.Errorf("index the EndpointSlices: %w", err)
		}
	}
	return indexImports(ctx, i, namespace)
}

func setup(ctx context.Context, mgr ctrl.Manager, o Options, beats *pulse) error {
	c := mgr.GetClient()
	mirrorQueue, statusQueue := &notifier{}, beats.queue
	order := newTurns(memberOf)
	serviceQueue := &notifier{press: order.press}
	rs := &remotes{scheme: mgr.GetScheme(), status: statusQueue, mirrors: mirrorQueue, services: serviceQueue,
		namespace: o.Namespace, exportedOnly: o.ExportedOnly, ctx: ctx, byName: map[string]*remote{}, broken: map[string]error{}}
	m := &mirrors{Client: c, cluster: o.Cluster, remotes: rs, queue: mirrorQueue, status: statusQueue, log: o.Log}
	rs.nodeChanged = m.remoteChanged
	writer, err := newWriter(mgr)
	if err != nil {
		return err
	}
	remoteServices := &services{Client: c, writer: writer, cluster: o.Cluster, namespace: o.Namespace, remotes: rs,
		queue: serviceQueue, order: order, status: statusQueue, log: o.Log}
	foreign, taken := &names{}, newShares()
	host, _ := os.Hostname() // it is the pod's name, for people
	recorder := events.New(v1alpha1.ManagerController, host, func(ctx context.Context, e *eventsv1.Event) error { return c.Create(ctx, e) }, o.Log)
	own := &nodes{Client: c, options: o.Options, status: statusQueue, log: o.Log}
	for _, r := range []interface{ setup(ctrl.Manager) error }{
		own,
		&members{Client: c, options: o, remotes: rs, mirrors: mirrorQueue, recorder: recorder, log: o.Log},
		m,
		remoteServices,
		&exports{Client: c, log: o.Log},
		&imports{Client: c, writer: writer, cluster: o.Cluster, namespace: o.Namespace, foreign: foreign, shares: taken, status: statusQueue, log: o.Log},
		&status{Client: c, options: o, remotes: rs, mirrors: m, services: remoteServices, addresses: &own.addresses, foreign: foreign, shares: taken,
			queue: statusQueue, beat: beats.beat, news: news{recorder: recorder}},
		&tokens{Client: c, options: o, recorder: recorder, log: o.Log},
	} {
		if err := r.setup(mgr); err != nil {
			return fmt.Errorf("set up the controller: %w", err)
		}
	}
	runnables := []manager.Runnable{rs, beats, recorder}
	if o.Webhook.Port != 0 {
		runnables = append(runnables, o.webhook(mgr)...)
	}
	for _, r := range runnables {
		if err := mgr.Add(r); err != nil {
			return fmt.Errorf("set up the controller: %w", err)
		}
	}
	return nil
}

// newManager caches no more than what the reconcilers read.
func newManager(cfg *rest.Config, o Options, beats *pulse) (ctrl.Manager, error) {
	scheme := runtime.NewScheme()
	kinds := runtime.NewSchemeBuilder(clientgoscheme.AddToScheme, v1alpha1.AddToScheme, mcsv1alpha1.Install, networkv1.Install)
	if err := kinds.AddToScheme(scheme); err != nil {
		return nil, err
	}
	labelled := func(label string) (cache.ByObject, error) {
		req, err := labels.NewRequirement(label, selection.Exists, nil)
		if err != nil {
			return cache.ByObject{}, err
		}
		return cache.ByObject{Namespaces: map[string]cache.Config{o.Namespace: {}}, Label: labels.NewSelector().Add(*req)}, nil
	}
	ofCluster, err := labelled(v1alpha1.LabelCluster)
	if err != nil {
		return nil, err
	}
	checks := serve.Handler(serve.Checks{Healthy: beats.alive, Ready: beats.ready})
	mgr, err := ctrl.NewManager(cfg, ctrl.Options{
		Scheme: scheme,
		Logger: logr.FromSlogHandler(o.Log.Handler()),
		Cache: cache.Options{
			DefaultTransform: cache.TransformStripManagedFields(),
			ByObject: map[client.Object]cache.ByObject{
				&corev1.Node{}: {Transform: slimNode}, &corev1.Service{}: {Transform: slimService(o.Namespace)},
				&corev1.Namespace{}: {Transform: slimNamespace},
				// The nodes', the mirrors, and those of services that may be exported.
				&discoveryv1.EndpointSlice{}: {Transform: slimSlice(o.Namespace)},
				&corev1.Secret{}:             ofCluster,
			},
		},
		Metrics: metricsserver.Options{BindAddress: o.MetricsAddress,
			ExtraHandlers: map[string]http.Handler{"/healthz": checks, "/readyz": checks}},
		HealthProbeBindAddress:        "0",
		LeaderElection:                o.LeaderElection,
		LeaderElectionID:              "sdn-tunnel-controller",
		LeaderElectionNamespace:       o.Namespace,
		LeaderElectionReleaseOnCancel: true,
	})
	if err != nil {
		return nil, fmt.Errorf("make the controller: %w", err)
	}
	return mgr, nil
}

// ownFields keeps, of what is known of a node service's writers, the controller's own
// fields: what it no longer declares is seen by them.
func ownFields(o any) (any, error) {
	if obj, ok := o.(metav1.Object); ok {
		obj.SetManagedFields(slices.DeleteFunc(obj.GetManagedFields(), func(f metav1.ManagedFieldsEntry) bool {
			return f.Manager != v1alpha1.ManagerController || f.Operation != metav1.ManagedFieldsOperationApply
		}))
	}
	return o, nil
}

// slimNode keeps what the reconcilers read of a Node: a tenth of it.
func slimNode(o any) (any, error) {
	if n, ok := o.(*corev1.Node); ok {
		n.ManagedFields, n.Annotations = nil, nil
		n.Status = corev1.NodeStatus{Addresses: n.Status.Addresses}
	}
	return o, nil
}

func slimNamespace(o any) (any, error) {
	if n, ok := o.(*corev1.Namespace); ok {
		n.ManagedFields, n.Annotations, n.Labels = nil, nil, nil
	}
	return o, nil
}

// slimSlice keeps the nodes' slices as they are, of the mirrors and of what stands for
// imports all but the writers, and of all others what an import takes of them.
func slimSlice(namespace string) toolscache.TransformFunc {
	return func(o any) (any, error) {
		s, ok := o.(*discoveryv1.EndpointSlice)
		if !ok {
			return o, nil
		}
		_, mirror := mirrorOf(s)
		_, derived := importOf(s, namespace)
		switch {
		case mirror || derived:
			s.ManagedFields = nil
			return s, nil
		case s.Namespace == namespace:
			return ownFields(s)
		}
		slim := &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, Name: s.Name, UID: s.UID, ResourceVersion: s.ResourceVersion,
			Labels: map[string]string{discoveryv1.LabelServiceName: s.Labels[discoveryv1.LabelServiceName]}},
			AddressType: s.AddressType, Ports: s.Ports, Endpoints: s.Endpoints}
		for i := range s.Endpoints {
			e := &slim.Endpoints[i]
			*e = discoveryv1.Endpoint{Addresses: e.Addresses, Conditions: e.Conditions, Hostname: e.Hostname}
		}
		return slim, nil
	}
}

// slimService keeps the own services as they are, and of all others what an export says.
func slimService(namespace string) toolscache.TransformFunc {
	return func(o any) (any, error) {
		s, ok := o.(*corev1.Service)
		if !ok {
			return o, nil
		}
		if s.Namespace == namespace {
			return ownFields(s)
		}
		return &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, Name: s.Name, UID: s.UID, ResourceVersion: s.ResourceVersion,
			DeletionTimestamp: s.DeletionTimestamp},
			Spec: corev1.ServiceSpec{Type: s.Spec.Type, ClusterIP: s.Spec.ClusterIP, Ports: s.Spec.Ports,
				SessionAffinity: s.Spec.SessionAffinity, SessionAffinityConfig: s.Spec.SessionAffinityConfig}}, nil
	}
}
