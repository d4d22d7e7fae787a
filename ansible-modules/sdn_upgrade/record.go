package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sdn-tunnel/sdn-tunnel/ansible-modules/internal/cluster"
	"github.com/sdn-tunnel/sdn-tunnel/ansible-modules/internal/module"
	"github.com/sdn-tunnel/sdn-tunnel/internal/apply"
	"github.com/sdn-tunnel/sdn-tunnel/internal/meshstatus"
	"github.com/sdn-tunnel/sdn-tunnel/internal/rollout"
)

// begin looks whether the upgrade may be, and keeps what is there in each cluster if anything
// is to change, be it the images or what else is declared of the workloads. One that was under
// way is taken up, with what was there before it.
func (r *upgrade) begin(ctx context.Context) (result module.Result, err error) {
	all := make([]beginning, len(r.members))
	var steps []rollout.Step
	for i, m := range r.members {
		if all[i], err = r.look(ctx, m); err != nil {
			return result, err
		}
		steps = append(steps, all[i].images(m.name)...)
	}
	warnings, err := rollout.Check(steps, r.args.AllowDowngrade)
	if err != nil {
		return result, err
	}
	result.Warnings = warnings
	report := meshstatus.Make(time.Now(), meshstatus.Read(ctx, r.mesh()))
	known := rollout.Known(report)
	if len(known) > 0 && !r.args.Force {
		return result, fmt.Errorf("the mesh is not well before the upgrade:\n%s\n"+
			"put it right first (sdn-tunnel status), go back to what was before an upgrade that failed (sdn-tunnel upgrade --rollback), or go on in spite of it with upgrade_force; nothing was changed",
			strings.Join(rollout.Worse(nil, report), "\n"))
	}
	lines := make([]string, 0, len(steps))
	for _, s := range steps {
		lines = append(lines, s.String())
	}
	for i, m := range r.members {
		if b := all[i]; b.changes() && len(b.images(m.name)) == 0 {
			lines = append(lines, fmt.Sprintf("cluster %s: the same images, declared in another way", m.name))
		}
	}
	result.Data = map[string]any{"steps": lines, "known": known}
	some := slices.ContainsFunc(all, beginning.changes)
	for i, m := range r.members {
		if !all[i].keep(some) {
			continue
		}
		result.Changed = true
		if r.call.Check {
			continue
		}
		if err := all[i].record.Keep(ctx, m.client, r.place(m.name)); err != nil {
			return result, err
		}
	}
	return result, nil
}

// beginning is a cluster before an upgrade.
type beginning struct {
	// before is the record of an earlier upgrade, if there is one; record is what there is now.
	before *rollout.Record
	record rollout.Record
	is     rollout.Version
}

// look reads what a cluster has, and what it would have.
func (r *upgrade) look(ctx context.Context, m member) (b beginning, err error) {
	before, there, err := rollout.Load(ctx, m.client, r.place(m.name))
	if err != nil {
		return b, err
	}
	if there {
		b.before = &before
	}
	if b.record, b.is, err = rollout.Observe(ctx, m.client, r.place(m.name)); err != nil {
		return b, err
	}
	declared, err := apply.Manifests("declared."+m.name, r.args.Declared[m.name])
	if err != nil {
		return b, err
	}
	b.record.To, err = rollout.Becomes(ctx, m.client, r.place(m.name), declared)
	return b, err
}

// changes tells whether the upgrade changes anything that goes back with it: images,
// arguments, resources, configuration.
func (b beginning) changes() bool { return b.is != b.record.To }

// images are the steps to images that are not those wanted.
func (b beginning) images(cluster string) (steps []rollout.Step) {
	for _, s := range []rollout.Step{
		{Cluster: cluster, Program: "controller", From: b.is.Controller, To: b.record.To.Controller},
		{Cluster: cluster, Program: "agent", From: b.is.Agent, To: b.record.To.Agent},
	} {
		if s.From != s.To {
			steps = append(steps, s)
		}
	}
	return steps
}

// keep tells whether what is there is kept for the way back; some is whether anything
// changes in any cluster. As all clusters go back together, one that has nothing to change
// keeps that, too, in place of what an upgrade before this one left.
func (b beginning) keep(some bool) bool {
	switch {
	case !some || b.before != nil && b.before.TakenUp(b.is):
		return false
	case b.changes():
		return true
	}
	return b.before == nil || b.before.State == rollout.Done
}

// end closes the records: an upgrade after this one keeps what this one made.
func (r *upgrade) end(ctx context.Context) (result module.Result, err error) {
	for _, m := range r.members {
		record, there, err := rollout.Load(ctx, m.client, r.place(m.name))
		if err != nil {
			return result, err
		}
		if !there || record.State == rollout.Done {
			continue
		}
		result.Changed = true
		if r.call.Check {
			continue
		}
		record.State = rollout.Done
		if err := record.Keep(ctx, m.client, r.place(m.name)); err != nil {
			return result, err
		}
	}
	return result, nil
}

// back makes a cluster's workloads as its record has them, and drops the record. That of an
// upgrade that is over is taken only if it is asked for: where the upgrade that failed had
// nothing to change, the record is of the one before it.
func (r *upgrade) back(ctx context.Context) (result module.Result, err error) {
	m, err := r.chosen()
	if err != nil {
		return result, err
	}
	record, there, err := rollout.Load(ctx, m.client, r.place(m.name))
	if err != nil {
		return result, err
	}
	switch {
	case !there && !r.args.UnderWay:
		result.Warnings = []string{fmt.Sprintf("cluster %s: no upgrade is on record, so there is nothing to go back to", m.name)}
		return result, nil
	case !there || r.args.UnderWay && record.State != rollout.UnderWay:
		return result, nil
	}
	engine, err := apply.New(m.access.Config, deployOwner, r.call.Check)
	if err != nil {
		return result, err
	}
	made, failure := engine.Apply(ctx, record.Objects)
	if failure == nil {
		failure = engine.AwaitRollout(ctx, record.Objects, time.Duration(r.args.RolloutTimeout)*time.Second)
	}
	if result, err = cluster.Result(m.name, made); err != nil {
		return result, err
	}
	if failure != nil {
		return result, fmt.Errorf("cluster %s: back to %s and %s: %w", m.name, record.Controller, record.Agent, failure)
	}
	result.Msg = fmt.Sprintf("cluster %s is back at %s and %s", m.name, record.Controller, record.Agent)
	result.Changed = true
	if r.call.Check {
		return result, nil
	}
	return result, rollout.Drop(ctx, m.client, r.place(m.name))
}
