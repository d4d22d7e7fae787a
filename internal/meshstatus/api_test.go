package meshstatus

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sdn-tunnel/sdn-tunnel/api/v1alpha1"
	"github.com/sdn-tunnel/sdn-tunnel/internal/apitest"
)

// open gives the same access each time.
func open(config *rest.Config) func(context.Context) (*rest.Config, error) {
	return func(context.Context) (*rest.Config, error) { return config, nil }
}

// store puts what Judge is to see into the API, with its status.
func store(t *testing.T, c client.Client, o Objects) {
	t.Helper()
	var all []client.Object
	for _, x := range o.Links {
		x.Spec = v1alpha1.LinkedClusterSpec{PodCIDRs: []v1alpha1.CIDR{"10.128.0.0/14"}, TunnelCIDR: "100.127.0.0/22"}
		all = append(all, x)
	}
	for _, x := range o.Nodes {
		all = append(all, x)
	}
	for _, x := range o.DaemonSets {
		x.Spec.Selector, x.Spec.Template.Labels = &metav1.LabelSelector{MatchLabels: x.Labels}, x.Labels
		all = append(all, x)
	}
	for _, x := range o.Deployments {
		x.Spec.Selector, x.Spec.Template.Labels = &metav1.LabelSelector{MatchLabels: x.Labels}, x.Labels
		all = append(all, x)
	}
	for _, x := range o.Pods {
		x.Spec.Containers = []corev1.Container{{Name: "a", Image: "b"}}
		all = append(all, x)
	}
	for _, x := range all {
		wanted := x.DeepCopyObject().(client.Object)
		if err := c.Create(t.Context(), x); err != nil {
			t.Fatalf("create %T %s: %v", x, x.GetName(), err)
		}
		wanted.SetResourceVersion(x.GetResourceVersion())
		if ds, ok := wanted.(*appsv1.DaemonSet); ok {
			ds.Status.ObservedGeneration = 1
		}
		if d, ok := wanted.(*appsv1.Deployment); ok {
			d.Status.ObservedGeneration, d.Status.Replicas = 1, 2
		}
		if err := c.Status().Update(t.Context(), wanted); err != nil {
			t.Fatalf("status of %T %s: %v", x, x.GetName(), err)
		}
	}
}

// deployed is a real API with a cluster in it, and a client of it.
func deployed(t *testing.T) (*apitest.Server, client.WithWatch) {
	t.Helper()
	s := apitest.Start(t)
	c, err := newClient(s.Config)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "sdn-tunnel"}}); err == nil {
		t.Fatal("the client knows more than it reads")
	}
	s.Namespaces(t, "sdn-tunnel")
	store(t, c, cluster("east", 0, 2, "west"))
	return s, c
}

// TestRead: everything is found, in pages where there is much, and mirrors are left out.
func TestRead(t *testing.T) {
	s, c := deployed(t)
	for i, labels := range []map[string]string{{v1alpha1.LabelCluster: "west"}, nil} { // labelled, and not yet
		n := &v1alpha1.TunnelNode{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("west.w%d", i), Labels: labels}, Spec: v1alpha1.TunnelNodeSpec{Cluster: "west", Node: fmt.Sprintf("w%d", i)}}
		if err := c.Create(t.Context(), n); err != nil {
			t.Fatal(err)
		}
	}
	nothing := s.User(t, "nobody")
	o := Options{Namespace: "sdn-tunnel", Timeout: 30 * time.Second, Members: []Member{
		{"east", open(s.Config)}, {"west", func(context.Context) (*rest.Config, error) { return nil, errors.New("no way in") }}, {"north", open(nothing)}}}
	r := Make(noon, Read(t.Context(), o))
	east, west, north := r.Clusters[0], r.Clusters[1], r.Clusters[2]
	if east.Health != Well || len(east.Nodes) != 2 || len(east.Links) != 1 || east.Agents.pods() != "2/2" || east.Controller.Versions["v1.2.0"] != 1 || east.Nodes[1].Pod == "" {
		t.Errorf("east: %+v", east)
	}
	if west.Health != Unknown || west.Error != "no way in" || !strings.Contains(north.Error, "forbidden") || r.Health() != Unknown {
		t.Errorf("west %q, north %q, %s", west.Error, north.Error, r.Health())
	}
	const many = pageSize + 20
	var wait sync.WaitGroup
	for at := range 10 {
		wait.Go(func() {
			for i := at; i < many; i += 10 {
				n := &v1alpha1.TunnelNode{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("east.more-%d", i)}, Spec: v1alpha1.TunnelNodeSpec{Cluster: "east", Node: fmt.Sprintf("more-%d", i)}}
				if err := c.Create(t.Context(), n); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wait.Wait()
	o.Members = o.Members[:1]
	began := time.Now()
	if east = Make(noon, Read(t.Context(), o)).Clusters[0]; len(east.Nodes) != many+2 {
		t.Errorf("%d nodes, want %d: %s", len(east.Nodes), many+2, east.Error)
	}
	t.Logf("%d nodes read and judged in %s", many+2, time.Since(began))
}

// TestWatch: each change comes without being asked for, and an outage is said and ends.
func TestWatch(t *testing.T) {
	s, c := deployed(t)
	ctx, cancel := context.WithCancel(t.Context())
	reports, done := make(chan Report, 100), make(chan struct{})
	go func() {
		defer close(done)
		Watch(ctx, Options{Namespace: "sdn-tunnel", Members: []Member{{"east", open(s.Config)}}},
			func(all []Objects) { reports <- Make(noon, all) })
	}()
	next := func(what string, ok func(Cluster) bool) {
		t.Helper()
		deadline := time.After(60 * time.Second)
		var last Report
		for {
			select {
			case last = <-reports:
				if ok(last.Clusters[0]) {
					return
				}
			case <-deadline:
				t.Fatalf("never: %s; the last report: %+v", what, last)
			}
		}
	}
	next("all is well", func(c Cluster) bool { return c.Health == Well && len(c.Nodes) == 2 })
	var n v1alpha1.TunnelNode
	if err := c.Get(ctx, client.ObjectKey{Name: "east.east-2"}, &n); err != nil {
		t.Fatal(err)
	}
	n.Status.Conditions[0].Status, n.Status.Conditions[0].Reason = metav1.ConditionFalse, "PartFailed"
	if err := c.Status().Update(ctx, &n); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	next("a node is not ready", func(c Cluster) bool { return c.Health == Degraded && c.Nodes[1].Health == Degraded })
	t.Logf("a change was shown after %s", time.Since(began))
	if err := c.Delete(ctx, &n); err != nil {
		t.Fatal(err)
	}
	next("the node is gone", func(c Cluster) bool { return len(c.Nodes) == 1 && c.Health == Well })
	s.StopAPI()
	next("the outage", func(c Cluster) bool { return c.Health == Unknown && c.Error != "" && len(c.Nodes) == 1 })
	s.StartAPI(t)
	next("it is over", func(c Cluster) bool { return c.Health == Well })
	cancel()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Fatal("the watch does not end")
	}
}
