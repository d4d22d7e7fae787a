package v1alpha1

// Labels on the objects that sdn-tunnel makes.
const (
	// LabelCluster names the member that a TunnelNode, Secret or service account belongs to.
	LabelCluster = "sdntunnel.io/cluster"
	// LabelNode names the node that a node Service or its EndpointSlice leads to. Node names
	// longer than a label value are cut and hashed; AnnotationNode has them whole.
	LabelNode = "sdntunnel.io/node"
	// AnnotationNode is the whole node name of a node Service.
	AnnotationNode = "sdntunnel.io/node"
	// AnnotationRotateKey on a TunnelNode asks its agent to replace the node's key, once for
	// each value.
	AnnotationRotateKey = "sdntunnel.io/rotate-key"
)

// Field managers of server-side apply, one for each writer.
const (
	// ManagerAgent owns the key, subnets and addresses of its own node's TunnelNode.
	ManagerAgent = "sdn-tunnel-agent"
	// ManagerController owns endpoints and tunnel addresses, mirrors, node services.
	ManagerController = "sdn-tunnel-controller"
	// ManagerExports owns the condition Valid of ServiceExports.
	ManagerExports = "sdn-tunnel-exports"
	// ManagerImports owns what stands for imported services, and the conditions Conflict and
	// Ready of ServiceExports.
	ManagerImports = "sdn-tunnel-imports"
	// ManagerDeploy owns what a deploy applies.
	ManagerDeploy = "sdn-tunnel-deploy"
)

// ConditionType names of LinkedCluster and TunnelNode status.
const (
	// ConditionReachable: the member's API server answers the controller (LinkedCluster).
	ConditionReachable = "Reachable"
	// ConditionInSync: the mirrors equal what the member last said (LinkedCluster).
	ConditionInSync = "InSync"
	// ConditionServicesSynced: the mirrored services equal what the member last said and
	// shares (LinkedCluster).
	ConditionServicesSynced = "ServicesSynced"
	// ConditionServicesImported: what members export is imported here, and nothing stands in
	// its way (LinkedCluster of the own cluster).
	ConditionServicesImported = "ServicesImported"
	// ConditionAccepted: nothing that the object says is refused (both kinds).
	ConditionAccepted = "Accepted"
	// ConditionReady: the node's data plane is as planned (TunnelNode).
	ConditionReady = "Ready"
	// ConditionPeersUp: every peer has a young handshake, and none loses many probes
	// (TunnelNode).
	ConditionPeersUp = "PeersUp"
	// ConditionSettled: nothing undoes what the agent makes, again and again (TunnelNode).
	ConditionSettled = "Settled"
	// ConditionEndpointReady: the node's public address and port are known (TunnelNode).
	ConditionEndpointReady = "EndpointReady"
)
