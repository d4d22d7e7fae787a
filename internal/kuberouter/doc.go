// Package kuberouter owns the balancing of remote services by kube-router: the program as
// upstream has it, one process and one network namespace for each of the other members.
//
// A process finds in the API that it watches what this package serves on the loopback of
// its namespace (view, server): the member's Services and EndpointSlices as far as package
// remoteservice lets them pass, and one Node, its own. Everything else that it asks for is
// empty. It takes no fact from anywhere else and can write nothing.
//
// The namespaces are the reason why several processes work side by side, as each believes
// that all of IPVS, ipset and iptables around it is its own; and why nothing of it is left
// when a namespace is deleted. A connection passes through its member's:
//
//	pod -- sdntun0 [tunnel] -- [member: IPVS] -- [tunnel] sdntun-wg -- remote pod
//
// On the way out a rule leads what pods send to the member's service networks there; on the
// way back a mark of connection tracking does, for what comes from the remote pod has to
// pass IPVS again. Traffic to pods themselves takes no such way.
//
// IPVS is the kernel's: while kube-router, or the agent, is started anew, connections and
// services go on. What IPVS holds is read back (ipvs) and compared to the view: that, not
// that a process runs, is what counts as serving.
package kuberouter
