package controller

import (
	"fmt"
	"testing"

	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/sdn-tunnel/sdn-tunnel/internal/remoteservice"
)

// TestManySlices: a service of many slices does not keep a worker until all are written,
// and in the end they are.
func TestManySlices(t *testing.T) {
	id := remoteservice.Identity{Cluster: "west", Namespace: "demo", Name: "web"}
	c := fake.NewClientBuilder().WithIndex(&discoveryv1.EndpointSlice{}, serviceIndex, func(o client.Object) []string {
		of, _ := mirrorOf(o)
		return []string{serviceKey(of)}
	}).Build()
	r := &services{Client: c, writer: c, namespace: "sdn-tunnel"}
	var want []*discoveryv1.EndpointSlice
	for i := range 2*serviceWritesInARow + 1 {
		want = append(want, &discoveryv1.EndpointSlice{AddressType: discoveryv1.AddressTypeIPv4,
			ObjectMeta: metav1.ObjectMeta{Namespace: r.namespace, Name: fmt.Sprintf("web-%d", i), Labels: id.Labels("web")}})
	}
	there := func() int {
		var list discoveryv1.EndpointSliceList
		if err := c.List(t.Context(), &list); err != nil {
			t.Fatal(err)
		}
		return len(list.Items)
	}
	for _, step := range []struct {
		want  []*discoveryv1.EndpointSlice
		there int
		more  bool
	}{
		{want, serviceWritesInARow, true}, {want, 2 * serviceWritesInARow, true}, {want, len(want), false}, {want, len(want), false},
		{nil, serviceWritesInARow + 1, true}, {nil, 1, true}, {nil, 0, false},
	} {
		again, err := r.write(t.Context(), id, step.want)
		if got := there(); err != nil || got != step.there || (again == serviceWriteMore) != step.more {
			t.Fatalf("of %d there are %d, again after %s, %v; want %d", len(step.want), got, again, err, step.there)
		}
		for _, w := range step.want {
			w.ResourceVersion = ""
		}
	}
}
