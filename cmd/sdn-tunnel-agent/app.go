package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"time"

	"github.com/urfave/cli/v2"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/sdn-tunnel/sdn-tunnel/internal/agent"
	"github.com/sdn-tunnel/sdn-tunnel/internal/mesh"
	"github.com/sdn-tunnel/sdn-tunnel/internal/nodestate"
	"github.com/sdn-tunnel/sdn-tunnel/internal/tunnelns"
	"github.com/sdn-tunnel/sdn-tunnel/internal/version"
	"github.com/sdn-tunnel/sdn-tunnel/internal/vswitch"
)

const description = `Examples:
   sdn-tunnel-agent --cluster east --node east-1
   sdn-tunnel-agent status                # this node's peers, as a table
   sdn-tunnel-agent status -o json
   sdn-tunnel-agent cleanup               # take everything away that agents made here`

func app() *cli.App {
	made := &cli.App{
		Name:                 "sdn-tunnel-agent",
		Usage:                "keeps one node's tunnels as planned",
		Description:          description,
		Version:              version.String(),
		Flags:                flags(),
		Action:               run,
		EnableBashCompletion: true,
		HideVersion:          true,
		Commands: []*cli.Command{
			{Name: "run", Usage: "keep the tunnels as planned until told to end (the default)", Action: run},
			{Name: "cleanup", Usage: "remove everything that agents ever made on this node, its key included", Action: cleanup},
			{
				Name: "status", Usage: "show what the agent on this node sees", Action: status,
				Flags: []cli.Flag{&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Value: "table", Usage: "table or json"}},
			},
			{Name: "dump", Usage: "show all that the agent knows, and what there is on this node, without secrets, as JSON", Action: dump},
			{Name: "trace", Hidden: true, Usage: "look at this node for `sdn-tunnel diagnose`: what to look at comes as JSON, and so does what was seen", Action: trace},
			{Name: "wait", Hidden: true, Usage: "do nothing until told to end: for a pod whose work its init container did", Action: wait},
			{Name: "version", Usage: "show the version", Action: func(c *cli.Context) error {
				_, err := fmt.Fprintln(c.App.Writer, version.String())
				return err
			}},
		},
	}
	for _, command := range made.Commands {
		if command.Name != "version" && command.Name != "wait" {
			command.Flags = append(command.Flags, withoutEnvironment(flags())...)
			command.Before = inherit
		}
	}
	return made
}

// withoutEnvironment leaves the environment to the program's own flags, so that what
// stands on the command line, before or after the command, comes first.
func withoutEnvironment(all []cli.Flag) []cli.Flag {
	for _, f := range all {
		switch f := f.(type) {
		case *cli.StringFlag:
			f.EnvVars = nil
		case *cli.UintFlag:
			f.EnvVars = nil
		case *cli.DurationFlag:
			f.EnvVars = nil
		}
	}
	return all
}

// inherit takes flags that stand before the command for those of the command itself.
func inherit(c *cli.Context) error {
	parent := c.Lineage()[1]
	for _, name := range parent.LocalFlagNames() {
		if slices.Contains(c.LocalFlagNames(), name) {
			continue
		}
		if err := c.Set(name, fmt.Sprint(parent.Value(name))); err != nil {
			return fmt.Errorf("--%s: %w", name, err)
		}
	}
	return nil
}

func flags() []cli.Flag {
	text := func(name, value, env, usage string) cli.Flag {
		return &cli.StringFlag{Name: name, Value: value, EnvVars: []string{env}, Usage: usage}
	}
	return []cli.Flag{
		text("cluster", "", "SDN_TUNNEL_CLUSTER", "`NAME` of the cluster that this node belongs to"),
		text("node", "", "NODE_NAME", "`NAME` of this node in its cluster"),
		text("namespace", "sdn-tunnel", "SDN_TUNNEL_NAMESPACE", "`NAMESPACE` that the agent runs in"),
		text("attachment", "auto", "SDN_TUNNEL_ATTACHMENT", "how the tunnel joins the pod network: auto, or ovs (OpenShift SDN)"),
		text("bridge", "br0", "SDN_TUNNEL_BRIDGE", "OpenShift SDN's `BRIDGE`"),
		&cli.UintFlag{Name: "tunnel-port", Value: 5555, EnvVars: []string{"SDN_TUNNEL_PORT"}, Usage: "UDP `PORT` of the tunnels, where a node has none of its own"},
		text("wireguard", "auto", "SDN_TUNNEL_WIREGUARD", "auto, kernel or userspace"),
		&cli.UintFlag{Name: "vnid", Value: 0, EnvVars: []string{"SDN_TUNNEL_VNID"}, Usage: "OpenShift SDN's network `ID` of remote traffic; 0 is global"},
		text("service-proxy", "nftables", "SDN_TUNNEL_SERVICE_PROXY", "what balances services of other clusters: nftables, kube-router or none"),
		text("kube-router", "kube-router", "SDN_TUNNEL_KUBE_ROUTER", "`PROGRAM` of --service-proxy=kube-router"),
		&cli.UintFlag{Name: "mtu", Value: 0, EnvVars: []string{"SDN_TUNNEL_MTU"}, Usage: "the tunnel's `BYTES` at most; 0: what the node's ways to the peers carry"},
		text("state-dir", "/var/lib/sdn-tunnel", "SDN_TUNNEL_STATE_DIR", "`DIR` of the node's key and last plan"),
		&cli.DurationFlag{Name: "key-max-age", EnvVars: []string{"SDN_TUNNEL_KEY_MAX_AGE"}, Usage: "replace the node's key before it has this `AGE`; 0: only when asked"},
		text("metrics-bind-address", ":9655", "SDN_TUNNEL_METRICS_BIND_ADDRESS", "`ADDRESS` of /metrics, /healthz and /readyz; empty: none"),
		&cli.UintFlag{Name: "peer-metrics", Value: 200, EnvVars: []string{"SDN_TUNNEL_PEER_METRICS"}, Usage: "with more than so many `PEERS` there are metrics of members only, none of single peers"},
		text("kubeconfig", "", "KUBECONFIG", "`FILE`; by default the pod's own access"),
		text("log-level", "info", "SDN_TUNNEL_LOG_LEVEL", "debug, info, warn or error"),
	}
}

func run(c *cli.Context) error {
	if c.Args().Present() {
		return fmt.Errorf("%q is not a command: see --help", c.Args().First())
	}
	log, err := logger(c)
	if err != nil {
		return err
	}
	self := mesh.Ref{Cluster: c.String("cluster"), Node: c.String("node")}
	if self.Cluster == "" || self.Node == "" {
		return errors.New("--cluster and --node are needed (or SDN_TUNNEL_CLUSTER and NODE_NAME)")
	}
	port := c.Uint("tunnel-port")
	if port == 0 || port > 65535 {
		return fmt.Errorf("--tunnel-port %d: want 1 to 65535", port)
	}
	if mtu := c.Uint("mtu"); mtu != 0 && (mtu < tunnelns.MinTunnelMTU || mtu > 65535) {
		return fmt.Errorf("--mtu %d: want 0, or %d to 65535", mtu, tunnelns.MinTunnelMTU)
	}
	age := c.Duration("key-max-age")
	if age != 0 && age < time.Minute {
		return fmt.Errorf("--key-max-age %v: want 0, or a minute at least", age)
	}
	access, err := access(c.String("kubeconfig"))
	if err != nil {
		return err
	}
	plane, err := agent.NewDataPlane(c.Context, options(c, log))
	if err != nil {
		return err
	}
	a, err := agent.New(agent.Config{
		Self: self, Port: uint16(port), StateDir: c.String("state-dir"),
		Namespace: c.String("namespace"), KeyMaxAge: age,
		MetricsAddress: c.String("metrics-bind-address"), PeerMetrics: int(c.Uint("peer-metrics")), API: access, Log: log,
	}, plane)
	if err != nil {
		return err
	}
	log.Info("starting", "version", version.String(), "node", self.String(), "keyMaxAge", age)
	err = a.Run(c.Context)
	log.Info("ended; the data plane stays")
	return err
}

func cleanup(c *cli.Context) error {
	log, err := logger(c)
	if err != nil {
		return err
	}
	parts, err := agent.Leftovers(options(c, log))
	if err != nil {
		return err
	}
	if err := agent.Cleanup(c.Context, parts, log); err != nil {
		return fmt.Errorf("some of it is still there; run cleanup again: %w", err)
	}
	return agent.RemoveState(c.String("state-dir"), log)
}

func wait(c *cli.Context) error {
	<-c.Done()
	return nil
}

func status(c *cli.Context) error {
	format := c.String("output")
	if format != "table" && format != "json" {
		return fmt.Errorf("-o %s: want table or json", format)
	}
	report, err := agent.ReadReport(c.Context, c.String("state-dir"))
	if err != nil {
		return err
	}
	if format == "table" {
		return report.WriteTable(c.App.Writer)
	}
	encoder := json.NewEncoder(c.App.Writer)
	encoder.SetIndent("", "  ")
	return encoder.Encode(report)
}

// dumped is what dump shows.
type dumped struct {
	Report      *agent.Report   `json:"report,omitempty"`
	ReportError string          `json:"reportError,omitempty"`
	Node        nodestate.State `json:"node"`
}

// dump works without an agent, too: that is when it is needed most.
func dump(c *cli.Context) error {
	log, err := logger(c)
	if err != nil {
		return err
	}
	ovs := vswitch.NewOVS("", log)
	d := dumped{Node: nodestate.Read(c.Context, nodestate.Default(func(ctx context.Context) (string, error) {
		return ovs.Flows(ctx, c.String("bridge"))
	}))}
	if report, err := agent.ReadReport(c.Context, c.String("state-dir")); err != nil {
		d.ReportError = err.Error()
	} else {
		d.Report = &report
	}
	encoder := json.NewEncoder(c.App.Writer)
	encoder.SetIndent("", "  ")
	return encoder.Encode(d)
}

func options(c *cli.Context, log *slog.Logger) agent.Options {
	return agent.Options{
		Attachment: agent.Attachment(c.String("attachment")), Bridge: c.String("bridge"),
		WireGuard: c.String("wireguard"), VNID: uint32(c.Uint("vnid")), MTU: int(c.Uint("mtu")),
		Services: agent.ServiceProxy(c.String("service-proxy")), KubeRouter: c.String("kube-router"),
		StateDir: c.String("state-dir"), Log: log,
	}
}

func access(kubeconfig string) (*rest.Config, error) {
	if kubeconfig == "" {
		cfg, err := rest.InClusterConfig()
		if err != nil {
			return nil, fmt.Errorf("find the cluster's API: %w (outside a pod, give --kubeconfig)", err)
		}
		return cfg, nil
	}
	cfg, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("read --kubeconfig %s: %w", kubeconfig, err)
	}
	return cfg, nil
}

func logger(c *cli.Context) (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.String("log-level"))); err != nil {
		return nil, fmt.Errorf("--log-level %s: want debug, info, warn or error", c.String("log-level"))
	}
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level})), nil
}
