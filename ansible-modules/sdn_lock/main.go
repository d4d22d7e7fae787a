// The Ansible module sdn_lock: keeps two runs that change the same clusters apart.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/client-go/kubernetes"

	"github.com/sdn-tunnel/sdn-tunnel/ansible-modules/internal/cluster"
	"github.com/sdn-tunnel/sdn-tunnel/ansible-modules/internal/module"
	"github.com/sdn-tunnel/sdn-tunnel/ansible-modules/internal/runlock"
	"github.com/sdn-tunnel/sdn-tunnel/internal/deploylock"
	"github.com/sdn-tunnel/sdn-tunnel/internal/kubeaccess"
)

// Args are the module's arguments.
type Args struct {
	State     string           `arg:"state" default:"taken" choices:"taken,held"`
	Members   []cluster.Member `arg:"members"`
	Namespace string           `arg:"namespace" default:"sdn-tunnel"`
	Verb      string           `arg:"verb" default:"deploy" choices:"deploy,teardown,upgrade,forget"`
	Duration  int              `arg:"duration" default:"60"`
}

// Validate wants clusters to lock, and a duration that leaves time for renewals.
func (a *Args) Validate() error {
	if a.State == "taken" && len(a.Members) == 0 {
		return errors.New("members: state taken needs it")
	}
	if a.Duration < 10 || a.Duration > 3600 {
		return fmt.Errorf("duration: %d: give 10 to 3600 seconds", a.Duration)
	}
	return nil
}

func main() {
	if len(os.Args) == 2 && os.Args[1] == keepMode {
		os.Exit(keep(os.Stdin, os.Stdout))
	}
	os.Exit(module.Main(run, os.Args[1:], os.Stdout))
}

// run has a keeper take the locks, which holds them until ansible-playbook ends.
func run(ctx context.Context, call module.Call, args Args) (module.Result, error) {
	if args.State == "held" {
		return module.Result{}, nil // as every module, it would have ended before
	}
	if call.Check {
		return module.Result{Msg: "check mode takes no lock", Data: map[string]any{"missing": []string{}}}, nil
	}
	found, err := runlock.Find(os.Getppid())
	if err != nil {
		return module.Result{}, fmt.Errorf("sdn_lock holds its lock until ansible-playbook ends: %w: use connection: local", err)
	}
	answer, err := startKeeper(ctx, order{Args: args, Password: passwords(args), Watch: found.PID})
	if err != nil {
		return module.Result{}, err
	}
	if answer.Error != "" {
		return module.Result{}, errors.New(answer.Error)
	}
	return module.Result{Data: map[string]any{"missing": answer.Missing}}, nil
}

// held are the locks that a keeper has.
type held struct {
	locks    deploylock.Locks
	accesses kubeaccess.All
	missing  []string // clusters without the namespace
}

// acquire takes the lock of every member.
func acquire(ctx context.Context, args Args, h deploylock.Holder) (*held, error) {
	members := slices.SortedFunc(slices.Values(args.Members), func(a, b cluster.Member) int {
		return strings.Compare(a.Name, b.Name)
	})
	all := &held{locks: make(deploylock.Locks, len(members)), missing: []string{}}
	var err error
	if all.accesses, err = cluster.OpenAll(ctx, members); err != nil {
		return all, err
	}
	places := make([]deploylock.Place, len(members))
	for i, m := range members {
		client, err := kubernetes.NewForConfig(all.accesses[i].Config)
		if err != nil {
			return all, fmt.Errorf("cluster %s: %w", m.Name, err)
		}
		places[i] = deploylock.Place{Cluster: m.Name, Namespace: args.Namespace, Client: client}
	}
	if all.locks, err = deploylock.AcquireAll(ctx, places, h, time.Duration(args.Duration)*time.Second); err != nil {
		return all, err
	}
	for i, l := range all.locks {
		if l == nil {
			all.missing = append(all.missing, members[i].Name)
		}
	}
	return all, nil
}

// release gives all back that is held, and tries it until ctx ends: an API may be away.
func (h *held) release(ctx context.Context) {
	var wg sync.WaitGroup
	for i, access := range h.accesses {
		wg.Go(func() {
			for l := h.locks[i]; l != nil && l.Release(ctx) != nil && ctx.Err() == nil; {
				time.Sleep(releaseAgain)
			}
			_ = access.Close(ctx) // a token that stays expires by itself
		})
	}
	wg.Wait()
}
