// Package dnsoperator is the part of OpenShift's DNS operator that the lab needs: it keeps
// the Corefile of openshift-dns/dns-default as dns.operator.openshift.io/default says, a
// server block for each of spec.servers before the one for everything else.
//
// What the operator does beside that (its DaemonSet, its Service, conditions) is part of
// the lab's manifests, or left out.
package dnsoperator
