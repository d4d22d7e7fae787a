// Command sdn-tunnel-controller keeps a cluster's objects of sdn-tunnel as they
// should be; see package internal/controller.
package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/urfave/cli/v2"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/yaml"

	"github.com/sdn-tunnel/sdn-tunnel/internal/controller"
	"github.com/sdn-tunnel/sdn-tunnel/internal/nodeservice"
	"github.com/sdn-tunnel/sdn-tunnel/internal/version"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	err := app().RunContext(ctx, os.Args)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "sdn-tunnel-controller:", err)
		os.Exit(1)
	}
}

func app() *cli.App {
	return &cli.App{
		Name:    "sdn-tunnel-controller",
		Usage:   "keeps node services, mirrors and conditions of one cluster",
		Version: version.String(),
		Action:  run,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "cluster", EnvVars: []string{"CLUSTER"}, Required: true, Usage: "name of this cluster in the mesh"},
			&cli.StringFlag{Name: "namespace", EnvVars: []string{"NAMESPACE"}, Value: "sdn-tunnel"},
			&cli.IntFlag{Name: "tunnel-port", EnvVars: []string{"TUNNEL_PORT"}, Value: nodeservice.DefaultPort, Usage: "UDP port of the tunnels"},
			&cli.StringFlag{Name: "service-type", EnvVars: []string{"SERVICE_TYPE"}, Value: string(nodeservice.LoadBalancer), Usage: "LoadBalancer, NodePort, HostNetwork or Static"},
			&cli.StringFlag{Name: "static-endpoints", EnvVars: []string{"STATIC_ENDPOINTS"}, Usage: "YAML `FILE`: node to address[:port], for service type Static"},
			&cli.StringFlag{Name: "service-annotations", EnvVars: []string{"SERVICE_ANNOTATIONS"}, Usage: "YAML `FILE`: annotations of every node's Service; none if it is missing or empty"},
			&cli.StringFlag{Name: "metrics-bind-address", EnvVars: []string{"METRICS_BIND_ADDRESS"}, Value: ":9656", Usage: "serves /metrics, /healthz and /readyz; 0: nothing"},
			&cli.StringFlag{Name: "service-proxy", EnvVars: []string{"SERVICE_PROXY"}, Value: "nftables", Usage: "what the agents balance remote services with: nftables, kube-router or none; with none, only exported ones are mirrored"},
			&cli.IntFlag{Name: "webhook-port", EnvVars: []string{"WEBHOOK_PORT"}, Usage: "serves the admission webhook that holds agents to their own nodes; 0: does not"},
			&cli.StringFlag{Name: "webhook-service", EnvVars: []string{"WEBHOOK_SERVICE"}, Value: "sdn-tunnel-webhook", Usage: "name of the webhook's Service and of the Secret with its certificate"},
			&cli.StringFlag{Name: "webhook-configuration", EnvVars: []string{"WEBHOOK_CONFIGURATION"}, Value: "sdn-tunnel-agent", Usage: "name of the ValidatingWebhookConfiguration"},
			&cli.StringFlag{Name: "agent-service-account", EnvVars: []string{"AGENT_SERVICE_ACCOUNT"}, Value: "sdn-tunnel", Usage: "whose requests the webhook judges"},
			&cli.BoolFlag{Name: "leader-elect", EnvVars: []string{"LEADER_ELECT"}, Usage: "for more than one replica"},
			&cli.StringFlag{Name: "kubeconfig", EnvVars: []string{"KUBECONFIG"}, Usage: "by default the pod's own service account"},
			&cli.StringFlag{Name: "log-level", EnvVars: []string{"LOG_LEVEL"}, Value: "info", Usage: "debug, info, warn or error"},
		},
	}
}

func run(c *cli.Context) error {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.String("log-level"))); err != nil {
		return fmt.Errorf("--log-level: %w", err)
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
	o := controller.Options{
		Options: nodeservice.Options{
			Cluster: c.String("cluster"), Namespace: c.String("namespace"),
			Type: nodeservice.Type(c.String("service-type")), TunnelPort: int32(c.Int("tunnel-port")),
		},
		MetricsAddress: c.String("metrics-bind-address"), LeaderElection: c.Bool("leader-elect"), Log: log,
		Webhook: controller.WebhookOptions{Port: c.Int("webhook-port"), Service: c.String("webhook-service"),
			Configuration: c.String("webhook-configuration"), AgentServiceAccount: c.String("agent-service-account")},
	}
	switch proxy := c.String("service-proxy"); proxy {
	case "nftables", "kube-router":
	case "none":
		o.ExportedOnly = true
	default:
		return fmt.Errorf("--service-proxy: %q: want nftables, kube-router or none", proxy)
	}
	if file := c.String("static-endpoints"); file != "" {
		raw, err := os.ReadFile(file)
		if err == nil {
			err = yaml.UnmarshalStrict(raw, &o.Static)
		}
		if err != nil {
			return fmt.Errorf("--static-endpoints: %w", err)
		}
	}
	annotations, err := readAnnotations(c.String("service-annotations"))
	if err != nil {
		return fmt.Errorf("--service-annotations: %w", err)
	}
	o.Annotations = annotations
	cfg, err := clientcmd.BuildConfigFromFlags("", c.String("kubeconfig"))
	if err != nil {
		return fmt.Errorf("access to this cluster's API: %w", err)
	}
	log.Info("starting", "cluster", o.Cluster, "version", version.String(), "server", cfg.Host)
	return controller.Run(c.Context, cfg, o)
}

// readAnnotations reads a map; no file, a missing one and an empty one hold none.
func readAnnotations(file string) (map[string]string, error) {
	if file == "" {
		return nil, nil
	}
	raw, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var m map[string]string
	if err := yaml.UnmarshalStrict(raw, &m); err != nil {
		return nil, fmt.Errorf("%s is not a map of names to texts: %w", file, err)
	}
	return m, nil
}
