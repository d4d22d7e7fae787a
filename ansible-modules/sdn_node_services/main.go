// The Ansible module sdn_node_services: how each node's tunnel is reached.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/sdn-tunnel/sdn-tunnel/ansible-modules/internal/cluster"
	"github.com/sdn-tunnel/sdn-tunnel/ansible-modules/internal/module"
	"github.com/sdn-tunnel/sdn-tunnel/internal/nodeservice"
	"github.com/sdn-tunnel/sdn-tunnel/internal/ssa"
)

// Args are the module's arguments.
type Args struct {
	Access          cluster.Access    `arg:"access,required"`
	Cluster         string            `arg:"cluster,required"`
	Namespace       string            `arg:"namespace" default:"sdn-tunnel"`
	ServiceType     string            `arg:"service_type" default:"LoadBalancer" choices:"LoadBalancer,NodePort,HostNetwork,Static"`
	TunnelPort      int32             `arg:"tunnel_port" default:"5555"`
	StaticEndpoints map[string]string `arg:"static_endpoints"`
	Annotations     map[string]string `arg:"annotations"`
	Wait            bool              `arg:"wait" default:"true"`
	WaitTimeout     int               `arg:"wait_timeout" default:"300"`
}

func main() { os.Exit(module.Main(run, os.Args[1:], os.Stdout)) }

func run(ctx context.Context, call module.Call, args Args) (result module.Result, err error) {
	o := nodeservice.Options{
		Cluster: args.Cluster, Namespace: args.Namespace, Type: nodeservice.Type(args.ServiceType),
		TunnelPort: args.TunnelPort, Static: args.StaticEndpoints, Annotations: args.Annotations,
	}
	if err := o.Validate(); err != nil {
		return result, fmt.Errorf("cluster %s: %w", args.Cluster, err)
	}
	acc, err := args.Access.Open(ctx, args.Cluster)
	if err != nil {
		return result, err
	}
	defer func() { err = errors.Join(err, acc.Close(ctx)) }()
	c, err := cluster.Client(acc)
	if err != nil {
		return result, err
	}
	var nodes corev1.NodeList
	if err := c.List(ctx, &nodes); err != nil {
		return result, fmt.Errorf("cluster %s: list the nodes: %w", args.Cluster, err)
	}
	changes, failure := nodeservice.Ensure(ctx, c, nodes.Items, o, call.Check)
	if failure == nil {
		var pruned []ssa.Change
		pruned, failure = nodeservice.Prune(ctx, c, nodes.Items, o, call.Check)
		changes = append(changes, pruned...)
	}
	if result, err = cluster.Result(args.Cluster, changes); failure != nil {
		return result, errors.Join(err, fmt.Errorf("cluster %s: node services: %w", args.Cluster, failure))
	}
	if err != nil || call.Check {
		return result, err
	}
	endpoints, err := observe(ctx, c, nodes.Items, o, args)
	result.Data["endpoints"] = endpoints
	return result, err
}

// observe gives each node's endpoint, after a wait if that is asked for.
func observe(ctx context.Context, c nodeservice.Client, nodes []corev1.Node, o nodeservice.Options, args Args) (map[string]string, error) {
	var found []nodeservice.Observed
	var err error
	if args.Wait {
		found, err = nodeservice.Wait(ctx, c, nodes, o, time.Duration(args.WaitTimeout)*time.Second, nil)
	} else {
		found, _, err = nodeservice.ObserveAll(ctx, c, nodes, o)
	}
	endpoints := map[string]string{}
	for _, f := range found {
		if f.Missing == "" {
			endpoints[f.Node] = f.Endpoint.String()
		}
	}
	return endpoints, err
}
