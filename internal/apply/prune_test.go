package apply

import (
	"fmt"
	"slices"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	dynamicfake "k8s.io/client-go/dynamic/fake"
)

// fixedMapper knows the kinds of the test.
type fixedMapper struct{ meta.RESTMapper }

func (fixedMapper) Reset() {}

// TestPrune removes what an earlier call made and this one does not, and nothing else.
func TestPrune(t *testing.T) {
	configMap := func(namespace, name, component string) *unstructured.Unstructured {
		return read(t, fmt.Sprintf("{apiVersion: v1, kind: ConfigMap, metadata: {namespace: %s, name: %s, labels: {component: %s}}}", namespace, name, component))[0]
	}
	now := configMap("ns", "dns-2", "dns")
	objects := []runtime.Object{
		now, configMap("ns", "dns-1", "dns"), configMap("ns", "other", "controller"), configMap("elsewhere", "dns-1", "dns"),
	}
	mapper := meta.NewDefaultRESTMapper(nil)
	mapper.Add(schema.GroupVersionKind{Version: "v1", Kind: "ConfigMap"}, meta.RESTScopeNamespace)
	client := dynamicfake.NewSimpleDynamicClient(runtime.NewScheme(), objects...)
	stale := Stale{APIVersion: "v1", Kind: "ConfigMap", Namespace: "ns", Selector: "component=dns"}
	for _, dryRun := range []bool{true, false} {
		e := &Engine{DryRun: dryRun, client: client, mapper: fixedMapper{mapper}}
		changes, err := e.Prune(t.Context(), stale, []*unstructured.Unstructured{now})
		if err != nil || !slices.Equal(summary(changes), []string{"delete ConfigMap ns/dns-1"}) {
			t.Fatalf("dry run %v: %q, %v", dryRun, summary(changes), err)
		}
	}
	e := &Engine{client: client, mapper: fixedMapper{mapper}}
	if changes, err := e.Prune(t.Context(), stale, []*unstructured.Unstructured{now}); err != nil || len(changes) > 0 {
		t.Errorf("a second time: %q, %v", summary(changes), err)
	}
	stale.Namespace = ""
	if changes, err := e.Prune(t.Context(), stale, []*unstructured.Unstructured{now}); err != nil || !slices.Equal(summary(changes), []string{"delete ConfigMap elsewhere/dns-1"}) {
		t.Errorf("in all namespaces: %q, %v", summary(changes), err)
	}
	stale.Kind = "Widget"
	if changes, err := e.Prune(t.Context(), stale, nil); err != nil || len(changes) > 0 {
		t.Errorf("a kind that is not served: %q, %v", summary(changes), err)
	}
}
