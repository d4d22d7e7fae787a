// Package gather packs what is needed for finding a fault, of all clusters, into one archive:
// the status, objects, events and logs of sdn-tunnel, and what each agent shows of its node.
//
// No secret gets in, by taking only what is known to be none: of each kind of object the
// fields in a list (fields.go), of name servers' configuration the lines that a deploy
// writes, of WireGuard what an agent's dump has. Secrets are not read. As a second guard
// a line that has a token or a private key in it is left out of whatever is packed.
package gather
