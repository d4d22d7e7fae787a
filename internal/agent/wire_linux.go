package agent

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/sdn-tunnel/sdn-tunnel/internal/mesh"
	"github.com/sdn-tunnel/sdn-tunnel/internal/nodepath"
	"github.com/sdn-tunnel/sdn-tunnel/internal/probe"
	"github.com/sdn-tunnel/sdn-tunnel/internal/tunnelns"
	"github.com/sdn-tunnel/sdn-tunnel/internal/vswitch"
	"github.com/sdn-tunnel/sdn-tunnel/internal/wg"
)

// Attachment says how the tunnel is wired to the node's pod network.
type Attachment string

// Attachments.
const (
	AttachAuto Attachment = "auto" // what the node has
	AttachOVS  Attachment = "ovs"  // a port of OpenShift SDN's bridge
)

// ServiceProxy says what balances remote services on the node.
type ServiceProxy string

// Service proxies.
const (
	ProxyNFTables   ServiceProxy = "nftables"    // built in
	ProxyKubeRouter ServiceProxy = "kube-router" // upstream's program, with IPVS
	ProxyNone       ServiceProxy = "none"        // remote services are not reached by address
)

// Options choose among the ways to make a data plane. A new attachment is a new Part
// in NewDataPlane, in the place of vswitch.
type Options struct {
	Attachment Attachment
	Bridge     string
	WireGuard  string // auto, kernel or userspace
	VNID       uint32
	Services   ServiceProxy
	KubeRouter string // the program; empty: that in PATH
	MTU        int    // caps the tunnel's; 0: nothing does
	StateDir   string
	Log        *slog.Logger
}

// NewDataPlane puts the parts together; nothing is made yet but the node's key.
func NewDataPlane(ctx context.Context, o Options) (DataPlane, error) {
	ovs := vswitch.NewOVS("", o.Log)
	if err := attach(ctx, o, ovs); err != nil {
		return DataPlane{}, err
	}
	keys, err := wg.OpenKeys(o.StateDir)
	if err != nil {
		return DataPlane{}, err
	}
	key, _ := keys.Current()
	plane, cable, err := wire(o, ovs, key)
	plane.Keys = &keyRing{keys, cable}
	return plane, err
}

// Leftovers are the parts for Cleanup: they need neither a key nor an attachment that
// works, for both may be gone.
func Leftovers(o Options) ([]Part, error) {
	key, err := wg.NewKey()
	if err != nil {
		return nil, err
	}
	plane, _, err := wire(o, vswitch.NewOVS("", o.Log), key)
	return plane.Parts, err
}

func wire(o Options, ovs *vswitch.OVS, key wg.PrivateKey) (DataPlane, *wg.Part, error) {
	bridge, err := vswitch.New(vswitch.Config{Bridge: o.Bridge, VNID: o.VNID, Switch: ovs, Log: o.Log})
	if err != nil {
		return DataPlane{}, nil, fmt.Errorf("attachment ovs: %w", err)
	}
	namespace, err := tunnelns.New(tunnelns.Config{UserspaceDatapath: bridge.UserspaceDatapath, MTU: o.MTU, Log: o.Log})
	if err != nil {
		return DataPlane{}, nil, fmt.Errorf("tunnel namespace: %w", err)
	}
	mtu := func() int { return namespace.MTU().Tunnel } // measured once a pass: it comes first, and watches for changes
	cable, err := wg.New(wg.Config{Mode: wg.Mode(o.WireGuard), Key: key, MTU: mtu, Log: o.Log})
	if err != nil {
		return DataPlane{}, nil, fmt.Errorf("cable: %w", err)
	}
	node, err := nodepath.New(nodepath.Config{MTU: mtu, Log: o.Log})
	if err != nil {
		return DataPlane{}, nil, fmt.Errorf("node routes: %w", err)
	}
	plane := DataPlane{
		Close: cable.Close,
		Gauges: Gauges{
			Cable: cable.Implementation,
			MTU:   mtu,
			Flows: bridge.FlowCount,
			Peers: func(ctx context.Context) ([]Peer, error) { return readCable(ctx, cable) },
		},
	}
	plane.Prober = func(probed func(mesh.Ref, bool, time.Duration)) Prober {
		return probe.New(probe.Config{Link: wg.DefaultLink, Probed: probed, Log: o.Log})
	}
	services, err := proxy(o, &plane)
	if err != nil {
		return DataPlane{}, nil, fmt.Errorf("service proxy: %w", err)
	}
	// Services before what leads traffic to them.
	plane.Parts = []Part{namespace, cable, services, bridge, node}
	return plane, cable, nil
}

func readCable(ctx context.Context, cable *wg.Part) ([]Peer, error) {
	states, err := cable.Peers(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the peers: %w", err)
	}
	peers := make([]Peer, 0, len(states))
	for _, s := range states {
		if s.Ref.Node == "" {
			continue // not planned: it is being taken away
		}
		p := Peer{Ref: s.Ref, LastHandshake: s.LastHandshake, Received: s.RxBytes, Sent: s.TxBytes}
		if s.Endpoint.IsValid() {
			p.Endpoint = s.Endpoint.String()
		}
		peers = append(peers, p)
	}
	return peers, nil
}

// attach checks that the attachment is one that this version has.
func attach(ctx context.Context, o Options, ovs *vswitch.OVS) error {
	switch o.Attachment {
	case AttachOVS:
		return nil // what is missing now may come: the part says so and tries again
	case AttachAuto:
		return detect(ctx, o.Bridge, ovs)
	default:
		return fmt.Errorf("attachment %q: this version has %s and %s; of pod networks it supports OpenShift SDN only", o.Attachment, AttachAuto, AttachOVS)
	}
}

// detect looks for OpenShift SDN: its bridge, and its link tun0 of the node.
func detect(ctx context.Context, bridge string, ovs *vswitch.OVS) error {
	const remedy = "this version supports OpenShift SDN only; with --attachment ovs the agent waits for it"
	if _, err := ovs.State(ctx, bridge, tunnelns.DefaultOutside); err != nil {
		return fmt.Errorf("attachment auto: looked for bridge %s in Open vSwitch: %w (%s)", bridge, err, remedy)
	}
	if _, err := netlink.LinkByName(tunnelns.DefaultPodLink); err != nil {
		return fmt.Errorf("attachment auto: found bridge %s, looked for OpenShift SDN's link %s: %w (%s)", bridge, tunnelns.DefaultPodLink, err, remedy)
	}
	return nil
}
