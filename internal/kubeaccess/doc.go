// Package kubeaccess turns what an operator knows of a cluster (a kubeconfig and a
// context, or a URL with a user and a password) into a client configuration whose
// credentials were seen to work.
//
// It owns the login by password: OpenShift's OAuth challenge, and the logout that
// takes the token back. It verifies TLS always and refuses a kubeconfig that says
// otherwise. It stores nothing, and no error or String of it has a password or token.
package kubeaccess
