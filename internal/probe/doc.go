// Package probe measures the way through the tunnel to each peer: its round-trip time and
// how much of what is sent is lost.
//
// A probe is an ICMP echo of 36 bytes from the node's tunnel address to the peer's. The
// peer's kernel answers it, so the peer's agent may be away or of another version.
//
//   - One socket and two goroutines serve all peers. They are probed in turn, each every
//     two seconds, but all together at most a hundred times a second: 1,000 peers are
//     probed every ten seconds each. The gaps vary, so that nodes do not fall into step.
//   - A probe that has no answer when the peer's turn comes again is lost.
//   - Who is to be probed is said by Aim. A peer without a session should not be: each
//     packet to it would be one more reason for WireGuard to try a handshake.
//   - An answer counts if it comes out of the tunnel, from the peer's tunnel address, with
//     the number of the peer's last probe and the eight random bytes that were in it.
//     WireGuard lets nobody but the peer send from that address, pods of this node do not
//     come by that interface, and a peer that answers before it is asked does not know the
//     bytes: it can make its way look worse than it is, and never better, and only its own.
//
// The package refuses to judge: what is too slow or too lossy is for others to say.
package probe
