// Package dnsforward makes the DNS of a cluster forward zones to another server in it.
//
// It knows two ways: an entry among the servers of OpenShift's DNS operator, and a marked
// block in the Corefile of a CoreDNS in kube-system. Which one a cluster has is found out;
// where it has neither, Instructions say what to do by hand. It owns that entry and that
// block, and nothing else of either object; what they are is package dnsplan's business.
package dnsforward
