package apply

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/sdn-tunnel/sdn-tunnel/internal/ssa"
)

// Delete removes the objects, in the order given, with what belongs to them. What is not
// there, is on its way out already, is not to be touched, or is of a kind that the server
// does not know, is no change; AwaitGone waits for it.
func (e *Engine) Delete(ctx context.Context, objects []*unstructured.Unstructured) ([]ssa.Change, error) {
	var changes []ssa.Change
	for _, o := range objects {
		change := ssa.Change{Verb: ssa.Delete, Kind: o.GetKind(), Namespace: o.GetNamespace(), Name: o.GetName()}
		target, err := e.resource(o)
		if meta.IsNoMatchError(err) {
			continue
		}
		if err != nil {
			return changes, fmt.Errorf("%s: %w", change, err)
		}
		live, err := target.Get(ctx, o.GetName(), metav1.GetOptions{})
		if apierrors.IsNotFound(err) || err == nil && live.GetDeletionTimestamp() != nil {
			continue
		}
		if err != nil {
			return changes, fmt.Errorf("%s: %w", change, err)
		}
		if !e.mayTouch(live) {
			continue
		}
		change.Before = shown(bare(live))
		if !e.DryRun {
			foreground := metav1.DeletePropagationForeground
			err := target.Delete(ctx, o.GetName(), metav1.DeleteOptions{PropagationPolicy: &foreground})
			if err != nil && !apierrors.IsNotFound(err) {
				return changes, fmt.Errorf("%s: %w", change, err)
			}
		}
		changes = append(changes, change)
	}
	return changes, nil
}

// AwaitGone waits until none of the objects is there.
func (e *Engine) AwaitGone(ctx context.Context, objects []*unstructured.Unstructured, limit time.Duration) error {
	if e.DryRun {
		return nil
	}
	deadline := time.Now().Add(limit)
	for _, o := range objects {
		target, err := e.resource(o)
		if meta.IsNoMatchError(err) {
			continue
		}
		if err != nil {
			return err
		}
		err = poll(ctx, max(time.Until(deadline), time.Second), rolloutInterval, func() (string, error) {
			live, err := target.Get(ctx, o.GetName(), metav1.GetOptions{})
			if apierrors.IsNotFound(err) {
				return "", nil
			}
			if err != nil {
				return "", err
			}
			if !e.mayTouch(live) {
				return "", nil
			}
			return fmt.Sprintf("is there (finalizers: %v)", live.GetFinalizers()), nil
		})
		if err != nil {
			return fmt.Errorf("%s %s: %w", o.GetKind(), o.GetName(), err)
		}
	}
	return nil
}

// HasNamespace tells whether the server has the namespace.
func (e *Engine) HasNamespace(ctx context.Context, name string) (bool, error) {
	ns := &unstructured.Unstructured{}
	ns.SetAPIVersion("v1")
	ns.SetKind("Namespace")
	target, err := e.resource(ns)
	if err != nil {
		return false, err
	}
	live, err := target.Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	return err == nil && live.GetDeletionTimestamp() == nil, err
}
