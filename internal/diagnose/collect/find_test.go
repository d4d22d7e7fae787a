package collect

import (
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/sdn-tunnel/sdn-tunnel/api/v1alpha1"
)

// TestDoubtful: a large cluster does not crowd out the others, and those that miss peers
// come first.
func TestDoubtful(t *testing.T) {
	var nodes []*v1alpha1.TunnelNode
	add := func(cluster string, i int, stale int32) {
		tn := &v1alpha1.TunnelNode{Spec: v1alpha1.TunnelNodeSpec{Cluster: cluster, Node: fmt.Sprint(i)}}
		tn.Name = fmt.Sprintf("%s.%03d", cluster, i)
		tn.Status.Peers = &v1alpha1.PeerCounts{Stale: stale}
		nodes = append(nodes, tn)
	}
	for i := range 100 {
		add("east", i, int32(i))
	}
	for i := range 3 {
		add("west", i, 0)
	}
	of, picked := map[string]int{}, doubtful(nodes, 10)
	for _, tn := range picked {
		of[tn.Spec.Cluster]++
	}
	if len(picked) != 10 || of["west"] != 3 || of["east"] != 7 || picked[0].Name != "east.099" {
		t.Errorf("%v, the first is %s", of, picked[0].Name)
	}
	if all := doubtful(nodes, 1000); len(all) != len(nodes) {
		t.Errorf("%d of %d nodes", len(all), len(nodes))
	}
}

// TestPodPort: of a service with several ports, the one that is asked for.
func TestPodPort(t *testing.T) {
	s := &corev1.Service{Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{
		{Name: "web", Port: 80, Protocol: corev1.ProtocolTCP}, {Name: "admin", Port: 443, Protocol: corev1.ProtocolTCP}, {Name: "dns", Port: 443, Protocol: corev1.ProtocolUDP}}}}
	port := func(name string, protocol corev1.Protocol, number int32) discoveryv1.EndpointPort {
		return discoveryv1.EndpointPort{Name: &name, Protocol: &protocol, Port: &number}
	}
	slice := discoveryv1.EndpointSlice{Ports: []discoveryv1.EndpointPort{
		port("web", corev1.ProtocolTCP, 8080), port("dns", corev1.ProtocolUDP, 5353), port("admin", corev1.ProtocolTCP, 8443)}}
	for _, tt := range []struct {
		protocol   string
		port, want uint16
	}{{"tcp", 80, 8080}, {"tcp", 443, 8443}, {"udp", 443, 5353}, {"tcp", 22, 0}} {
		if got := podPort(s, slice, tt.protocol, tt.port); got != tt.want {
			t.Errorf("%d/%s leads to %d, want %d", tt.port, tt.protocol, got, tt.want)
		}
	}
}
