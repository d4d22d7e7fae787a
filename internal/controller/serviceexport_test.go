package controller_test

import (
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	mcsv1alpha1 "sigs.k8s.io/mcs-api/pkg/apis/v1alpha1"
)

// TestServiceExports: the cluster of the export says whether it is valid.
func TestServiceExports(t *testing.T) {
	m := newMember(t, "west")
	m.api.Namespaces(t, demo)
	m.service(demo, "there")
	m.service(demo, "headless", func(s *corev1.Service) { s.Spec.ClusterIP = corev1.ClusterIPNone })
	m.service(demo, "elsewhere", func(s *corev1.Service) {
		s.Spec = corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "example.org"}
	})
	valid := func(name string, status metav1.ConditionStatus, reason string) func() string {
		return func() string {
			var e mcsv1alpha1.ServiceExport
			if err := m.Get(t.Context(), client.ObjectKey{Namespace: demo, Name: name}, &e); err != nil {
				return err.Error()
			}
			c := meta.FindStatusCondition(e.Status.Conditions, "Valid")
			if c == nil || c.Status != status || c.Reason != reason || c.Message == "" {
				return fmt.Sprintf("%+v", c)
			}
			return ""
		}
	}
	for _, name := range []string{"there", "headless", "elsewhere", "missing"} {
		m.create(&mcsv1alpha1.ServiceExport{ObjectMeta: metav1.ObjectMeta{Namespace: demo, Name: name}})
	}
	m.run()
	eventually(t, "a service", valid("there", metav1.ConditionTrue, "Valid"))
	eventually(t, "a headless one", valid("headless", metav1.ConditionTrue, "Valid"))
	eventually(t, "ExternalName", valid("elsewhere", metav1.ConditionFalse, "InvalidServiceType"))
	eventually(t, "no service", valid("missing", metav1.ConditionFalse, "NoService"))
	m.service(demo, "missing")
	eventually(t, "the service comes", valid("missing", metav1.ConditionTrue, "Valid"))
	m.delete(&corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: demo, Name: "there"}})
	eventually(t, "the service goes", valid("there", metav1.ConditionFalse, "NoService"))

	// Another controller's condition stays, and its own words for the same are not fought over.
	var e mcsv1alpha1.ServiceExport
	if err := m.Get(t.Context(), client.ObjectKey{Namespace: demo, Name: "missing"}, &e); err != nil {
		t.Fatal(err)
	}
	meta.SetStatusCondition(&e.Status.Conditions, metav1.Condition{Type: "Conflict", Status: metav1.ConditionFalse, Reason: "NoConflicts"})
	meta.SetStatusCondition(&e.Status.Conditions, metav1.Condition{Type: "Valid", Status: metav1.ConditionTrue, Reason: "Fine", Message: "m"})
	if err := m.Status().Update(t.Context(), &e); err != nil {
		t.Fatal(err)
	}
	time.Sleep(2 * time.Second)
	eventually(t, "another's words", valid("missing", metav1.ConditionTrue, "Fine"))
	if err := m.Get(t.Context(), client.ObjectKey{Namespace: demo, Name: "missing"}, &e); err != nil || len(e.Status.Conditions) != 3 {
		t.Errorf("%v, %v", e.Status.Conditions, err)
	}
}
