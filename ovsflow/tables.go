package ovsflow

// Tables of OpenShift SDN's bridge (openshift/sdn, rule version 13), with what the SDN
// does there. Ours are in TableClassify and TableRoute only.
const (
	// TableClassify receives every packet: connection tracking first, then by port. What
	// comes from an unknown port and is no pod's own address is dropped further on.
	TableClassify = 0
	// TableFromVXLAN checks that a packet came from a node of the cluster.
	TableFromVXLAN = 10
	// TableFromPod checks that a pod sends from its own address, and loads the pod's
	// network id (VNID) into register 0.
	TableFromPod = 20
	// TableFromNode finds the network id of what comes from the node for a pod.
	TableFromNode = 25
	// TableEgressPolicy is the egress side of NetworkPolicy.
	TableEgressPolicy = 27
	// TableRoute is where packets are that may leave: source and egress policy are behind
	// them. In mode networkpolicy it commits connections inside the cluster.
	TableRoute = 30
	// TableRouteLocal splits by destination: gateway, local pods, services, other nodes.
	TableRouteLocal = 31
	// TableToService sends service addresses to the node's proxy.
	TableToService = 60
	// TableToPod finds the port and network id of a local pod.
	TableToPod = 70
	// TableIngressPolicy is isolation by network id or the ingress side of NetworkPolicy.
	TableIngressPolicy = 80
	// TableToNode sends to other nodes of the cluster by VXLAN.
	TableToNode = 90
	// TableVersion holds one flow whose note is the SDN's rule version. A second flow in
	// it makes the SDN delete the bridge: nothing of ours may ever be there.
	TableVersion = 253
)

// Priorities of our flows. In TableClassify they lie above the SDN's split by port (300
// and less; 400 is tun0's only) and below its connection tracking (1000); in TableRoute
// above its own (100).
const (
	priorityPods      = 350
	priorityError     = 351
	priorityNode      = 352
	priorityNodeError = 353
)

// Fields of the pipeline, in the names that ovs-ofctl prints.
const (
	fieldSourceVNID = "NXM_NX_REG0[]" // network id of the sender
	fieldIPDst      = "NXM_OF_IP_DST[]"
	fieldMACLow     = "NXM_OF_ETH_DST[0..31]"
	fieldMACHigh    = "NXM_OF_ETH_DST[32..47]"
	fieldMAC        = "eth_dst"
	// podMACPrefix: the SDN gives a pod the hardware address 0a:58:<its IPv4 address>.
	podMACPrefix = "0xa58"
)
