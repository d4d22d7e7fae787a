// Package dataplane holds the tests of a mesh's data plane on a real kernel: three
// clusters of five nodes, network namespaces with an Open vSwitch of their own whose bridge has
// OpenShift SDN's tables in the kernel's datapath, driven by the agent's own parts and
// loop with the kernel's WireGuard. No API server is needed: what it would say is in a
// file for each node.
//
// It has no code but tests; `make test-kernel` runs them.
package dataplane
