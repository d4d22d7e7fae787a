// Package diagnose says why something does not get through: it walks the way of a packet, name,
// service, policy, flows, routes, tunnel, underlay, far side and back, over evidence, and
// names the first fault with its remedy.
//
// Evidence is what the clusters' APIs have (Cluster) and what the agents of the nodes on the
// way saw when they were asked to look (NodeView, made of an Ask). Every check is a function
// of the evidence alone; the package reads nothing itself. Package diagnose/collect reads
// the APIs and asks the agents, package nodetrace looks at a node.
package diagnose
