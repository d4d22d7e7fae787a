// Package dnsplan computes the names of a mesh: which zones a member's own DNS server
// has, its Corefile, and what the cluster's DNS has to forward to it.
//
// It is pure: equal input gives equal bytes, so that a second deploy changes nothing. It
// reads and edits other people's configuration (a Corefile, the servers of OpenShift's
// DNS operator) in one marked place only and leaves every other byte alone; what it
// cannot edit safely it refuses. It applies nothing.
package dnsplan
