// Package ovsflow knows the flows that sdn-tunnel keeps on OpenShift SDN's bridge:
// from a Plan to flows, from `ovs-ofctl dump-flows` text back to flows, and the
// difference between the two. It knows the SDN's tables by name and runs nothing;
// internal/vswitch does.
package ovsflow
