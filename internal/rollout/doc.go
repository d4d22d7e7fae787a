// Package rollout brings the agents of one cluster to what is declared now, a batch of nodes
// at a time with a gate after each, and a cluster's workloads back to what was declared
// before.
//
// It owns the order of versions (Check), the batches (Batches), the replacement of pods
// (Agents), what a gate takes for a change for the worse (Worse, Settle), and the record of
// what was before (Record), which is a ConfigMap in the cluster. What is declared is for
// package apply; whether pods reach each other is for package verify.
package rollout
