package ssa

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// leftOver tells whether is has fields that owner applied earlier and want no longer
// declares: the next apply takes them away. They are added to before. An object that was
// read without its managedFields has none. The declared fields must be equal already.
func leftOver(is *unstructured.Unstructured, want, before map[string]any, owner string) bool {
	found := false
	for _, entry := range is.GetManagedFields() {
		if entry.Manager != owner || entry.Operation != metav1.ManagedFieldsOperationApply || entry.Subresource != "" ||
			entry.APIVersion != is.GetAPIVersion() || entry.FieldsV1 == nil {
			continue
		}
		var fields map[string]any
		if err := json.Unmarshal(entry.FieldsV1.GetRawBytes(), &fields); err != nil {
			continue // not ours to judge; the server reads it as well
		}
		found = undeclared(fields, want, is.Object, before) || found
	}
	return found
}

// undeclared walks a set of fields (FieldsV1) along the three.
func undeclared(fields map[string]any, want, is, before any) bool {
	found := false
	for step, sub := range fields {
		next, _ := sub.(map[string]any)
		if name, ok := strings.CutPrefix(step, "f:"); ok {
			found = field(name, next, want, is, before) || found
		} else if key, ok := strings.CutPrefix(step, "k:"); ok {
			w, ok := want.([]any)
			i, ok2 := is.([]any)
			b, ok3 := before.([]any)
			if n := element(i, key); ok && ok2 && ok3 && n >= 0 && n < len(w) && n < len(b) {
				found = undeclared(next, w[n], i[n], b[n]) || found
			}
		}
	}
	return found
}

// field looks at one field that is owned. Of a map that is no longer declared as a
// whole, those entries are left over that are owned, not those of others.
func field(name string, owned map[string]any, want, is, before any) bool {
	w, ok := want.(map[string]any)
	i, ok2 := is.(map[string]any)
	b, ok3 := before.(map[string]any)
	have, there := i[name]
	if !ok || !ok2 || !ok3 || !there {
		return false
	}
	if declared, ok := w[name]; ok {
		return undeclared(owned, declared, have, b[name])
	}
	if _, isMap := have.(map[string]any); !isMap || !slices.ContainsFunc(slices.Collect(maps.Keys(owned)), isField) {
		b[name] = have
		return true
	}
	part := map[string]any{}
	if !undeclared(owned, map[string]any{}, have, part) {
		return false
	}
	b[name] = part
	return true
}

func isField(step string) bool { return strings.HasPrefix(step, "f:") }

// element is the place of the list's element with the key, -1 if there is none.
func element(list []any, key string) int {
	var keys map[string]any
	if json.Unmarshal([]byte(key), &keys) != nil {
		return -1
	}
	return slices.IndexFunc(list, func(e any) bool {
		m, ok := e.(map[string]any)
		for k, v := range keys {
			ok = ok && reflect.DeepEqual(m[k], v)
		}
		return ok
	})
}
