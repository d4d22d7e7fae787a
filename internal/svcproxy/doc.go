// Package svcproxy owns the balancing of remote services by nftables, in the tunnel
// namespace of the client's node: the table "ip sdn-tunnel-services", the routes that
// make the remote service networks answer there, and the connection-tracking entries of
// UDP backends that are gone.
//
// A packet's cost does not grow with the number of services. There is no chain for each
// service, which costs the kernel seconds to load when there are thousands, but:
//
//	map services   address . protocol . port -> the chain for that number of backends
//	map backends   address . protocol . port . index -> backend address . port
//	chain balance-2:  mark := random of 2; dnat to backends[address . protocol . port . mark]
//
// Session affinity has chains of its own: see affinity.go. What no service has is
// rejected in the input hook, where it arrives as the service networks are local.
//
// Only new connections meet these rules; the kernel translates the others as it began.
// So nothing that is loaded, changed or loaded anew disturbs a connection.
//
// The package keeps in the process what it has loaded and sends differences only; what it
// finds when it starts, or after something else has touched the table, it replaces by one
// atomic transaction. Which services there are package remoteservice says.
package svcproxy
