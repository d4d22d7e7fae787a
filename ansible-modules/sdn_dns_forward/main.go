// The Ansible module sdn_dns_forward: the cluster's own DNS knows the mesh's names.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"k8s.io/client-go/dynamic"

	"github.com/sdn-tunnel/sdn-tunnel/ansible-modules/internal/cluster"
	"github.com/sdn-tunnel/sdn-tunnel/ansible-modules/internal/module"
	"github.com/sdn-tunnel/sdn-tunnel/internal/dnsforward"
)

// Args are the module's arguments.
type Args struct {
	Access    cluster.Access `arg:"access,required"`
	Name      string         `arg:"name,required"`
	State     string         `arg:"state" default:"present" choices:"present,absent"`
	Zones     []string       `arg:"zones"`
	Namespace string         `arg:"namespace" default:"sdn-tunnel"`
	Service   string         `arg:"service"`
	ByHand    bool           `arg:"by_hand" default:"false"`
}

// Validate wants to know what is forwarded, and where to.
func (a *Args) Validate() error {
	if a.State == "present" && (len(a.Zones) == 0 || a.Service == "") {
		return errors.New("zones and service: both must be given with state present")
	}
	return nil
}

func main() { os.Exit(module.Main(run, os.Args[1:], os.Stdout)) }

func run(ctx context.Context, call module.Call, args Args) (result module.Result, err error) {
	acc, err := args.Access.Open(ctx, args.Name)
	if err != nil {
		return result, err
	}
	defer func() { err = errors.Join(err, acc.Close(ctx)) }()
	client, err := dynamic.NewForConfig(acc.Config)
	if err != nil {
		return result, fmt.Errorf("cluster %s: %w", args.Name, err)
	}
	f := dnsforward.Forwarder{Client: client, DryRun: call.Check}
	var done dnsforward.Result
	if args.State == "absent" {
		done, err = f.Remove(ctx)
	} else {
		done, err = f.Ensure(ctx, args.Zones, dnsforward.Target{Namespace: args.Namespace, Service: args.Service}, args.ByHand)
	}
	if err != nil {
		return result, fmt.Errorf("cluster %s: the cluster's own DNS: %w", args.Name, err)
	}
	if result, err = cluster.Result(args.Name, done.Changes); err != nil {
		return result, err
	}
	result.Data["way"] = done.Way
	for _, w := range done.Warnings {
		result.Warnings = append(result.Warnings, args.Name+": "+w)
	}
	return result, nil
}
