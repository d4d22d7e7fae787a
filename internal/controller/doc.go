// Package controller keeps a member's objects as they should be: the Services and the
// public part of the TunnelNodes of its own nodes, mirrors of the other members'
// TunnelNodes, the access to the other members, and the LinkedClusters' conditions.
//
// It writes to its own cluster's API only and reads the others with a read-only
// identity. What another member says is checked, not believed: of its objects only
// those of its own nodes are mirrored, without anything but their spec and whether
// they are ready. While a member's API does not answer, its mirrors stay as they are.
// It touches no node and no data plane: the agents do, from the same objects.
//
// # When members claim the same
//
// Of two claims that clash (a key, an endpoint, an address), each cluster prefers its
// own nodes', then the one that it has known longer: the age is that of the object in
// its own API, mirrors too, so that no member can make itself older. Nor can it lend an
// old node's age to a new claim: where a mirror is to change to a key or an endpoint
// that a node of another member already holds here, the change is refused and the
// mirror stays as it was. Of what nobody held before, whoever is seen first has it, so a
// member that copies a claim before it is seen here wins it here. Within a cluster
// all agents so judge alike. Clusters may judge differently: of two members that claim
// the same key, a third may know either the longer. That is safe, for a claim that is
// won carries nothing of the loser's: a node's prefixes must lie in what its own
// cluster declares, declarations that overlap are refused, and a key is of no use
// without its private half. What remains is that no packets pass between the node that
// lost and the clusters where it lost; there it is named in a condition and a metric.
//
// # Services
//
// The services that another member shares are mirrored as EndpointSlices in the namespace
// of sdn-tunnel, in the shape that package remoteservice owns; what the member says is
// read by package catalog. Addresses outside of the member's declared networks are left
// out. One change costs the reading and writing of one service. The mirrors stay while
// the member does not answer, and go with the service, its export or the member.
//
// # Services of several members
//
// What any members export (ServiceExport) is one service to all of them, in the namespace
// and under the name that it has there, as the Multi-Cluster Services API says: where the
// namespace is, a ServiceImport. Of type ClusterSetIP it has the address of a Service
// without selector in the namespace of sdn-tunnel, which the cluster's own service proxy
// balances over slices derived from the own service's and the mirrors'. Headless, the
// derived slices are in the service's namespace. What becomes of exports that disagree is
// decided by package clusterset, equally in all members, and told in the condition Conflict
// of the own export. Each reconcile reads one service from caches: the rest of the cluster
// costs nothing but the caches' memory.
//
// One reconciler a file: node.go (own nodes), member.go (which remotes are watched),
// mirror.go (their nodes), service.go (their services), serviceexport.go (own
// ServiceExports), import.go (services of several members), status.go (conditions),
// token.go (renewal of access).
//
// The rights it needs, and no others:
//
//	+kubebuilder:rbac:groups="",resources=nodes,verbs=get;list;watch
//	+kubebuilder:rbac:groups="",resources=services;namespaces,verbs=get;list;watch
//	+kubebuilder:rbac:groups=discovery.k8s.io,resources=endpointslices,verbs=get;list;watch;create;patch;delete
//	+kubebuilder:rbac:groups=discovery.k8s.io,resources=endpointslices/restricted,verbs=create
//	+kubebuilder:rbac:groups=multicluster.x-k8s.io,resources=serviceimports,verbs=get;list;watch;create;patch;delete
//	+kubebuilder:rbac:groups=multicluster.x-k8s.io,resources=serviceimports/status,verbs=patch
//	+kubebuilder:rbac:groups=multicluster.x-k8s.io,resources=serviceexports,verbs=get;list;watch
//	+kubebuilder:rbac:groups=multicluster.x-k8s.io,resources=serviceexports/status,verbs=patch
//	+kubebuilder:rbac:groups=sdntunnel.io,resources=linkedclusters,verbs=get;list;watch
//	+kubebuilder:rbac:groups=sdntunnel.io,resources=linkedclusters/status,verbs=patch
//	+kubebuilder:rbac:groups=sdntunnel.io,resources=tunnelnodes,verbs=get;list;watch;create;patch;delete
//	+kubebuilder:rbac:groups=sdntunnel.io,resources=tunnelnodes/status,verbs=patch
//	+kubebuilder:rbac:groups=admissionregistration.k8s.io,resources=validatingwebhookconfigurations,resourceNames=sdn-tunnel-agent,verbs=get;patch
//	+kubebuilder:rbac:groups=network.openshift.io,resources=hostsubnets,verbs=get
//	+kubebuilder:rbac:groups="",namespace=sdn-tunnel,resources=pods,verbs=get
//	+kubebuilder:rbac:groups="",namespace=sdn-tunnel,resources=services,verbs=create;patch;delete
//	+kubebuilder:rbac:groups="",namespace=sdn-tunnel,resources=secrets,verbs=get;list;watch;patch
//	+kubebuilder:rbac:groups=coordination.k8s.io,namespace=sdn-tunnel,resources=leases,verbs=get;create;update
//	+kubebuilder:rbac:groups="";events.k8s.io,namespace=sdn-tunnel,resources=events,verbs=create;patch
//	+kubebuilder:rbac:groups=events.k8s.io,namespace=default,resources=events,verbs=create
//
// endpointslices/restricted is what OpenShift asks for where an endpoint lies in the
// cluster's own networks; slices are written outside of the namespace of sdn-tunnel for
// headless imports only, and where there are admission policies (API servers from 1.30 on)
// one holds it to that. The Secrets are made by the deploy and only renewed here.
// Those on pods, host subnets and the webhook's configuration are given only where the
// controller serves the admission webhook (package admission).
package controller
