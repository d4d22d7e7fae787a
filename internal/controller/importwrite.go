package controller

import (
	"context"
	"fmt"
	"maps"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
	mcsv1alpha1 "sigs.k8s.io/mcs-api/pkg/apis/v1alpha1"

	"github.com/sdn-tunnel/sdn-tunnel/api/v1alpha1"
	"github.com/sdn-tunnel/sdn-tunnel/internal/clusterset"
)

// behindError says that the cache has not yet seen what is there.
type behindError struct{ what string }

func (e behindError) Error() string { return e.what + " is not yet as the cache has it" }

// behind turns answers of the API server that only say so into that.
func behind(err error, what string) error {
	if apierrors.IsAlreadyExists(err) || apierrors.IsNotFound(err) || apierrors.IsConflict(err) ||
		apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) {
		return behindError{what}
	}
	return err
}

// write makes all that stands for an import: the address and what is behind it first, and
// then what leads users there.
func (r *imports) write(ctx context.Context, id clusterset.ID, p importPlan, is *mcsv1alpha1.ServiceImport) error {
	addresses, err := r.writeService(ctx, id, p)
	if err != nil {
		return fmt.Errorf("import %s: the Service of its address: %w", id, err)
	}
	if err := r.writeSlices(ctx, id, p.slices); err != nil {
		return fmt.Errorf("import %s: %w", id, err)
	}
	if err := r.writeImport(ctx, p.made.ServiceImport(id, addresses), is); err != nil {
		return fmt.Errorf("import %s: %w", id, err)
	}
	return nil
}

// remove takes away all that stands for an import, in the other order.
func (r *imports) remove(ctx context.Context, id clusterset.ID, is *mcsv1alpha1.ServiceImport) error {
	if is != nil && is.DeletionTimestamp == nil {
		if err := r.delete(ctx, is); err != nil {
			return fmt.Errorf("import %s: %w", id, err)
		}
	}
	if _, err := r.writeService(ctx, id, importPlan{}); err != nil {
		return fmt.Errorf("import %s: the Service of its address: %w", id, err)
	}
	if err := r.writeSlices(ctx, id, nil); err != nil {
		return fmt.Errorf("import %s: %w", id, err)
	}
	return nil
}

// writeService makes the Service whose address is the import's; a headless one has none.
func (r *imports) writeService(ctx context.Context, id clusterset.ID, p importPlan) (addresses []string, err error) {
	var is corev1.Service
	err = r.Get(ctx, client.ObjectKey{Namespace: r.namespace, Name: id.DerivedName()}, &is)
	absent := apierrors.IsNotFound(err)
	if err != nil && !absent {
		return nil, err
	}
	if !p.wanted || p.made.Type != mcsv1alpha1.ClusterSetIP {
		if absent || is.DeletionTimestamp != nil {
			return nil, nil
		}
		return nil, r.delete(ctx, &is)
	}
	want := p.made.DerivedService(id, r.namespace)
	if absent {
		err = r.create(ctx, want)
		return want.Spec.ClusterIPs, err
	}
	now := is.DeepCopy()
	now.Labels = with(now.Labels, want.Labels)
	now.Spec.Ports, now.Spec.SessionAffinity, now.Spec.SessionAffinityConfig = want.Spec.Ports, want.Spec.SessionAffinity, want.Spec.SessionAffinityConfig
	now.Spec.Selector = nil
	return is.Spec.ClusterIPs, r.patch(ctx, &is, now)
}

// writeSlices makes the slices of an import equal to want, wherever they are.
func (r *imports) writeSlices(ctx context.Context, id clusterset.ID, want []*discoveryv1.EndpointSlice) error {
	var here discoveryv1.EndpointSliceList
	if err := r.List(ctx, &here, client.MatchingFields{derivedIndex: id.String()}); err != nil {
		return fmt.Errorf("list its slices: %w", err)
	}
	surplus := make(map[client.ObjectKey]*discoveryv1.EndpointSlice, len(here.Items))
	for i := range here.Items {
		surplus[client.ObjectKeyFromObject(&here.Items[i])] = &here.Items[i]
	}
	for _, w := range want {
		key := client.ObjectKeyFromObject(w)
		is := surplus[key]
		delete(surplus, key)
		if err := r.writeSlice(ctx, is, w); err != nil {
			return err
		}
	}
	for _, is := range surplus {
		if err := r.delete(ctx, is); err != nil {
			return err
		}
	}
	return nil
}

// writeSlice makes one slice as wanted; is may be nil, and then it may be one without its
// labels.
func (r *imports) writeSlice(ctx context.Context, is, want *discoveryv1.EndpointSlice) error {
	if is == nil {
		is = &discoveryv1.EndpointSlice{}
		if err := r.Get(ctx, client.ObjectKeyFromObject(want), is); apierrors.IsNotFound(err) {
			return r.create(ctx, want)
		} else if err != nil {
			return err
		}
	}
	if is.AddressType != want.AddressType { // it cannot be changed
		if err := r.delete(ctx, is); err != nil {
			return err
		}
		return behindError{"EndpointSlice " + want.Name}
	}
	now := is.DeepCopy()
	now.Labels = with(now.Labels, want.Labels)
	if !apiequality.Semantic.DeepEqual(now.Endpoints, want.Endpoints) {
		now.Endpoints = want.Endpoints
	}
	if !apiequality.Semantic.DeepEqual(now.Ports, want.Ports) {
		now.Ports = want.Ports
	}
	return r.patch(ctx, is, now)
}

// writeImport makes the ServiceImport and its status; is may be nil.
func (r *imports) writeImport(ctx context.Context, want, is *mcsv1alpha1.ServiceImport) error {
	status := want.Status
	if is == nil {
		if err := r.create(ctx, want); err != nil {
			return err
		}
		is = want
	}
	now := is.DeepCopy()
	now.Labels = with(now.Labels, want.Labels)
	now.Spec = want.Spec
	if err := r.patch(ctx, is, now); err != nil {
		return err
	}
	is = now.DeepCopy()
	now.Status.Clusters, now.Status.EndpointSliceObjects = status.Clusters, status.EndpointSliceObjects
	if apiequality.Semantic.DeepEqual(is.Status, now.Status) {
		return nil
	}
	if err := r.writer.Status().Patch(ctx, now, client.MergeFrom(is), client.FieldOwner(v1alpha1.ManagerImports)); err != nil {
		return behind(err, "ServiceImport "+now.Namespace+"/"+now.Name)
	}
	return nil
}

func with(labels, more map[string]string) map[string]string {
	out := maps.Clone(labels)
	if out == nil {
		out = map[string]string{}
	}
	maps.Copy(out, more)
	return out
}

func (r *imports) create(ctx context.Context, o client.Object) error {
	return r.done("create", o, r.writer.Create(ctx, o, client.FieldOwner(v1alpha1.ManagerImports)))
}

func (r *imports) patch(ctx context.Context, is, now client.Object) error {
	if apiequality.Semantic.DeepEqual(is, now) {
		return nil
	}
	return r.done("patch", now, r.writer.Patch(ctx, now, client.MergeFrom(is), client.FieldOwner(v1alpha1.ManagerImports)))
}

func (r *imports) delete(ctx context.Context, o client.Object) error {
	uid := o.GetUID()
	return r.done("delete", o, client.IgnoreNotFound(r.writer.Delete(ctx, o, client.Preconditions{UID: &uid})))
}

func (r *imports) done(verb string, o client.Object, err error) error {
	kind := kindOf(o)
	if err != nil {
		return behind(fmt.Errorf("%s %s %s/%s: %w", verb, kind, o.GetNamespace(), o.GetName(), err), kind+" "+o.GetName())
	}
	importWrites.WithLabelValues(kind, verb).Inc()
	return nil
}

func kindOf(o client.Object) string {
	switch o.(type) {
	case *corev1.Service:
		return "Service"
	case *discoveryv1.EndpointSlice:
		return "EndpointSlice"
	}
	return mcsv1alpha1.ServiceImportKindName
}
