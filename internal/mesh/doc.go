// Package mesh computes, from what every member of a mesh says of itself, what one
// node has to have: its peers and their allowed addresses, its routes, and what it
// refuses. It is pure: no clock, no I/O, no Kubernetes; the same view always gives
// the same data plane, and both ends of a link compute matching halves.
package mesh
