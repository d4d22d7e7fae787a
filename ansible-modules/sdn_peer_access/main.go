// The Ansible module sdn_peer_access: read-only identities between clusters.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"

	"github.com/sdn-tunnel/sdn-tunnel/ansible-modules/internal/cluster"
	"github.com/sdn-tunnel/sdn-tunnel/ansible-modules/internal/module"
	"github.com/sdn-tunnel/sdn-tunnel/internal/kubeaccess"
	"github.com/sdn-tunnel/sdn-tunnel/internal/peeraccess"
	"github.com/sdn-tunnel/sdn-tunnel/internal/ssa"
)

// Args are the module's arguments.
type Args struct {
	Members   []cluster.Member `arg:"members,required"`
	Namespace string           `arg:"namespace" default:"sdn-tunnel"`
	Leaving   []string         `arg:"leaving"`
	Known     bool             `arg:"known" default:"false"`
	State     string           `arg:"state" default:"present" choices:"present,absent"`
}

func main() { os.Exit(module.Main(run, os.Args[1:], os.Stdout)) }

func run(ctx context.Context, call module.Call, args Args) (result module.Result, err error) {
	accesses, err := cluster.OpenAll(ctx, args.Members)
	if err != nil {
		return result, err
	}
	defer func() { err = errors.Join(err, accesses.Close(ctx)) }()
	sides, err := sidesOf(args, accesses)
	if err != nil {
		return result, err
	}
	o := peeraccess.Options{DryRun: call.Check}
	var changes []ssa.Change
	if args.State == "absent" {
		if err := known(ctx, sides, args); err != nil {
			return result, err
		}
		changes, err = remove(ctx, sides, args.Leaving, o)
	} else {
		changes, err = ensure(ctx, sides, o)
	}
	result, shown := cluster.Result("mesh", changes)
	return result, errors.Join(err, shown)
}

func sidesOf(args Args, accesses kubeaccess.All) ([]peeraccess.Side, error) {
	sides := make([]peeraccess.Side, len(accesses))
	for i, acc := range accesses {
		name := args.Members[i].Name
		c, err := cluster.Client(acc)
		if err != nil {
			return nil, fmt.Errorf("cluster %s: %w", name, err)
		}
		server, err := peeraccess.ServerOf(acc.Config)
		if err != nil {
			return nil, fmt.Errorf("cluster %s: %w", name, err)
		}
		sides[i] = peeraccess.Side{Cluster: name, Namespace: args.Namespace, Client: c, Server: server}
	}
	return sides, nil
}

// ensure lets every member read every other, all members at once. The peers of one member
// come one after the other: they share its ClusterRole.
func ensure(ctx context.Context, sides []peeraccess.Side, o peeraccess.Options) ([]ssa.Change, error) {
	changes, errs := make([][]ssa.Change, len(sides)), make([]error, len(sides))
	var wg sync.WaitGroup
	for i, from := range sides {
		wg.Go(func() {
			for _, to := range sides {
				if from.Cluster == to.Cluster || errs[i] != nil {
					continue
				}
				made, err := peeraccess.Ensure(ctx, from, to, o)
				changes[i], errs[i] = append(changes[i], made...), err
			}
		})
	}
	wg.Wait()
	return slices.Concat(changes...), errors.Join(errs...)
}

// known refuses what no member has heard of, where that is asked for.
func known(ctx context.Context, sides []peeraccess.Side, args Args) error {
	if !args.Known {
		return nil
	}
	for _, peer := range args.Leaving {
		if err := peeraccess.Known(ctx, sides, peer); err != nil {
			return err
		}
	}
	return nil
}

// remove takes all identities away or, if some members leave only, theirs: in them every
// one, in the others that of each that leaves.
func remove(ctx context.Context, sides []peeraccess.Side, leaving []string, o peeraccess.Options) ([]ssa.Change, error) {
	var changes []ssa.Change
	for _, s := range sides {
		gone, err := leave(ctx, s, leaving, o)
		changes = append(changes, gone...)
		if err != nil {
			return changes, fmt.Errorf("cluster %s: %w", s.Cluster, err)
		}
	}
	return changes, nil
}

func leave(ctx context.Context, s peeraccess.Side, leaving []string, o peeraccess.Options) ([]ssa.Change, error) {
	if len(leaving) == 0 || slices.Contains(leaving, s.Cluster) {
		return peeraccess.RemoveAll(ctx, s, o)
	}
	var changes []ssa.Change
	for _, peer := range leaving {
		for _, step := range []func(context.Context, peeraccess.Side, string, peeraccess.Options) ([]ssa.Change, error){
			peeraccess.Forget, peeraccess.Revoke,
		} {
			gone, err := step(ctx, s, peer, o)
			changes = append(changes, gone...)
			if err != nil {
				return changes, err
			}
		}
	}
	return changes, nil
}
