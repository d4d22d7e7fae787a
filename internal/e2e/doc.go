// Package e2e tests the product as its users run it: bin/sdn-tunnel against whole
// clusters of the lab, in each mode of the SDN. It has no code of its own.
//
// The tests run as root with SDN_TUNNEL_LAB_TESTS=1 (`make test-lab`); a failing lab
// is left up with SDN_TUNNEL_LAB_KEEP=1, and one that is up is taken with
// SDN_TUNNEL_LAB_REUSE=1, so that single steps can be run again.
package e2e
