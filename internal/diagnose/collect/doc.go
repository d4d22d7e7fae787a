// Package collect gathers the evidence of a diagnosis: it reads the APIs of all clusters, finds
// the pods and services that are meant, and has the agents of the nodes on the way look at
// their nodes, all at once. It judges nothing and changes nothing, and reads no Secret.
package collect
