// Package apitest gives tests a real Kubernetes API: an etcd and a kube-apiserver
// on free loopback ports, with TLS, RBAC and the project's own CRDs. The programs
// are taken from the directory that SDN_TUNNEL_TOOLS names; without it the test is
// skipped, aloud. Everything that was started is ended with the test, by process
// id, also when the test binary dies.
//
// It is for tests only and makes no claim beyond the API: no controllers run, so
// nothing is garbage collected and no node becomes ready by itself.
package apitest
