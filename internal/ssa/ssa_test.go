package ssa_test

import (
	"fmt"
	"testing"

	"github.com/sdn-tunnel/sdn-tunnel/internal/ssa"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	applycorev1 "k8s.io/client-go/applyconfigurations/core/v1"
)

func TestDiff(t *testing.T) {
	service := func() *corev1.Service {
		return &corev1.Service{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: "n", Name: "s", ResourceVersion: "7",
				Labels: map[string]string{"a": "1", "theirs": "x"},
			},
			Spec: corev1.ServiceSpec{
				ClusterIP: "172.30.0.9",
				Ports:     []corev1.ServicePort{{Name: "t", Port: 5555, TargetPort: intstr.FromInt32(5555), NodePort: 30001}},
			},
		}
	}
	tests := map[string]struct {
		change func(*corev1.Service)
		want   ssa.Verb
	}{
		"same, with fields of others": {func(*corev1.Service) {}, ""},
		"another label value":         {func(s *corev1.Service) { s.Labels["a"] = "2" }, ssa.Update},
		"a label is gone":             {func(s *corev1.Service) { s.Labels = nil }, ssa.Update},
		"another port":                {func(s *corev1.Service) { s.Spec.Ports[0].Port = 1 }, ssa.Update},
		"one port too many": {func(s *corev1.Service) {
			s.Spec.Ports = append(s.Spec.Ports, corev1.ServicePort{Name: "x"})
		}, ssa.Update},
		"no ports": {func(s *corev1.Service) { s.Spec.Ports = nil }, ssa.Update},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			desired, err := ssa.Declared(applycorev1.Service("s", "n").WithLabels(map[string]string{"a": "1"}).
				WithSpec(applycorev1.ServiceSpec().WithPorts(applycorev1.ServicePort().WithName("t").WithPort(5555))))
			if err != nil {
				t.Fatal(err)
			}
			existing := service()
			tt.change(existing)
			got, err := ssa.Diff(desired, existing, "me")
			if err != nil {
				t.Fatal(err)
			}
			if (got == nil) != (tt.want == "") || got != nil && got.Verb != tt.want {
				t.Errorf("got %v, want %q", got, tt.want)
			}
		})
	}
}

func TestDiffOfNothing(t *testing.T) {
	desired, err := ssa.Declared(applycorev1.Service("s", "n"))
	if err != nil {
		t.Fatal(err)
	}
	var none *corev1.Service
	for _, existing := range []any{nil, none} {
		got, err := ssa.Diff(desired, existing, "me")
		if err != nil || got == nil || got.String() != "create Service n/s" {
			t.Errorf("got %v, %v", got, err)
		}
	}
}

// TestDiffOfWhatWasDeclaredEarlier: what the owner no longer declares has to go; what
// others put there is theirs.
func TestDiffOfWhatWasDeclaredEarlier(t *testing.T) {
	const mine = `{"f:metadata":{"f:annotations":{"f:keep":{},"f:old":{}}},"f:spec":{"f:ports":{"k:{\"port\":5555,\"protocol\":\"UDP\"}":{".":{},"f:port":{},"f:protocol":{}%s}}}}`
	desired, err := ssa.Declared(applycorev1.Service("s", "n").WithAnnotations(map[string]string{"keep": "1"}).
		WithSpec(applycorev1.ServiceSpec().WithPorts(applycorev1.ServicePort().WithProtocol(corev1.ProtocolUDP).WithPort(5555))))
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		annotations map[string]string
		owner, more string
		want        bool
	}{
		"an annotation":                {map[string]string{"keep": "1", "old": "2"}, "me", "", true},
		"an annotation of another":     {map[string]string{"keep": "1", "old": "2"}, "other", "", false},
		"an annotation that is gone":   {map[string]string{"keep": "1", "theirs": "3"}, "me", "", false},
		"a field of a list's element":  {map[string]string{"keep": "1"}, "me", `,"f:name":{}`, true},
		"an element's field of others": {map[string]string{"keep": "1"}, "other", `,"f:name":{}`, false},
	} {
		t.Run(name, func(t *testing.T) {
			existing := &corev1.Service{
				ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "s", Annotations: tt.annotations,
					ManagedFields: []metav1.ManagedFieldsEntry{{Manager: tt.owner, Operation: metav1.ManagedFieldsOperationApply, APIVersion: "v1",
						FieldsType: "FieldsV1", FieldsV1: metav1.NewFieldsV1(fmt.Sprintf(mine, tt.more))}}},
				Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Name: "p", Protocol: corev1.ProtocolUDP, Port: 5555}}},
			}
			got, err := ssa.Diff(desired, existing, "me")
			if err != nil || (got != nil) != tt.want {
				t.Errorf("got %v, %v", got, err)
			}
		})
	}
}
