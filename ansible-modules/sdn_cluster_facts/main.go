// The Ansible module sdn_cluster_facts: what a cluster says of itself.
package main

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"time"

	"github.com/sdn-tunnel/sdn-tunnel/ansible-modules/internal/cluster"
	"github.com/sdn-tunnel/sdn-tunnel/ansible-modules/internal/module"
	"github.com/sdn-tunnel/sdn-tunnel/internal/facts"
)

// Args are the module's arguments.
type Args struct {
	Name         string         `arg:"name,required"`
	Access       cluster.Access `arg:"access,required"`
	PodCIDRs     []netip.Prefix `arg:"pod_cidrs"`
	ServiceCIDRs []netip.Prefix `arg:"service_cidrs"`
	Timeout      int            `arg:"timeout" default:"30"`
}

func main() { os.Exit(module.Main(run, os.Args[1:], os.Stdout)) }

func run(ctx context.Context, _ module.Call, args Args) (result module.Result, err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(args.Timeout)*time.Second)
	defer cancel()
	acc, err := args.Access.Open(ctx, args.Name)
	if err != nil {
		return result, err
	}
	defer func() { err = errors.Join(err, acc.Close(ctx)) }()
	found, err := facts.GatherWith(ctx, acc.Config, facts.Given{Name: args.Name, PodCIDRs: args.PodCIDRs, ServiceCIDRs: args.ServiceCIDRs})
	if err != nil {
		return result, err
	}
	result.Data = map[string]any{"facts": found}
	return result, nil
}
