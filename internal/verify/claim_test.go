package verify

import (
	"errors"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/kubernetes/fake"
)

func testNamespace(labels, annotations map[string]string) *corev1.Namespace {
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "t", Labels: labels, Annotations: annotations}}
}

func claimObject() *unstructured.Unstructured {
	u := &unstructured.Unstructured{}
	u.SetName("t")
	u.SetLabels(map[string]string{ownerLabel: ownerValue})
	return u
}

func TestClaim(t *testing.T) {
	own := map[string]string{ownerLabel: ownerValue}
	until := func(d time.Duration) map[string]string {
		return map[string]string{runAnnotation: "other", untilAnnotation: time.Now().Add(d).Format(time.RFC3339)}
	}
	for name, c := range map[string]struct {
		there *corev1.Namespace
		alone bool
		want  string // part of the error; empty: claimed
	}{
		"free":                   {nil, false, ""},
		"somebody else's":        {testNamespace(nil, nil), true, "not of sdn-tunnel"},
		"of a running one":       {testNamespace(own, until(time.Minute)), false, "another verification is running"},
		"of one that was killed": {testNamespace(own, until(time.Minute)), true, ""},
		"of one that ended":      {testNamespace(own, until(-time.Minute)), false, ""},
		"applied by hand":        {testNamespace(own, nil), false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			client := fake.NewClientset()
			if c.there != nil {
				client = fake.NewClientset(c.there)
			}
			k := &kubeCluster{member: "east", client: client}
			o := &Options{Namespace: "t", SkipNodes: true, ReadyTimeout: time.Second, Alone: c.alone, run: "mine"}
			err := k.claim(t.Context(), claimObject(), o)
			ns, getErr := client.CoreV1().Namespaces().Get(t.Context(), "t", metav1.GetOptions{})
			if getErr != nil {
				t.Fatal(getErr)
			}
			if c.want != "" {
				if err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("error %v, want %q", err, c.want)
				}
				if err := k.remove(t.Context(), o); err != nil {
					t.Error(err)
				}
				if _, err := client.CoreV1().Namespaces().Get(t.Context(), "t", metav1.GetOptions{}); err != nil {
					t.Errorf("the clean-up removed what is not this run's: %v", err)
				}
				return
			}
			if err != nil || ns.Annotations[runAnnotation] != "mine" {
				t.Fatalf("error %v, annotations %v", err, ns.Annotations)
			}
			if err := k.claim(t.Context(), claimObject(), &Options{Namespace: "t", ReadyTimeout: time.Second, run: "second"}); !errors.Is(err, errBusy) {
				t.Errorf("a second run: %v", err)
			}
			if err := k.remove(t.Context(), o); err != nil {
				t.Error(err)
			}
			if _, err := client.CoreV1().Namespaces().Get(t.Context(), "t", metav1.GetOptions{}); err == nil {
				t.Error("the namespace is still there")
			}
		})
	}
}
