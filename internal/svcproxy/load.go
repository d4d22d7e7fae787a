package svcproxy

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	"sigs.k8s.io/knftables"

	"github.com/sdn-tunnel/sdn-tunnel/internal/remoteservice"
	"github.com/sdn-tunnel/sdn-tunnel/internal/tunnelns"
)

// table is the nftables table in one namespace, and what this process knows of it. It is
// for one goroutine at a time.
type table struct {
	namespace tunnelns.Namespace
	inside    string // the link that clients come by

	nft knftables.Interface
	// program is what the table holds; nil: not known, it is to be loaded as a whole.
	program  *program
	networks []netip.Prefix
	// where is the namespace that it was loaded in, and last the generation of the
	// namespace's rule sets up to which nothing but this process touched it.
	where [2]uint64
	last  uint32
	// own are the generations that transactions of ours made and whose notification has
	// not come yet.
	own map[uint32]bool
}

// holds tells whether the table holds what this process loaded, for these networks.
func (t *table) holds(networks []netip.Prefix) bool {
	return t.program != nil && t.where == t.namespace.Identity() && slices.Equal(t.networks, networks)
}

// load makes the table hold all, whatever it held before: what packets meet changes at
// one stroke. Affinity stays where it can, so that clients keep their backends when the
// agent is started anew.
func (t *table) load(ctx context.Context, networks []netip.Prefix, all map[remoteservice.Key]remoteservice.Backends) error {
	t.program = nil
	made := newProgram()
	err := t.run(ctx, func(prepare, tx *knftables.Transaction) {
		skeleton(prepare, t.inside, networks)
		for _, name := range []string{mapServices, mapBackends, mapIDs} {
			tx.Flush(&knftables.Map{Name: name})
		}
		made.fill(prepare, tx, all)
		t.removeOthers(ctx, tx, made)
	})
	if err != nil {
		// An earlier version's table, or somebody's of that name, that cannot be changed
		// into ours.
		made = newProgram()
		err = t.run(ctx, func(_, tx *knftables.Transaction) {
			tx.Add(&knftables.Table{})
			tx.Delete(&knftables.Table{})
			skeleton(tx, t.inside, networks)
			made.fill(tx, tx, all)
		})
	}
	if err != nil {
		return fmt.Errorf("load nftables table ip %s in %v: %w", Table, t.namespace, err)
	}
	t.program, t.networks, t.where = made, networks, t.namespace.Identity()
	return nil
}

// removeOthers takes away what an earlier process left in the table.
func (t *table) removeOthers(ctx context.Context, tx *knftables.Transaction, made *program) {
	found, err := t.nft.ListAll(ctx)
	if err != nil {
		return // there is none; or, if it is only not to be read, the transaction tells
	}
	ours := map[string]bool{mapServices: true, mapBackends: true, mapIDs: true, setAffinity: true, chainProxy: true, chainRefuse: true}
	for c := range made.chains {
		ours[c.name()] = true
	}
	others := func(kind string) []string {
		return slices.DeleteFunc(slices.Sorted(slices.Values(found[kind])), func(n string) bool { return ours[n] })
	}
	for _, name := range others("chain") {
		tx.Flush(&knftables.Chain{Name: name})
	}
	for _, name := range others("map") {
		tx.Delete(&knftables.Map{Name: name})
	}
	for _, name := range others("set") {
		tx.Delete(&knftables.Set{Name: name})
	}
	for _, name := range others("chain") {
		tx.Delete(&knftables.Chain{Name: name})
	}
}

// change makes the table hold some as they should be; all others stay. After an error it
// is not known what the table holds.
func (t *table) change(ctx context.Context, some map[remoteservice.Key]remoteservice.Backends) error {
	err := t.run(ctx, func(prepare, tx *knftables.Transaction) { t.program.change(prepare, tx, some) })
	if err != nil {
		t.program = nil
		return fmt.Errorf("change nftables table ip %s in %v: %w", Table, t.namespace, err)
	}
	return nil
}

// run runs two transactions in the namespace, one after the other, unless they are empty.
func (t *table) run(ctx context.Context, fill func(prepare, tx *knftables.Transaction)) error {
	return t.namespace.Do(func() (err error) {
		if t.nft == nil {
			if t.nft, err = knftables.New(knftables.IPv4Family, Table); err != nil {
				return fmt.Errorf("use nft: %w", err)
			}
		}
		prepare, tx := t.nft.NewTransaction(), t.nft.NewTransaction()
		fill(prepare, tx)
		if err := t.commit(ctx, prepare); err != nil {
			return err
		}
		return t.commit(ctx, tx)
	})
}

// commit runs one transaction and notes its generation as one of ours.
func (t *table) commit(ctx context.Context, tx *knftables.Transaction) error {
	if tx.NumOperations() == 0 {
		return nil
	}
	before, err := t.namespace.RulesetGeneration()
	if err != nil {
		return err
	}
	if err := t.nft.Run(ctx, tx); err != nil {
		return err
	}
	if t.last, err = t.namespace.RulesetGeneration(); err != nil {
		return err
	}
	if t.last == before+1 {
		t.own[t.last] = true
	} else {
		t.last = 0 // one of several is ours: watch will take it for somebody else's
	}
	return nil
}

// remove deletes the table; it tells whether there was one.
func (t *table) remove(ctx context.Context) (there bool, err error) {
	t.program = nil
	err = t.run(ctx, func(_, tx *knftables.Transaction) { tx.Delete(&knftables.Table{}) })
	if knftables.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("delete nftables table ip %s in %v: %w", Table, t.namespace, err)
	}
	return true, nil
}
