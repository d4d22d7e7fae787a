// Package v1alpha1 holds the objects of API group sdntunnel.io: the members of a
// mesh (LinkedCluster) and the nodes that carry its tunnels (TunnelNode). Each
// member's own API server holds all of them; what belongs to other members is a
// mirror that the controller keeps.
//
// +kubebuilder:object:generate=true
// +groupName=sdntunnel.io
package v1alpha1
