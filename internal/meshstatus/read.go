package meshstatus

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/pager"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sdn-tunnel/sdn-tunnel/api/v1alpha1"
)

// Member is a cluster and the way to its API.
type Member struct {
	Name string
	// Open gives a client configuration, or why there is none. It may be called again.
	Open func(context.Context) (*rest.Config, error)
}

// Options of Read and Watch.
type Options struct {
	Members []Member
	// Namespace is that of sdn-tunnel in every cluster.
	Namespace string
	// Timeout bounds what Read asks of one cluster.
	Timeout time.Duration
}

const (
	// atOnce is how many clusters are read at a time.
	atOnce   = 8
	pageSize = 500
)

// kind is one kind of objects that is read.
type kind struct {
	list    func() client.ObjectList
	object  client.Object
	options client.ListOptions
}

// with are the options of one request.
func (k kind) with(raw metav1.ListOptions) *client.ListOptions {
	options := k.options
	options.Raw, options.Limit, options.Continue = &raw, raw.Limit, raw.Continue
	return &options
}

// kinds are those of one member. Mirrors of the other members that are known are left to
// the server to leave out.
func (o *Options) kinds(member string) []kind {
	own := labels.Everything()
	var others []string
	for _, m := range o.Members {
		if m.Name != member {
			others = append(others, m.Name)
		}
	}
	if notMirror, err := labels.NewRequirement(v1alpha1.LabelCluster, selection.NotIn, others); err == nil {
		own = own.Add(*notMirror)
	}
	return append(state(o.Namespace, own), kind{func() client.ObjectList { return &corev1.EventList{} }, &corev1.Event{}, client.ListOptions{
		Namespace: o.Namespace, FieldSelector: fields.OneTermEqualSelector("type", corev1.EventTypeWarning)}})
}

// state are the kinds of all that sdn-tunnel has in a cluster, with the TunnelNodes that are
// selected.
func state(namespace string, nodes labels.Selector) []kind {
	ours := labels.SelectorFromSet(labels.Set{"app.kubernetes.io/name": "sdn-tunnel"})
	return []kind{
		{func() client.ObjectList { return &v1alpha1.LinkedClusterList{} }, &v1alpha1.LinkedCluster{}, client.ListOptions{}},
		{func() client.ObjectList { return &v1alpha1.TunnelNodeList{} }, &v1alpha1.TunnelNode{}, client.ListOptions{LabelSelector: nodes}},
		{func() client.ObjectList { return &appsv1.DaemonSetList{} }, &appsv1.DaemonSet{}, client.ListOptions{Namespace: namespace, LabelSelector: ours}},
		{func() client.ObjectList { return &appsv1.DeploymentList{} }, &appsv1.Deployment{}, client.ListOptions{Namespace: namespace, LabelSelector: ours}},
		{func() client.ObjectList { return &corev1.PodList{} }, &corev1.Pod{}, client.ListOptions{Namespace: namespace, LabelSelector: ours}},
	}
}

// add takes an object in.
func (o *Objects) add(object any) {
	switch x := object.(type) {
	case *v1alpha1.LinkedCluster:
		o.Links = append(o.Links, x)
	case *v1alpha1.TunnelNode:
		if x.Spec.Cluster == o.Cluster {
			o.Nodes = append(o.Nodes, x)
		} else {
			o.Mirrors = append(o.Mirrors, x)
		}
	case *appsv1.DaemonSet:
		o.DaemonSets = append(o.DaemonSets, x)
	case *appsv1.Deployment:
		o.Deployments = append(o.Deployments, x)
	case *corev1.Pod:
		o.Pods = append(o.Pods, x)
	case *corev1.Event:
		o.Events = append(o.Events, x)
	}
}

// newClient is a client that asks the server for nothing but what is read.
func newClient(config *rest.Config) (client.WithWatch, error) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{v1alpha1.AddToScheme, appsv1.AddToScheme, corev1.AddToScheme} {
		if err := add(scheme); err != nil {
			return nil, err
		}
	}
	mapper := meta.NewDefaultRESTMapper(nil)
	for gvk, scope := range map[schema.GroupVersionKind]meta.RESTScope{
		v1alpha1.GroupVersion.WithKind("LinkedCluster"):  meta.RESTScopeRoot,
		v1alpha1.GroupVersion.WithKind("TunnelNode"):     meta.RESTScopeRoot,
		appsv1.SchemeGroupVersion.WithKind("DaemonSet"):  meta.RESTScopeNamespace,
		appsv1.SchemeGroupVersion.WithKind("Deployment"): meta.RESTScopeNamespace,
		corev1.SchemeGroupVersion.WithKind("Pod"):        meta.RESTScopeNamespace,
		corev1.SchemeGroupVersion.WithKind("Event"):      meta.RESTScopeNamespace,
	} {
		mapper.Add(gvk, scope)
	}
	return client.NewWithWatch(config, client.Options{Scheme: scheme, Mapper: mapper})
}

// Read reads every member once, some at a time; what cannot be read says why.
func Read(ctx context.Context, o Options) []Objects {
	all := make([]Objects, len(o.Members))
	var group errgroup.Group
	group.SetLimit(atOnce)
	for i, m := range o.Members {
		group.Go(func() error {
			all[i] = o.read(ctx, m)
			return nil
		})
	}
	_ = group.Wait() // each says itself what went wrong
	return all
}

func (o *Options) read(ctx context.Context, m Member) Objects {
	if o.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, o.Timeout)
		defer cancel()
	}
	config, err := m.Open(ctx)
	if err != nil {
		return Objects{Cluster: m.Name, Err: err}
	}
	objects, err := read(ctx, config, m.Name, o.kinds(m.Name))
	if err != nil {
		objects.Err = fmt.Errorf("cluster %s: %w", m.Name, err)
	}
	return objects
}

// State reads all that sdn-tunnel has in a cluster now, mirrors of other members' TunnelNodes
// too, for those who judge it otherwise. It reads no Events.
func State(ctx context.Context, config *rest.Config, cluster, namespace string) (Objects, error) {
	return read(ctx, config, cluster, state(namespace, labels.Everything()))
}

// read reads all objects of some kinds, or none.
func read(ctx context.Context, config *rest.Config, cluster string, kinds []kind) (Objects, error) {
	objects := Objects{Cluster: cluster}
	reader, err := newClient(config)
	if err != nil {
		return objects, err
	}
	var mu sync.Mutex
	group, ctx := errgroup.WithContext(ctx)
	for _, k := range kinds {
		group.Go(func() error {
			return k.pages(ctx, reader, func(object runtime.Object) error {
				mu.Lock()
				defer mu.Unlock()
				objects.add(object)
				return nil
			})
		})
	}
	if err := group.Wait(); err != nil {
		return Objects{Cluster: cluster}, err
	}
	return objects, nil
}

// pages reads all objects of a kind. A kind that the server does not have has none: then
// sdn-tunnel is not deployed there.
func (k kind) pages(ctx context.Context, reader client.Reader, each func(runtime.Object) error) error {
	p := pager.New(func(ctx context.Context, raw metav1.ListOptions) (runtime.Object, error) {
		list := k.list()
		return list, reader.List(ctx, list, k.with(raw))
	})
	p.PageSize = pageSize
	err := p.EachListItem(ctx, metav1.ListOptions{}, each)
	switch {
	case apierrors.IsNotFound(err):
		return nil
	case err != nil && ctx.Err() != nil && errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("list %T: no answer in time: %w", k.object, err)
	case err != nil:
		return fmt.Errorf("list %T: %w", k.object, err)
	}
	return nil
}
