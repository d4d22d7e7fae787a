package peeraccess_test

import (
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/sdn-tunnel/sdn-tunnel/api/v1alpha1"
	"github.com/sdn-tunnel/sdn-tunnel/internal/peeraccess"
)

// TestKnown: any trace in any of those that stay will do; without one the name is refused,
// with those that were meant perhaps.
func TestKnown(t *testing.T) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	named := metav1.ObjectMeta{Namespace: "sdn-tunnel", Name: "sdn-tunnel-peer-west"}
	link := func(name string) client.Object {
		return &v1alpha1.LinkedCluster{ObjectMeta: metav1.ObjectMeta{Name: name}}
	}
	for name, c := range map[string]struct {
		there []client.Object // in north; east has itself only
		peer  string
		want  string
	}{
		"linked":     {[]client.Object{link("west")}, "west", ""},
		"its Secret": {[]client.Object{&corev1.Secret{ObjectMeta: named}}, "west", ""},
		"its rights": {[]client.Object{&corev1.ServiceAccount{ObjectMeta: named}}, "west", ""},
		"its node": {[]client.Object{&v1alpha1.TunnelNode{ObjectMeta: metav1.ObjectMeta{
			Name: "west.west-1", Labels: map[string]string{v1alpha1.LabelCluster: "west"}}}}, "west", ""},
		"its names": {[]client.Object{&appsv1.Deployment{
			ObjectMeta: metav1.ObjectMeta{Namespace: "sdn-tunnel", Name: "sdn-tunnel-dns"},
			Spec: appsv1.DeploymentSpec{Template: corev1.PodTemplateSpec{Spec: corev1.PodSpec{Volumes: []corev1.Volume{
				{Name: "config"}, {Name: "peers", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{
					{Secret: &corev1.SecretProjection{LocalObjectReference: corev1.LocalObjectReference{Name: named.Name}}},
				}}}},
			}}}},
		}}, "west", ""},
		"misspelt":     {[]client.Object{link("north"), link("west")}, "wset", "nothing was changed; did you mean west?"},
		"gone already": {[]client.Object{link("north")}, "west", "of it is in east, north; nothing was changed; linked are east, north"},
		"elsewhere": {[]client.Object{&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: named.Name}}}, "west",
			"there is no cluster west to forget"},
	} {
		t.Run(name, func(t *testing.T) {
			side := func(name string, objects ...client.Object) peeraccess.Side {
				return peeraccess.Side{Cluster: name, Namespace: "sdn-tunnel",
					Client: fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).Build()}
			}
			err := peeraccess.Known(t.Context(), []peeraccess.Side{side("east", link("east")), side("north", c.there...)}, c.peer)
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}
