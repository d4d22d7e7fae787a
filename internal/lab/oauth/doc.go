// Package oauth is the lab's stand-in for OpenShift's OAuth server. It serves one
// port in front of a cluster's API server: the discovery document and the challenge
// login there, everything else passed through to the API server; and, on loopback,
// the TokenReview webhook by which the API server checks the tokens it gave out.
//
// Tokens are stateless: a user and an expiry under an HMAC, so that a restart of
// the front forgets nobody. It knows one user and is no example of how to keep
// passwords.
package oauth
