// Package peeraccess gives each member of a mesh a read-only identity in each other
// member, and renews it.
//
// In the granting cluster A it makes, for a peer B, a service account that may read
// linkedclusters and tunnelnodes, and what services there are (services, endpointslices,
// namespaces, serviceexports), and ask for tokens of its own, nothing else; in B it
// keeps a Secret with a kubeconfig of that account. The token is bound to expire; B's
// controller renews it at half its life with the token itself, so that no other
// credential of A is ever stored. Beside it the Secret has the token alone and a
// kubeconfig that names it as a file, for programs that have the Secret mounted. Tokens
// appear in no error, log or change.
//
// The server that a Secret leads to is another cluster's: RestConfig makes clients that
// follow it nowhere else and bound all that it answers; ListPages and PlainWatch bound
// how a list is read and make plain what ends a watch.
package peeraccess
