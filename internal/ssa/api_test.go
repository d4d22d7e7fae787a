package ssa_test

import (
	"reflect"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	applycorev1 "k8s.io/client-go/applyconfigurations/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sdn-tunnel/sdn-tunnel/internal/apitest"
	"github.com/sdn-tunnel/sdn-tunnel/internal/ssa"
)

// TestNoLongerDeclared: on a real API server, what the owner takes out of its
// declaration goes, in one change that shows it, and what others have put there stays.
func TestNoLongerDeclared(t *testing.T) {
	c, err := client.New(apitest.Start(t).Config, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	service := func() *applycorev1.ServiceApplyConfiguration { return applycorev1.Service("s", "default") }
	port := func(name string, n int32) *applycorev1.ServicePortApplyConfiguration {
		return applycorev1.ServicePort().WithName(name).WithPort(n).WithProtocol(corev1.ProtocolUDP).WithTargetPort(intstr.FromInt32(n))
	}
	one, two := port("one", 1), port("two", 2)
	ports := func(p ...*applycorev1.ServicePortApplyConfiguration) *applycorev1.ServiceSpecApplyConfiguration {
		return applycorev1.ServiceSpec().WithType(corev1.ServiceTypeClusterIP).WithPorts(p...)
	}
	type text = map[string]string
	for _, step := range []struct {
		name        string
		want        *applycorev1.ServiceApplyConfiguration
		gone        string // the path that the change's Before has and After has not
		labels      text
		annotations text
		ports       int
	}{
		{"all", service().WithLabels(text{"a": "1", "b": "2"}).WithAnnotations(text{"x": "1", "y": "2"}).WithSpec(ports(one, two)), "",
			text{"a": "1", "b": "2", "theirs": "l"}, text{"x": "1", "y": "2", "theirs": "a"}, 2},
		{"without a label", service().WithLabels(text{"a": "1"}).WithAnnotations(text{"x": "1", "y": "2"}).WithSpec(ports(one, two)), "labels.b",
			text{"a": "1", "theirs": "l"}, text{"x": "1", "y": "2", "theirs": "a"}, 2},
		{"without an annotation", service().WithLabels(text{"a": "1"}).WithAnnotations(text{"x": "1"}).WithSpec(ports(one, two)), "annotations.y",
			text{"a": "1", "theirs": "l"}, text{"x": "1", "theirs": "a"}, 2},
		{"without annotations", service().WithLabels(text{"a": "1"}).WithSpec(ports(one, two)), "annotations.x",
			text{"a": "1", "theirs": "l"}, text{"theirs": "a"}, 2},
		{"without a port", service().WithLabels(text{"a": "1"}).WithSpec(ports(one)), "",
			text{"a": "1", "theirs": "l"}, text{"theirs": "a"}, 1},
		{"without labels", service().WithSpec(ports(one)), "labels.a", text{"theirs": "l"}, text{"theirs": "a"}, 1},
	} {
		apply := func(dryRun bool) *ssa.Change {
			t.Helper()
			var is corev1.Service
			var existing any
			if err := c.Get(t.Context(), client.ObjectKey{Namespace: "default", Name: "s"}, &is); err == nil {
				existing = &is
			} else if client.IgnoreNotFound(err) != nil {
				t.Fatal(err)
			}
			desired, err := ssa.Declared(step.want)
			if err != nil {
				t.Fatal(err)
			}
			change, err := ssa.Ensure(t.Context(), c, desired, existing, "me", dryRun)
			if err != nil {
				t.Fatal(err)
			}
			return change
		}
		for _, dryRun := range []bool{true, false} {
			change := apply(dryRun)
			if change == nil {
				t.Fatalf("%s (dry run %t): no change", step.name, dryRun)
			}
			if step.gone != "" && (!has(change.Before, step.gone) || has(change.After, step.gone)) {
				t.Errorf("%s: the change does not show it: %v", step.name, change)
			}
			if has(change.Before, "labels.theirs") || has(change.Before, "annotations.theirs") {
				t.Errorf("%s: the change shows what is others': %v", step.name, change)
			}
		}
		var is corev1.Service
		if err := c.Get(t.Context(), client.ObjectKey{Namespace: "default", Name: "s"}, &is); err != nil {
			t.Fatal(err)
		}
		if step.name == "all" {
			is.Labels["theirs"], is.Annotations["theirs"] = "l", "a"
			if err := c.Update(t.Context(), &is, client.FieldOwner("another")); err != nil {
				t.Fatal(err)
			}
		}
		if !reflect.DeepEqual(is.Labels, step.labels) || !reflect.DeepEqual(is.Annotations, step.annotations) || len(is.Spec.Ports) != step.ports {
			t.Errorf("%s: labels %v, annotations %v, ports %v", step.name, is.Labels, is.Annotations, is.Spec.Ports)
		}
		if change := apply(false); change != nil {
			t.Errorf("%s, a second time: %v", step.name, change)
		}
	}
}

// TestSharedField: a field that another applies as well stays, and is no difference.
func TestSharedField(t *testing.T) {
	c, err := client.New(apitest.Start(t).Config, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	apply := func(owner string, labels map[string]string) *ssa.Change {
		t.Helper()
		is := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "c"}}
		var existing any = is
		if err := c.Get(t.Context(), client.ObjectKeyFromObject(is), is); err != nil {
			existing = nil
		}
		desired, err := ssa.Declared(applycorev1.ConfigMap("c", "default").WithLabels(labels))
		if err != nil {
			t.Fatal(err)
		}
		change, err := ssa.Ensure(t.Context(), c, desired, existing, owner, false)
		if err != nil {
			t.Fatal(err)
		}
		return change
	}
	apply("me", map[string]string{"a": "1", "b": "1"})
	if err := c.Apply(t.Context(), applycorev1.ConfigMap("c", "default").WithLabels(map[string]string{"b": "1"}), client.FieldOwner("another")); err != nil {
		t.Fatal(err)
	}
	if apply("me", map[string]string{"a": "1"}) == nil {
		t.Error("giving up a shared field is no change")
	}
	if change := apply("me", map[string]string{"a": "1"}); change != nil {
		t.Errorf("a second time: %v", change)
	}
}

// has tells whether metadata has the field, given as map.key.
func has(o map[string]any, path string) bool {
	metadata, _ := o["metadata"].(map[string]any)
	for i := range path {
		if path[i] == '.' {
			m, _ := metadata[path[:i]].(map[string]any)
			_, ok := m[path[i+1:]]
			return ok
		}
	}
	return false
}
