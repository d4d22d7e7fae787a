package sdn

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"

	"github.com/sdn-tunnel/sdn-tunnel/internal/lab/sdn/tables"
)

// describe is the bridge that the cluster's state asks for.
func (n *node) describe(ctx context.Context, state State) (tables.Node, error) {
	d := tables.Node{
		Mode: n.cfg.Mode, NodeIP: n.cfg.NodeIP, HostSubnet: n.subnet,
		ClusterCIDR: n.cfg.PodCIDR, ServiceCIDR: n.cfg.ServiceCIDR,
		Userspace: n.cfg.Datapath == Netdev,
	}
	var err error
	if d.VXLANMAC, err = n.ovs.mac(ctx, vxlan); err != nil {
		return d, err
	}
	if d.TunMAC, err = n.ovs.mac(ctx, tunPort); err != nil {
		return d, err
	}
	if d.Peers, err = peersOf(state, n.cfg.Node); err != nil {
		return d, err
	}
	vnids := vnidsOf(state)
	for _, p := range n.pods.all() {
		id, ok := vnids[p.Namespace]
		if !ok {
			n.cfg.Log.Warn("pod left out: its namespace has no NetNamespace", "pod", p.Name, "namespace", p.Namespace)
			continue
		}
		if p.port != 0 {
			d.Pods = append(d.Pods, tables.Pod{IP: p.IP, Port: p.port, VNID: id})
		}
	}
	slices.SortFunc(d.Pods, func(a, b tables.Pod) int { return a.IP.Compare(b.IP) })
	if n.cfg.Mode == tables.NetworkPolicy {
		d.Policies = PolicyRules(state, n.namespaces())
	}
	return d, nil
}

// namespaces are those of the pods on this node.
func (n *node) namespaces() []string {
	var names []string
	for _, p := range n.pods.all() {
		names = append(names, p.Namespace)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func vnidsOf(state State) map[string]uint32 {
	vnids := make(map[string]uint32, len(state.NetNamespaces))
	for _, nn := range state.NetNamespaces {
		vnids[nn.NetName] = nn.NetID
	}
	return vnids
}

// peersOf are the other nodes of the cluster, in order of their addresses.
func peersOf(state State, self string) ([]tables.Peer, error) {
	var peers []tables.Peer
	for _, hs := range state.HostSubnets {
		if hs.Host == self {
			continue
		}
		ip, err := netip.ParseAddr(hs.HostIP)
		if err != nil {
			return nil, fmt.Errorf("HostSubnet %s: hostIP: %w", hs.Name, err)
		}
		subnet, err := netip.ParsePrefix(hs.Subnet)
		if err != nil {
			return nil, fmt.Errorf("HostSubnet %s: subnet: %w", hs.Name, err)
		}
		peers = append(peers, tables.Peer{NodeIP: ip, Subnet: subnet, Cookie: tables.HostSubnetCookie(string(hs.UID))})
	}
	slices.SortFunc(peers, func(a, b tables.Peer) int {
		return cmp.Or(a.NodeIP.Compare(b.NodeIP), cmp.Compare(a.Cookie, b.Cookie))
	})
	return peers, nil
}

// newPeers are those of now whose address is not among the known ones.
func newPeers(known, now []tables.Peer) []tables.Peer {
	var out []tables.Peer
	for _, p := range now {
		if !slices.ContainsFunc(known, func(k tables.Peer) bool { return k.NodeIP == p.NodeIP }) {
			out = append(out, p)
		}
	}
	return out
}
