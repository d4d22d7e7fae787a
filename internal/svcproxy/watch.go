package svcproxy

import (
	"context"
	"maps"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/sdn-tunnel/sdn-tunnel/internal/tunnelns"
)

// pause is the least time between two transactions that changes of services cause: the
// first of many is programmed at once, the others together.
const pause = 100 * time.Millisecond

// patience is how long a change may take: Apply waits for it.
const patience = 10 * time.Second

// Watch programs changes of services as they come, and calls notify when something else
// has touched the table or the routes, and when a change could not be programmed.
func (p *Part) Watch(ctx context.Context, notify func()) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		p.follow(ctx, notify)
		return nil
	})
	group.Go(func() error {
		return tunnelns.KeepWatching(ctx, p.cfg.Log, func(ctx context.Context) error {
			return p.cfg.Namespace.WhileSame(ctx, notify,
				p.inside(unix.NETLINK_NETFILTER, tunnelns.NfTables, p.ruleset(notify)),
				p.inside(unix.NETLINK_ROUTE, unix.RTNLGRP_IPV4_ROUTE, func(tunnelns.Event) { notify() }),
			)
		})
	})
	return group.Wait()
}

// follow programs changes of services, and makes the sweeps that had to wait, until ctx
// ends.
func (p *Part) follow(ctx context.Context, notify func()) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.nextSweep():
			if err := p.sweepWaiting(); err != nil {
				notify() // Apply loads all of it, and tells
			}
			continue
		case <-p.changed:
		}
		if !p.loaded() {
			notify() // Apply loads all of it
		} else if err := p.catchUp(ctx); err != nil {
			notify() // Apply tries again, and tells
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

func (p *Part) catchUp(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	_, err := p.sync(ctx)
	return err
}

func (p *Part) loaded() bool {
	p.kernel.Lock()
	defer p.kernel.Unlock()
	return p.table.program != nil
}

// inside listens in the namespace as long as there is one.
func (p *Part) inside(family int, group uint32, event func(tunnelns.Event)) func(context.Context) error {
	return func(ctx context.Context) error {
		if !p.cfg.Namespace.Exists() {
			<-ctx.Done()
			return nil
		}
		return p.cfg.Namespace.Listen(ctx, family, []uint32{group}, event)
	}
}

// ruleset judges the events of nftables: those of a transaction come together, and then
// the generation that it made.
func (p *Part) ruleset(notify func()) func(tunnelns.Event) {
	touched := false
	return func(e tunnelns.Event) {
		if e.Type == 0 { // some were not seen
			touched = false
			if p.drifted() {
				notify()
			}
			return
		}
		if family, table, ok := e.RulesetTable(); ok && family == unix.NFPROTO_IPV4 && table == Table {
			touched = true
		}
		generation, ok := e.RulesetGeneration()
		if !ok {
			return
		}
		if p.judge(generation, touched) {
			notify()
		}
		touched = false
	}
}

// judge tells whether a transaction that touched the table is not ours; then what the
// table holds is not known any more.
func (p *Part) judge(generation uint32, touched bool) (foreign bool) {
	p.kernel.Lock()
	defer p.kernel.Unlock()
	switch {
	case !touched:
		if generation == p.table.last+1 {
			p.table.last = generation // it made no difference to us
		}
		return false
	case p.table.own[generation]:
		delete(p.table.own, generation)
		return false
	default:
		p.table.program = nil
		return true
	}
}

// drifted tells whether there was any transaction since the last one of ours that was not
// seen to touch other tables only; then what the table holds is not known any more.
func (p *Part) drifted() bool {
	p.kernel.Lock()
	defer p.kernel.Unlock()
	maps.DeleteFunc(p.table.own, func(g uint32, _ bool) bool { return p.table.last-g > 1000 }) // not seen, and not to come
	if p.table.program == nil {
		return false // it is to be loaded anyway
	}
	if now, err := p.cfg.Namespace.RulesetGeneration(); err == nil && now == p.table.last {
		return false
	}
	p.table.program = nil
	return true
}
