package sdn

import (
	"context"

	networkv1 "github.com/openshift/api/network/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
)

// Source is where a node learns of its cluster.
type Source interface {
	// Run keeps State current and calls changed after each change, until ctx ends. It
	// calls changed for the first time when State is complete.
	Run(ctx context.Context, changed func()) error
	// State is what is known now; the caller does not modify it.
	State() State
}

// State is the part of a cluster's API that its nodes' flows are made from.
type State struct {
	HostSubnets   []*networkv1.HostSubnet
	NetNamespaces []*networkv1.NetNamespace
	Namespaces    []*corev1.Namespace
	Policies      []*networkingv1.NetworkPolicy
	Pods          []*corev1.Pod
}
