package apply

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
)

// Read gives the objects in YAML or JSON text: documents, lists of objects, and objects
// of kind List. Empty documents are left out. name is for errors.
func Read(name string, text []byte) ([]*unstructured.Unstructured, error) {
	dec := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(text), 4096)
	var out []*unstructured.Unstructured
	for n := 1; ; n++ {
		var doc any
		err := dec.Decode(&doc)
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, fmt.Errorf("%s: document %d: %w", name, n, err)
		}
		objects, err := Objects(doc)
		if err != nil {
			return nil, fmt.Errorf("%s: document %d: %w", name, n, err)
		}
		out = append(out, objects...)
	}
}

// Manifests gives the objects of an argument of a module: each element is text as Read takes
// it, or decoded already. name is the argument's, for errors.
func Manifests(name string, manifests []any) ([]*unstructured.Unstructured, error) {
	var out []*unstructured.Unstructured
	for i, m := range manifests {
		which := fmt.Sprintf("%s[%d]", name, i)
		text, ok := m.(string)
		if !ok {
			raw, err := json.Marshal(m)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", which, err)
			}
			text = string(raw)
		}
		objects, err := Read(which, []byte(text))
		if err != nil {
			return nil, err
		}
		out = append(out, objects...)
	}
	return out, nil
}

// Objects gives the objects in decoded YAML: one, a list, or a List.
func Objects(doc any) ([]*unstructured.Unstructured, error) {
	switch doc := doc.(type) {
	case nil:
		return nil, nil
	case []any:
		var out []*unstructured.Unstructured
		for i, d := range doc {
			objects, err := Objects(d)
			if err != nil {
				return nil, fmt.Errorf("[%d]: %w", i, err)
			}
			out = append(out, objects...)
		}
		return out, nil
	case map[string]any:
		if len(doc) == 0 {
			return nil, nil
		}
		o := &unstructured.Unstructured{Object: doc}
		if items, ok := doc["items"].([]any); ok && o.IsList() {
			return Objects(items)
		}
		if o.GetAPIVersion() == "" || o.GetKind() == "" || o.GetName() == "" {
			return nil, errors.New("apiVersion, kind or metadata.name is missing")
		}
		return []*unstructured.Unstructured{o}, nil
	}
	return nil, fmt.Errorf("this is no object but %T", doc)
}
