// The Ansible module sdn_peer_access: read-only identities between clusters.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

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
	State     string           `arg:"state" default:"present" choices:"present,absent"`
}

func main() { os.Exit(module.Main(run, os.Args[1:], os.Stdout)) }

func run(ctx context.Context, call module.Call, args Args) (result module.Result, err error) {
	sides, accesses, err := open(ctx, args)
	defer func() {
		for _, a := range accesses {
			err = errors.Join(err, a.Close(ctx))
		}
	}()
	if err != nil {
		return result, err
	}
	o := peeraccess.Options{DryRun: call.Check}
	var changes []ssa.Change
	if args.State == "absent" {
		changes, err = remove(ctx, sides, args.Leaving, o)
	} else {
		changes, err = ensure(ctx, sides, o)
	}
	result, shown := cluster.Result("mesh", changes)
	return result, errors.Join(err, shown)
}

// open logs in to every member at once.
func open(ctx context.Context, args Args) ([]peeraccess.Side, []*kubeaccess.Access, error) {
	sides := make([]peeraccess.Side, len(args.Members))
	var mu sync.Mutex
	var accesses []*kubeaccess.Access
	g, gctx := errgroup.WithContext(ctx)
	for i, m := range args.Members {
		g.Go(func() error {
			acc, err := m.Access.Open(gctx, m.Name)
			if err != nil {
				return err
			}
			mu.Lock()
			accesses = append(accesses, acc)
			mu.Unlock()
			c, err := cluster.Client(acc)
			if err != nil {
				return fmt.Errorf("cluster %s: %w", m.Name, err)
			}
			server, err := peeraccess.ServerOf(acc.Config)
			sides[i] = peeraccess.Side{Cluster: m.Name, Namespace: args.Namespace, Client: c, Server: server}
			return err
		})
	}
	err := g.Wait()
	return sides, accesses, err
}

// ensure lets every member read every other.
func ensure(ctx context.Context, sides []peeraccess.Side, o peeraccess.Options) ([]ssa.Change, error) {
	var changes []ssa.Change
	for _, from := range sides {
		for _, to := range sides {
			if from.Cluster == to.Cluster {
				continue
			}
			made, err := peeraccess.Ensure(ctx, from, to, o)
			changes = append(changes, made...)
			if err != nil {
				return changes, err
			}
		}
	}
	return changes, nil
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
