// Package wg owns the WireGuard interface of a node: the private key's file, the
// interface (of the kernel, or of this process where the kernel has none), its peers,
// and the routes that lead over it.
//
// Peers are changed one by one: what is right is not sent again, so a change of one
// peer never disturbs another. An endpoint that the kernel learnt from a peer's
// authenticated packets (roaming) is left alone unless the wanted one changes, or the
// peer has been silent for longer than a session lasts.
//
// When the way to a peer changes, or the peer is silent, the node's connection tracking is
// made to forget the one flow to it: what it remembers of a service that is gone would go
// on rewriting the tunnel's packets for as long as there are any.
//
// The package decides nothing about who is a peer and what it may send: internal/mesh
// does.
package wg
