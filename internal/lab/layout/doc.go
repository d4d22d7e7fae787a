// Package layout decides a lab's names and addresses: which clusters and nodes
// there are, where each lives on the underlay, and which pod, service and virtual
// addresses each cluster hands out. It is pure: the same Config always gives the
// same Lab, and nothing here touches the machine.
package layout
