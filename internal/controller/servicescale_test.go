package controller_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sdn-tunnel/sdn-tunnel/internal/remoteservice"
)

// scaleEnv is how many services TestManyServices makes.
const scaleEnv = "SDN_TUNNEL_SERVICES"

// TestManyServices prints what services cost: time until all are mirrored, until one
// change is, the controller's memory, objects and bytes in this cluster.
func TestManyServices(t *testing.T) {
	n := 300
	if text := os.Getenv(scaleEnv); text != "" {
		var err error
		if n, err = strconv.Atoi(text); err != nil {
			t.Fatalf("%s: %v", scaleEnv, err)
		}
	}
	east, west := twoMembers(t)
	west.api.Namespaces(t, demo)
	west.many(n)
	before := heap()
	start := time.Now()
	east.run()
	for east.count() < n {
		if time.Since(start) > 5*time.Minute {
			t.Fatalf("after %s there are %d mirrors of %d services", time.Since(start), east.count(), n)
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Logf("%d services of 2 endpoints are mirrored after %s", n, time.Since(start).Round(10*time.Millisecond))
	t.Logf("the controller's heap has grown by %d KiB, %d bytes a service (without the objects of this test's clients)", (heap()-before)>>10, (heap()-before)/n)

	objects, bytes, managed := east.size()
	t.Logf("in this cluster: %.2f objects and %d bytes of JSON a service, of which %d are managedFields", float64(objects)/float64(n), bytes/n, managed/n)
	if objects != n || bytes/n > 3000 {
		t.Errorf("%d objects, %d bytes a service", objects, bytes/n)
	}
	oneChange(t, east, west)
}

// many makes services with 2 endpoints each.
func (m *member) many(n int) {
	m.t.Helper()
	var wait sync.WaitGroup
	for worker := range 8 {
		wait.Go(func() {
			for i := worker; i < n; i += 8 {
				s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: demo, Name: fmt.Sprintf("service-%d", i), Labels: map[string]string{"app": "a"}},
					Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Name: "http", Port: 80}}}}
				e := &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{Namespace: demo, Name: s.Name + "-x7k2p", Labels: map[string]string{discoveryv1.LabelServiceName: s.Name}},
					AddressType: discoveryv1.AddressTypeIPv4, Ports: []discoveryv1.EndpointPort{{Name: new("http"), Port: new(int32(8080))}},
					Endpoints: []discoveryv1.Endpoint{at(fmt.Sprintf("10.132.%d.%d", i/250, i%250+1), true), at(fmt.Sprintf("10.133.%d.%d", i/250, i%250+1), true)}}
				for _, o := range []client.Object{s, e} {
					if err := m.Create(m.t.Context(), o); err != nil {
						m.t.Errorf("%s: %v", o.GetName(), err)
						return
					}
				}
			}
		})
	}
	wait.Wait()
}

// count is how many mirrors there are, without reading them.
func (m *member) count() int {
	m.t.Helper()
	list := &metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(discoveryv1.SchemeGroupVersion.WithKind("EndpointSliceList"))
	if err := m.List(m.t.Context(), list, client.InNamespace(namespace), client.Limit(1),
		client.MatchingLabels{discoveryv1.LabelManagedBy: remoteservice.ManagedBy}); err != nil {
		m.t.Fatal(err)
	}
	n := len(list.Items)
	if list.RemainingItemCount != nil {
		n += int(*list.RemainingItemCount)
	} else if list.Continue != "" { // a server does not count what a selector leaves
		n = len(m.mirrors())
	}
	return n
}

func (m *member) size() (objects, bytes, managed int) {
	m.t.Helper()
	for _, o := range m.mirrors() {
		raw, err := json.Marshal(o)
		if err != nil {
			m.t.Fatal(err)
		}
		fields, err := json.Marshal(o.ManagedFields)
		if err != nil {
			m.t.Fatal(err)
		}
		objects, bytes, managed = objects+1, bytes+len(raw), managed+len(fields)
	}
	return objects, bytes, managed
}

func heap() int {
	runtime.GC()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return int(s.HeapAlloc)
}

// oneChange measures from a member's write to this cluster's event.
func oneChange(t *testing.T, east, west *member) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	w, err := client.NewWithWatch(east.api.Config, client.Options{Scheme: east.Scheme()})
	if err != nil {
		t.Fatal(err)
	}
	events, err := w.Watch(ctx, &discoveryv1.EndpointSliceList{}, client.InNamespace(namespace), client.MatchingLabels{remoteservice.LabelName: "service-0"})
	if err != nil {
		t.Fatal(err)
	}
	defer events.Stop()
	var s discoveryv1.EndpointSlice
	if err := west.Get(ctx, client.ObjectKey{Namespace: demo, Name: "service-0-x7k2p"}, &s); err != nil {
		t.Fatal(err)
	}
	s.Endpoints = s.Endpoints[:1]
	start := time.Now()
	west.update(&s)
	for e := range events.ResultChan() {
		if o, ok := e.Object.(*discoveryv1.EndpointSlice); ok && len(o.Endpoints) == 1 {
			t.Logf("one change is mirrored after %s", time.Since(start).Round(time.Millisecond))
			return
		}
	}
	t.Error("a change is not mirrored within a minute")
}
