package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/sdn-tunnel/sdn-tunnel/ansible-modules/internal/cluster"
	"github.com/sdn-tunnel/sdn-tunnel/ansible-modules/internal/module"
	"github.com/sdn-tunnel/sdn-tunnel/internal/apply"
	"github.com/sdn-tunnel/sdn-tunnel/internal/mesh"
	"github.com/sdn-tunnel/sdn-tunnel/internal/rollout"
	"github.com/sdn-tunnel/sdn-tunnel/internal/ssa"
	"github.com/sdn-tunnel/sdn-tunnel/internal/verify"
)

// agents brings a cluster's agents to what is declared: the DaemonSet with pods that stay,
// the pods batch by batch, and then the DaemonSet as declared.
func (r *upgrade) agents(ctx context.Context) (result module.Result, err error) {
	m, err := r.chosen()
	if err != nil {
		return result, err
	}
	declared, err := apply.Manifests("manifests", r.args.Manifests)
	if err != nil {
		return result, err
	}
	engine, err := apply.New(m.access.Config, deployOwner, r.call.Check)
	if err != nil {
		return result, err
	}
	engine.Note = func(message string) { module.Note(m.name, message) }
	if done, changes, err := r.nothingToDo(ctx, m, declared); err != nil || done || r.call.Check {
		result, _ = cluster.Result(m.name, changes)
		result.Changed = err == nil && !done // pods are replaced, also where no declaration changes
		return result, err
	}
	made, err := engine.Apply(ctx, staying(declared))
	if err != nil {
		return result, err
	}
	touched, passed, failure := r.roll(ctx, m, engine)
	if failure == nil {
		_, failure = engine.Apply(ctx, declared)
	}
	if result, err = cluster.Result(m.name, made); err != nil {
		return result, err
	}
	if failure != nil {
		failure = fmt.Errorf("%w%s", failure, cluster.WhyAgents(ctx, m.access, m.name))
	}
	result.Changed = true
	result.Msg = fmt.Sprintf("agents replaced: %s", strings.Join(touched, ", "))
	if len(passed) > 0 {
		result.Warnings = append(result.Warnings, fmt.Sprintf("cluster %s: %s: down, so the agents there are replaced when they are back", m.name, strings.Join(passed, ", ")))
	}
	return result, failure
}

// staying are the objects with DaemonSets whose pods are not replaced by themselves.
func staying(objects []*unstructured.Unstructured) []*unstructured.Unstructured {
	all := make([]*unstructured.Unstructured, len(objects))
	for i, o := range objects {
		all[i] = o
		if o.GetKind() == "DaemonSet" {
			all[i] = o.DeepCopy()
			all[i].Object["spec"].(map[string]any)["updateStrategy"] = map[string]any{"type": string(appsv1.OnDeleteDaemonSetStrategyType)}
		}
	}
	return all
}

// nothingToDo tells whether all is as declared already, pods too, and what would change.
func (r *upgrade) nothingToDo(ctx context.Context, m member, declared []*unstructured.Unstructured) (bool, []ssa.Change, error) {
	dry, err := apply.New(m.access.Config, deployOwner, true)
	if err != nil {
		return false, nil, err
	}
	changes, err := dry.Apply(ctx, declared)
	if err != nil || len(changes) > 0 {
		return false, changes, err
	}
	current, err := rollout.Current(ctx, m.client, r.place(m.name))
	return current, nil, err
}

// roll replaces the pods, with the test application up meanwhile.
func (r *upgrade) roll(ctx context.Context, m member, engine *apply.Engine) (touched, passed []string, err error) {
	limit := time.Duration(r.args.RolloutTimeout) * time.Second
	session, err := r.session(ctx)
	if err != nil {
		return nil, nil, err
	}
	if session != nil {
		defer func() { err = errors.Join(err, session.Close(ctx)) }()
	}
	return rollout.Agents{
		Client: m.client, Place: r.place(m.name), Batch: r.args.Batch, Canary: r.args.Canary, Timeout: limit,
		Workload: engine,
		Gate: func(ctx context.Context, nodes []string) error {
			if err := r.settle(ctx); err != nil || session == nil {
				return err
			}
			return reach(ctx, session, m.name, nodes)
		},
	}.Roll(ctx)
}

const (
	// transferBytes is what each pair transfers: enough to fill what a path holds.
	transferBytes = 1_000_000
	// probeTimeout is short: until it is known that pods do not get through, theirs is lost.
	probeTimeout = 4 * time.Second
)

// session brings the test application up, unless there is one cluster only, or no image. In
// its namespace there are upgrades only, of which the lock lets one be at a time.
func (r *upgrade) session(ctx context.Context) (*verify.Session, error) {
	if len(r.members) < 2 || r.args.TestImage == "" {
		return nil, nil
	}
	o := verify.Options{
		Namespace: verify.DefaultNamespace + "-upgrade", TunnelNamespace: r.args.Namespace,
		Image: r.args.TestImage, PullPolicy: r.args.ImagePullPolicy,
		ReadyTimeout: time.Duration(r.args.RolloutTimeout) * time.Second, ProbeTimeout: probeTimeout, Alone: true, TransferBytes: transferBytes, LeaveRemoval: true,
	}
	for _, m := range r.members {
		o.Clusters = append(o.Clusters, verify.Member{Name: m.name, Config: m.access.Config})
	}
	return verify.Start(ctx, o)
}

// far is how many nodes of each other cluster a node of a batch has to reach.
const far = 3

// reach probes the nodes of a batch, both ways, with some nodes of the other clusters.
func reach(ctx context.Context, session *verify.Session, cluster string, nodes []string) error {
	if err := session.Look(ctx); err != nil {
		return err
	}
	batch := map[mesh.Ref]bool{}
	for _, n := range nodes {
		batch[mesh.Ref{Cluster: cluster, Node: n}] = true
	}
	partners := session.Some(far)
	pairs, err := session.Pairs(ctx, func(from, to mesh.Ref) bool {
		return batch[from] && partners[to] || partners[from] && batch[to]
	})
	if err != nil {
		return err
	}
	report := verify.Report{Pairs: pairs}
	if report.OK() {
		return nil
	}
	var table strings.Builder
	if err := report.WriteTable(&table, false); err != nil {
		return err
	}
	return fmt.Errorf("pods no longer reach each other: %s\n%s", report.Summary(), table.String())
}
