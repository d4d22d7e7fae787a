// Package tables knows the flows of OpenShift SDN's bridge (ruleVersion 13): from the
// description of a node to the text that ovs-ofctl takes, and from two descriptions to
// the changes between them, with the same wide deletions that OpenShift's own node
// process makes. It is pure and runs nothing.
//
// The tables are held against recorded ones in testdata, for each mode.
package tables
