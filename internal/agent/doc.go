// Package agent keeps one node's data plane equal to the plan: it observes its own
// cluster's API, computes the plan (package mesh), applies each Part in order and
// says what came of it, over and over, in one loop.
//
// It refuses to know how anything is done in the kernel or in Open vSwitch: that is
// the Parts'. It asks no other cluster's API. Nothing that it does when it starts or
// ends disturbs traffic: only Cleanup takes things away.
//
// # Rights that the agent needs in its cluster
//
//	+kubebuilder:rbac:groups=sdntunnel.io,resources=linkedclusters,verbs=get;list;watch
//	+kubebuilder:rbac:groups=sdntunnel.io,resources=tunnelnodes,verbs=get;list;watch;create;patch
//	+kubebuilder:rbac:groups=sdntunnel.io,resources=tunnelnodes/status,verbs=patch
//	+kubebuilder:rbac:groups="",resources=nodes,verbs=get;list;watch
//	+kubebuilder:rbac:groups=discovery.k8s.io,namespace=sdn-tunnel,resources=endpointslices,verbs=get;list;watch
//	+kubebuilder:rbac:groups=network.openshift.io,resources=hostsubnets,verbs=get;list;watch
//	+kubebuilder:rbac:groups=events.k8s.io,namespace=default,resources=events,verbs=create
//
// That on HostSubnets concerns OpenShift SDN only.
//
// That it writes no other node's TunnelNode is for the API server to enforce, by a
// ValidatingAdmissionPolicy on the token's node claim. On the node it needs the host's
// network, NET_ADMIN, SYS_ADMIN (for entering the tunnel namespace), the run directory
// of Open vSwitch, /run/netns shared both ways, and its state directory; with kube-router
// also /lib/modules, and SYS_MODULE for ip_vs.
package agent
