package nodeservice

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sdn-tunnel/sdn-tunnel/api/v1alpha1"
	"github.com/sdn-tunnel/sdn-tunnel/internal/ssa"
)

// Client is what this package needs of an API client; controller-runtime's has it.
// Reads may come from a cache.
type Client interface {
	ssa.Writer
	List(ctx context.Context, list client.ObjectList, opts ...client.ListOption) error
}

// State is what was made earlier, by node name.
type State struct {
	Services map[string]*corev1.Service
	Slices   map[string]*discoveryv1.EndpointSlice
}

// Read lists what is there, with one request for each kind.
func Read(ctx context.Context, c Client, o Options) (State, error) {
	s := State{Services: map[string]*corev1.Service{}, Slices: map[string]*discoveryv1.EndpointSlice{}}
	mine := []client.ListOption{client.InNamespace(o.Namespace), client.HasLabels{v1alpha1.LabelNode}}
	var services corev1.ServiceList
	if err := c.List(ctx, &services, mine...); err != nil {
		return s, fmt.Errorf("list the node services in namespace %s: %w", o.Namespace, err)
	}
	for i := range services.Items {
		if node := services.Items[i].Annotations[v1alpha1.AnnotationNode]; node != "" {
			s.Services[node] = &services.Items[i]
		}
	}
	var endpoints discoveryv1.EndpointSliceList
	if err := c.List(ctx, &endpoints, mine...); err != nil {
		return s, fmt.Errorf("list the node services' endpoints in namespace %s: %w", o.Namespace, err)
	}
	for i := range endpoints.Items {
		// The API server copies a Service's labels to slices of its own; those stay.
		if endpoints.Items[i].Labels[discoveryv1.LabelManagedBy] != v1alpha1.ManagerController {
			continue
		}
		if node := endpoints.Items[i].Annotations[v1alpha1.AnnotationNode]; node != "" {
			s.Slices[node] = &endpoints.Items[i]
		}
	}
	return s, nil
}

// EnsureNode makes one node's Service and EndpointSlice as they should be, given what
// is there, and returns the Service as it is then (nil where the type needs none).
func EnsureNode(ctx context.Context, c Client, node *corev1.Node, is State, o Options, dryRun bool) ([]ssa.Change, *corev1.Service, error) {
	if !o.HasService() {
		return nil, nil, nil
	}
	service := is.Services[node.Name]
	var changes []ssa.Change
	// A second pass where the Service's own node port goes into it and the slice.
	for range 2 {
		port := nodePort(service)
		desired, slice, err := Build(node, o, port)
		if err != nil {
			return changes, service, err
		}
		change, u, err := ensure(ctx, c, desired, service, dryRun)
		if err != nil {
			return changes, service, err
		}
		if change != nil {
			changes = append(changes, *change)
			if !dryRun {
				service = &corev1.Service{}
				if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, service); err != nil {
					return changes, nil, fmt.Errorf("read the answer for Service %s: %w", u.GetName(), err)
				}
			}
		}
		if slice != nil && (o.Type == LoadBalancer || port == nodePort(service)) {
			change, _, err := ensure(ctx, c, slice, is.Slices[node.Name], dryRun)
			if change != nil {
				changes = append(changes, *change)
			}
			return changes, service, err
		}
		if dryRun {
			break // the node port, and with it the slice, comes with the real run
		}
	}
	return changes, service, nil
}

func ensure(ctx context.Context, c Client, config, existing any, dryRun bool) (*ssa.Change, *unstructured.Unstructured, error) {
	desired, err := ssa.Declared(config)
	if err != nil {
		return nil, nil, err
	}
	change, err := ssa.Ensure(ctx, c, desired, existing, v1alpha1.ManagerController, dryRun)
	return change, desired, err
}

func nodePort(service *corev1.Service) int32 {
	if service == nil || len(service.Spec.Ports) == 0 {
		return 0
	}
	return service.Spec.Ports[0].NodePort
}

// Ensure makes the Services of all nodes as they should be. The first error stops it;
// what was changed until then is returned as well.
func Ensure(ctx context.Context, c Client, nodes []corev1.Node, o Options, dryRun bool) ([]ssa.Change, error) {
	if err := o.Validate(); err != nil || !o.HasService() {
		return nil, err
	}
	is, err := Read(ctx, c, o)
	if err != nil {
		return nil, err
	}
	var changes []ssa.Change
	for i := range nodes {
		made, _, err := EnsureNode(ctx, c, &nodes[i], is, o, dryRun)
		changes = append(changes, made...)
		if err != nil {
			return changes, fmt.Errorf("node %s: %w", nodes[i].Name, err)
		}
	}
	return changes, nil
}

// Prune removes what belongs to nodes other than those given, or to all where the
// type needs no Services. With no nodes it removes everything.
func Prune(ctx context.Context, c Client, nodes []corev1.Node, o Options, dryRun bool) ([]ssa.Change, error) {
	is, err := Read(ctx, c, o)
	if err != nil {
		return nil, err
	}
	if o.HasService() {
		for i := range nodes {
			delete(is.Services, nodes[i].Name)
			delete(is.Slices, nodes[i].Name)
		}
	}
	var gone []string
	for node := range is.Services {
		gone = append(gone, node)
	}
	for node := range is.Slices {
		if is.Services[node] == nil {
			gone = append(gone, node)
		}
	}
	slices.Sort(gone)
	var changes []ssa.Change
	for _, node := range gone {
		removed, err := Remove(ctx, c, node, is, dryRun)
		changes = append(changes, removed...)
		if err != nil {
			return changes, err
		}
	}
	return changes, nil
}

// Remove takes one node's Service and EndpointSlice away, if they are there.
func Remove(ctx context.Context, c Client, node string, is State, dryRun bool) ([]ssa.Change, error) {
	var changes []ssa.Change
	remove := func(kind string, obj client.Object) error {
		change := ssa.Change{Verb: ssa.Delete, Kind: kind, Namespace: obj.GetNamespace(), Name: obj.GetName()}
		if !dryRun {
			if err := c.Delete(ctx, obj); client.IgnoreNotFound(err) != nil {
				return fmt.Errorf("%s: %w", change, err)
			}
		}
		changes = append(changes, change)
		return nil
	}
	if s := is.Services[node]; s != nil {
		if err := remove("Service", s); err != nil {
			return changes, err
		}
	}
	if s := is.Slices[node]; s != nil {
		if err := remove("EndpointSlice", s); err != nil {
			return changes, err
		}
	}
	return changes, nil
}
