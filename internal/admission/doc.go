// Package admission holds each agent to its own node on API servers without
// ValidatingAdmissionPolicy (before Kubernetes 1.30): a validating webhook with the
// same rules, which the controller serves.
//
// rules.go judges one request (pure), handler.go finds out which node an agent is on and
// which host subnets the cluster gave it, keeper.go keeps the certificate, its Secret and
// the authority in the webhook's configuration. The package makes no configuration and no Service: the deploy does,
// and takes them away. It judges the agents' service account only; what others may
// write is for RBAC to say.
//
// Every replica of the controller serves, the leader or not, and each looks after the
// certificate: whoever finds it missing or half its life over makes a new one. The
// authority's key is thrown away once the one certificate is signed.
package admission
