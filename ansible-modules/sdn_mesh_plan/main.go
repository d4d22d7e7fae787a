// The Ansible module sdn_mesh_plan: the plan of a whole mesh, and every conflict.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/sdn-tunnel/sdn-tunnel/ansible-modules/internal/module"
	"github.com/sdn-tunnel/sdn-tunnel/internal/inventory"
	"github.com/sdn-tunnel/sdn-tunnel/internal/meshplan"
)

// Args are the module's arguments.
type Args struct {
	Clusters        []any             `arg:"clusters,required"`
	TunnelPort      uint16            `arg:"tunnel_port" default:"5555"`
	TunnelPool      netip.Prefix      `arg:"tunnel_pool"`
	ServiceType     string            `arg:"service_type" default:"LoadBalancer" choices:"LoadBalancer,NodePort,HostNetwork,Static"`
	StaticEndpoints map[string]string `arg:"static_endpoints"`
	ExportPolicy    map[string]string `arg:"export_policy"`
	DNSZone         string            `arg:"dns_zone" default:"cluster.{cluster}"`
	Variables       []string          `arg:"variables"`
}

func main() { os.Exit(module.Main(run, os.Args[1:], os.Stdout)) }

func run(_ context.Context, _ module.Call, args Args) (module.Result, error) {
	var in meshplan.Input
	if err := convert(args.Clusters, &in.Clusters); err != nil {
		return module.Result{}, fmt.Errorf("clusters: %w; they are what sdn_cluster_facts returns", err)
	}
	in.Options = meshplan.Options{
		TunnelPort: args.TunnelPort, TunnelPool: args.TunnelPool,
		ServiceType: meshplan.ServiceType(args.ServiceType), StaticEndpoints: args.StaticEndpoints,
		ExportPolicy: args.ExportPolicy,
		DNSZone:      args.DNSZone,
	}
	plan, conflicts := meshplan.Make(in)
	if len(conflicts) > 0 {
		lines := make([]error, 0, len(conflicts))
		for _, c := range conflicts {
			lines = append(lines, errors.New(c.String()))
		}
		return module.Result{Data: map[string]any{"conflicts": conflicts}},
			fmt.Errorf("the clusters cannot be linked, and nothing was changed:\n%w", errors.Join(lines...))
	}
	result := module.Result{Data: map[string]any{"options": plan.Options, "clusters": byName(plan)}}
	for _, w := range plan.Warnings {
		result.Warnings = append(result.Warnings, strings.TrimPrefix(w.Cluster+": "+w.Detail, ": "))
	}
	slices.Sort(args.Variables)
	result.Warnings = append(result.Warnings, inventory.Unknown(args.Variables)...)
	return result, nil
}

// byName makes the plan easy to look up from templates.
func byName(p meshplan.Plan) map[string]meshplan.ClusterPlan {
	m := make(map[string]meshplan.ClusterPlan, len(p.Clusters))
	for _, c := range p.Clusters {
		m[c.Name] = c
	}
	return m
}

// convert reads decoded arguments into typed ones.
func convert(from, to any) error {
	raw, err := json.Marshal(from)
	if err != nil {
		return err
	}
	return json.Unmarshal(raw, to)
}
