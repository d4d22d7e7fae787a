// Package tunnelns owns the network namespace in which a node's data plane lives: a
// persistent named namespace that outlasts the agent, the veth pair that joins it to
// the node, its addresses, sysctls, nftables table, and the routes to the node's own pods.
//
// It also holds what the other parts need for working in it: entering a namespace
// (Namespace), reconciling routes (SyncRoutes), kernel events (Namespace.Listen) and
// the MTU that it measures (Part.MTU). It makes no WireGuard interface (internal/wg), touches
// no bridge (internal/vswitch) and no route of the node's own (internal/nodepath).
package tunnelns
