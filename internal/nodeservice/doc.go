// Package nodeservice makes each node's tunnel reachable from other clusters, and
// knows where it is reachable: one Service without selector and one EndpointSlice per
// node, or the node's own or a given address where no Service is wanted.
//
// What should be is computed purely from the Node; what is read is compared, and only
// a difference is applied, as field manager sdn-tunnel-controller. The controller and
// the deploy use the same code. It never touches a Service without its label.
package nodeservice
