// Package meshstatus tells how a mesh fares from what its clusters' APIs say: TunnelNodes and
// LinkedClusters with their status, the workloads of sdn-tunnel with their pods, and
// warnings of late.
//
// Objects are read (Read, State) or watched (Watch); Judge makes of them, purely, what is to be
// said of a cluster. Nothing is asked of a node, no Secret is read, and nothing is written.
package meshstatus
