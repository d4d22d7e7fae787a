// Package underlay makes a lab's network below the pods: one network namespace
// per machine, one bridge per cluster in the router's namespace, and a router whose
// nftables policy forwards only what a cloud would expose. Nothing is made in the
// host's own network namespace, and no pod or service address is ever forwarded
// between segments: it is counted and dropped.
package underlay
