package servicetest

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sdn-tunnel/sdn-tunnel/internal/remoteservice"
)

// Mirror is a service of west, or of another member that is named as "member/service": port
// 80 of some protocols, at port 8080 of the pods. An endpoint may be "10.132.0.1 terminating".
func Mirror(protocols []corev1.Protocol, service, address string, affinity int, endpoints ...string) *discoveryv1.EndpointSlice {
	member, name, other := strings.Cut(service, "/")
	if !other {
		member, name = "west", service
	}
	o := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{Name: member + "-" + name + "-1",
			Labels: remoteservice.Identity{Cluster: member, Namespace: "shop", Name: name}.Labels("derived")},
		AddressType: discoveryv1.AddressTypeIPv4,
	}
	var ports []map[string]any
	for _, p := range protocols {
		lower := strings.ToLower(string(p))
		ports = append(ports, map[string]any{"name": lower, "protocol": p, "port": 80})
		o.Ports = append(o.Ports, discoveryv1.EndpointPort{Name: &lower, Protocol: &p, Port: new(int32(8080))})
	}
	text, _ := json.Marshal(map[string]any{"ips": []string{address}, "ports": ports, "affinity": affinity}) // of strings and numbers
	o.Annotations = map[string]string{remoteservice.Annotation: string(text)}
	for _, e := range endpoints {
		address, draining := strings.CutSuffix(e, " terminating")
		o.Endpoints = append(o.Endpoints, discoveryv1.Endpoint{Addresses: []string{address},
			Conditions: discoveryv1.EndpointConditions{Ready: new(!draining), Serving: new(true), Terminating: new(draining)}})
	}
	return o
}

// Loop watches and applies as the agent does, until it is stopped: whatever notifies
// applies, again if it fails.
func Loop(tb testing.TB, watch func(context.Context, func()) error, apply func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	notified, ended := make(chan struct{}, 1), make(chan error, 2)
	notify := func() {
		select {
		case notified <- struct{}{}:
		default:
		}
	}
	go func() { ended <- watch(ctx, notify) }()
	go func() {
		for {
			select {
			case <-ctx.Done():
				ended <- nil
				return
			case <-notified:
				if err := apply(ctx); err != nil && ctx.Err() == nil {
					tb.Logf("Apply after a notification: %v", err)
					time.AfterFunc(50*time.Millisecond, notify)
				}
			}
		}
	}()
	return func() {
		cancel()
		if err := errors.Join(<-ended, <-ended); err != nil {
			tb.Error(err)
		}
	}
}
