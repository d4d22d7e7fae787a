package apitest

import (
	"context"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

// TestServer: the API serves our CRDs, knows users, and survives an outage with
// what it held.
func TestServer(t *testing.T) {
	s := Start(t)
	ctx := context.Background()
	admin := s.Clientset(t)
	resources, err := admin.Discovery().ServerResourcesForGroupVersion("sdntunnel.io/v1alpha1")
	if err != nil || len(resources.APIResources) == 0 {
		t.Fatalf("our objects are not served: %v, %v", resources, err)
	}

	nobody, err := clientcmd.BuildConfigFromFlags("", s.Kubeconfig(t, s.User(t, "nobody")))
	if err != nil {
		t.Fatal(err)
	}
	weak, err := kubernetes.NewForConfig(nobody)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := weak.CoreV1().Nodes().List(ctx, metav1.ListOptions{}); !apierrors.IsForbidden(err) {
		t.Fatalf("a user without rights lists nodes: %v", err)
	}

	s.StopAPI()
	if _, err := admin.Discovery().ServerVersion(); err == nil {
		t.Fatal("the API answers although it is stopped")
	}
	s.StartAPI(t)
	if _, err := admin.Discovery().ServerResourcesForGroupVersion("sdntunnel.io/v1alpha1"); err != nil {
		t.Fatalf("the CRDs are gone after a restart: %v", err)
	}
}
