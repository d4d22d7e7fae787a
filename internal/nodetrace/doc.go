// Package nodetrace looks at one node for package diagnose: what the tunnel has there, what
// the switch would do with a packet, whether peers answer through the tunnel, what comes and
// goes at the tunnel's port, and what a pod of the node gets when it asks.
//
// It changes nothing that stays: it reads, sends a few packets of its own, and listens. Its
// probes of a pod come from that pod's own network namespace, so that they go the pod's way.
package nodetrace
