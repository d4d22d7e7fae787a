// Package nodestate reads what sdn-tunnel has made on this node, for people who look for a
// fault: WireGuard, links, routes and nftables of the tunnel's namespace, and the flows on
// the bridge. It takes only what is ours, field by field: of WireGuard never the private or
// a preshared key. It changes nothing.
package nodestate
