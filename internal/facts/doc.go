// Package facts reads from any cluster's API what a mesh is planned from: its version,
// networks, nodes, and what of a mesh it has already.
//
// It knows OpenShift (config.openshift.io, and network.openshift.io where OpenShift
// SDN is the network) and other Kubernetes, whose networks it looks for where the
// usual installers leave them. It only reads, and what it cannot find is an error that
// says where it looked, never a guess.
package facts
