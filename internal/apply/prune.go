package apply

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/sdn-tunnel/sdn-tunnel/internal/ssa"
)

// Stale names objects that an earlier version may have left: all of a kind that a
// selector finds in a namespace; without one, in all of them.
type Stale struct {
	APIVersion, Kind, Namespace, Selector string
}

// Prune deletes the objects that s finds and that are not among keep.
func (e *Engine) Prune(ctx context.Context, s Stale, keep []*unstructured.Unstructured) ([]ssa.Change, error) {
	kind := schema.FromAPIVersionAndKind(s.APIVersion, s.Kind)
	m, err := e.mapping(kind)
	if meta.IsNoMatchError(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list stale %s: %w", s.Kind, err)
	}
	list, err := e.client.Resource(m.Resource).Namespace(s.Namespace).List(ctx, metav1.ListOptions{LabelSelector: s.Selector})
	if err != nil {
		return nil, fmt.Errorf("list stale %s: %w", s.Kind, err)
	}
	kept := map[[2]string]bool{}
	for _, o := range keep {
		if o.GroupVersionKind() == kind {
			kept[[2]string{o.GetNamespace(), o.GetName()}] = true
		}
	}
	var stale []*unstructured.Unstructured
	for i := range list.Items {
		if o := &list.Items[i]; !kept[[2]string{o.GetNamespace(), o.GetName()}] {
			o.SetGroupVersionKind(kind)
			stale = append(stale, o)
		}
	}
	return e.Delete(ctx, stale)
}
