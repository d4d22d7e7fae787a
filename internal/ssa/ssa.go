package ssa

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Verb says what a change does.
type Verb string

// The verbs.
const (
	Create Verb = "create"
	Update Verb = "update"
	Delete Verb = "delete"
)

// Change is one object that differs, for people and for a diff: Before and After
// hold the declared fields only.
type Change struct {
	Verb      Verb           `json:"verb"`
	Kind      string         `json:"kind"`
	Namespace string         `json:"namespace,omitempty"`
	Name      string         `json:"name"`
	Before    map[string]any `json:"before,omitempty"`
	After     map[string]any `json:"after,omitempty"`
}

// String is the change in a few words.
func (c Change) String() string {
	if c.Namespace == "" {
		return fmt.Sprintf("%s %s %s", c.Verb, c.Kind, c.Name)
	}
	return fmt.Sprintf("%s %s %s/%s", c.Verb, c.Kind, c.Namespace, c.Name)
}

// Writer is the part of an API client that changes go through.
type Writer interface {
	Apply(ctx context.Context, obj runtime.ApplyConfiguration, opts ...client.ApplyOption) error
	Delete(ctx context.Context, obj client.Object, opts ...client.DeleteOption) error
}

// Declared makes an object to be applied from a typed apply configuration.
func Declared(config any) (*unstructured.Unstructured, error) {
	raw, err := json.Marshal(config)
	if err != nil {
		return nil, fmt.Errorf("encode what is to be applied: %w", err)
	}
	u := &unstructured.Unstructured{}
	if err := u.UnmarshalJSON(raw); err != nil {
		return nil, fmt.Errorf("encode what is to be applied: %w", err)
	}
	return u, nil
}

// Diff compares desired with existing, an object as read, or nil if there is none. It
// returns nil where every declared field is as it should be, and nothing is left that
// owner declared earlier and no longer does.
func Diff(desired *unstructured.Unstructured, existing any, owner string) (*Change, error) {
	change := &Change{Verb: Create, Kind: desired.GetKind(), Namespace: desired.GetNamespace(),
		Name: desired.GetName(), After: desired.Object}
	if absent(existing) {
		return change, nil
	}
	raw, err := json.Marshal(existing)
	if err != nil {
		return nil, fmt.Errorf("compare %s: %w", change, err)
	}
	is := &unstructured.Unstructured{}
	if err := json.Unmarshal(raw, &is.Object); err != nil {
		return nil, fmt.Errorf("compare %s: %w", change, err)
	}
	is.SetGroupVersionKind(desired.GroupVersionKind()) // typed clients leave it out
	raw, err = json.Marshal(desired.Object)            // the same number types on both sides
	if err != nil {
		return nil, fmt.Errorf("compare %s: %w", change, err)
	}
	var want map[string]any
	if err := json.Unmarshal(raw, &want); err != nil {
		return nil, fmt.Errorf("compare %s: %w", change, err)
	}
	before, _ := project(want, is.Object).(map[string]any)
	if reflect.DeepEqual(before, want) && !leftOver(is, want, before, owner) {
		return nil, nil
	}
	change.Verb, change.Before, change.After = Update, before, want
	return change, nil
}

// absent also knows nil pointers in an interface.
func absent(v any) bool {
	if v == nil {
		return true
	}
	r := reflect.ValueOf(v)
	return r.Kind() == reflect.Pointer && r.IsNil()
}

// project cuts is down to the fields that want has. Lists are kept whole, and each
// element that has a counterpart is cut down in turn.
func project(want, is any) any {
	switch want := want.(type) {
	case map[string]any:
		m, ok := is.(map[string]any)
		if !ok {
			return is
		}
		out := make(map[string]any, len(want))
		for k, v := range want {
			if have, ok := m[k]; ok {
				out[k] = project(v, have)
			}
		}
		return out
	case []any:
		l, ok := is.([]any)
		if !ok {
			return is
		}
		out := make([]any, len(l))
		for i, have := range l {
			if i < len(want) {
				have = project(want[i], have)
			}
			out[i] = have
		}
		return out
	}
	return is
}

// Ensure applies desired for owner if it differs from existing. In a dry run it only
// says what it would do. After a real change, desired holds what the server answered.
func Ensure(ctx context.Context, w Writer, desired *unstructured.Unstructured, existing any, owner string, dryRun bool) (*Change, error) {
	change, err := Diff(desired, existing, owner)
	if err != nil || change == nil || dryRun {
		return change, err
	}
	applied := desired.DeepCopy()
	if err := w.Apply(ctx, client.ApplyConfigurationFromUnstructured(applied), client.FieldOwner(owner), client.ForceOwnership); err != nil {
		return nil, fmt.Errorf("%s: %w", change, err)
	}
	desired.Object = applied.Object
	return change, nil
}
