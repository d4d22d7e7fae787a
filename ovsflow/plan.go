package ovsflow

import (
	"net"
	"net/netip"
)

// Cookie marks every flow of ours; it is above 32 bits, where OpenShift SDN has none
// of its own. ("sdntun" and a version of the flow set.)
const Cookie uint64 = 0x73646e74756e0001

// Plan is what the flows of one node are made from.
type Plan struct {
	// Port is the OpenFlow port number of the tunnel's port on the bridge.
	Port uint32
	// TunnelMAC is the hardware address of the tunnel's end of that port, to which
	// packets for the tunnel are sent.
	TunnelMAC net.HardwareAddr
	// Local are the node's host subnets, Remote the pod networks of the other members,
	// RemoteService their service networks, RemoteTunnel their tunnel networks.
	Local, Remote, RemoteService, RemoteTunnel []netip.Prefix
	// Gateway is the SDN's gateway address in the host subnet (tun0), and GatewayMAC
	// tun0's hardware address: the way from the tunnel to the node itself.
	Gateway    netip.Addr
	GatewayMAC net.HardwareAddr
	// VNID is the SDN's network id that remote traffic belongs to; 0 is global.
	VNID uint32
	// TunnelAddress is this node's own tunnel address; ICMP errors of the tunnel
	// namespace come from it.
	TunnelAddress netip.Addr
}
