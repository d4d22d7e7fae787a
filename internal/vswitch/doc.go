// Package vswitch owns what sdn-tunnel has on the SDN's Open vSwitch bridge: one port,
// and the flows with its cookie. Which flows is ovsflow's business; this package finds
// what they are made from, compares, and applies the difference in one atomic bundle.
//
// It runs ovs-vsctl and ovs-ofctl, and follows the database over OVSDB. It makes no
// bridge, and changes no port or flow of others.
package vswitch
