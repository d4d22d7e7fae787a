// Package nodepath owns the way from the node itself (its host network and hostNetwork
// pods) to the pods and services of the other members: routes of ours over the SDN's gateway link,
// by way of the tunnel address, whose hardware address is a permanent neighbour, with
// the gateway's address as source, so that the SDN's tables and the replies treat the
// node as one of its own subnet.
//
// It touches no route or neighbour that is not ours, and not the gateway link itself.
package nodepath
