package sdn

import (
	"fmt"
	"log/slog"
	"net/netip"

	"github.com/urfave/cli/v2"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/sdn-tunnel/sdn-tunnel/internal/lab/sdn/tables"
)

// Commands are the hidden commands that the lab runs for itself: sdn-node in every
// node's namespaces, sdn-controller once a cluster, sdn-cni by the container runtime.
func Commands() []*cli.Command {
	cluster := []cli.Flag{
		&cli.StringFlag{Name: "kubeconfig", Required: true, Usage: "the cluster's API"},
		&cli.StringFlag{Name: "mode", Value: string(tables.NetworkPolicy), Usage: "subnet, multitenant or networkpolicy"},
		&cli.StringFlag{Name: "pod-cidr", Required: true},
		&cli.StringFlag{Name: "service-cidr", Required: true},
		&cli.IntFlag{Name: "mtu", Value: DefaultMTU},
	}
	node := append([]cli.Flag{
		&cli.StringFlag{Name: "node", Required: true, Usage: "the node's name"},
		&cli.StringFlag{Name: "node-ip", Required: true, Usage: "the node's underlay address"},
		&cli.StringFlag{Name: "datapath", Value: string(Netdev), Usage: "netdev or system"},
		&cli.StringFlag{Name: "vtep", Value: "vtep0", Usage: "the interface on VXLAN's own segment (netdev)"},
		&cli.StringFlag{Name: "ovs-run-dir", Value: "/run/openvswitch"},
		&cli.StringFlag{Name: "state-dir", Value: DefaultStateDir},
	}, cluster...)
	return []*cli.Command{
		{Name: "sdn-node", Hidden: true, Usage: "keep this node's bridge as OpenShift SDN would", Flags: node, Action: runNode},
		{Name: "sdn-controller", Hidden: true, Usage: "hand out host subnets and network ids", Flags: cluster, Action: runController},
		{Name: "sdn-cni", Hidden: true, Usage: "the CNI plugin", SkipFlagParsing: true, Action: func(*cli.Context) error {
			RunCNI()
			return nil
		}},
	}
}

func clusterFlags(c *cli.Context) (Cluster, *rest.Config, error) {
	mode, err := tables.ParseMode(c.String("mode"))
	if err != nil {
		return Cluster{}, nil, err
	}
	out := Cluster{Mode: mode, MTU: c.Int("mtu")}
	if out.PodCIDR, err = netip.ParsePrefix(c.String("pod-cidr")); err != nil {
		return out, nil, fmt.Errorf("--pod-cidr: %w", err)
	}
	if out.ServiceCIDR, err = netip.ParsePrefix(c.String("service-cidr")); err != nil {
		return out, nil, fmt.Errorf("--service-cidr: %w", err)
	}
	cfg, err := clientcmd.BuildConfigFromFlags("", c.String("kubeconfig"))
	if err != nil {
		return out, nil, fmt.Errorf("--kubeconfig: %w", err)
	}
	return out, cfg, nil
}

func runNode(c *cli.Context) error {
	cluster, rc, err := clusterFlags(c)
	if err != nil {
		return err
	}
	ip, err := netip.ParseAddr(c.String("node-ip"))
	if err != nil {
		return fmt.Errorf("--node-ip: %w", err)
	}
	source, err := NewAPISource(rc)
	if err != nil {
		return err
	}
	return RunNode(c.Context, Config{
		Node: c.String("node"), NodeIP: ip, Mode: cluster.Mode,
		PodCIDR: cluster.PodCIDR, ServiceCIDR: cluster.ServiceCIDR, MTU: cluster.MTU,
		Datapath: Datapath(c.String("datapath")), VTEP: c.String("vtep"),
		OVSRunDir: c.String("ovs-run-dir"), StateDir: c.String("state-dir"), Source: source,
	})
}

func runController(c *cli.Context) error {
	cluster, rc, err := clusterFlags(c)
	if err != nil {
		return err
	}
	return RunController(c.Context, rc, cluster, slog.Default())
}
