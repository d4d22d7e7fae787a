// Package sdn is the lab's look-alike of OpenShift SDN: a node daemon that writes the
// bridge br0 as OpenShift's does (package tables holds the flows), a CNI plugin that
// puts pods on it, a controller that hands out host subnets and network ids, and the
// OpenShift API objects that describe all of it.
//
// It owns br0 and br-vtep of a lab node, the node's tun0 address and routes, and the
// nftables tables named in kernel.go. It is for the lab only and refuses to be more: no
// egress IPs, no EgressNetworkPolicy, no multicast between nodes, IPv4 only.
//
// What of NetworkPolicy it expresses is said at PolicyRules.
package sdn
