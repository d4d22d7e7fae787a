package tunnelns

import (
	"context"
	"fmt"
	"os/exec"

	"sigs.k8s.io/knftables"
)

// Table is the nftables table of ours in the namespace, of family inet.
const Table = "sdn-tunnel"

const (
	clampChain = "mss-clamp"
	clampMark  = "sdn-tunnel mss clamp"
	clampRule  = "tcp flags & (syn|rst) == syn tcp option maxseg size set rt mtu"
)

// syncClamp makes TCP peers agree on segments that fit the tunnel. "rt mtu" is the
// smaller one of the packet's route and the way back, so one rule serves both directions.
//
// nft(8) does not give a rule's text back as it took it, so what it shows after a load is
// kept, and whatever differs from that later (also a rule edited by hand) is loaded anew.
// A process's first Apply always loads: it is a change only if the text becomes another.
func (p *Part) syncClamp(ctx context.Context) (changes []string, err error) {
	err = p.cfg.Namespace.Do(func() error {
		before, err := listTable(ctx)
		if err == nil && before == p.clamp {
			return nil
		}
		nft, err := knftables.New(knftables.InetFamily, Table)
		if err != nil {
			return fmt.Errorf("use nft in %v: %w", p.cfg.Namespace, err)
		}
		if err := nft.Run(ctx, clampTransaction(nft)); err != nil {
			return fmt.Errorf("load nftables table inet %s in %v: %w", Table, p.cfg.Namespace, err)
		}
		if p.clamp, err = listTable(ctx); err != nil {
			return fmt.Errorf("list nftables table inet %s in %v: %w", Table, p.cfg.Namespace, err)
		}
		if p.clamp != before {
			changes = append(changes, "nftables table inet "+Table+": MSS clamp set")
		}
		return nil
	})
	return changes, err
}

// listTable is the table as nft shows it; an error may just mean that there is none.
func listTable(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "nft", "-nn", "list", "table", "inet", Table).Output()
	return string(out), err
}

// clampTransaction puts the whole table in the place of what is there, at one stroke.
func clampTransaction(nft knftables.Interface) *knftables.Transaction {
	tx := nft.NewTransaction()
	tx.Add(&knftables.Table{})
	tx.Delete(&knftables.Table{})
	tx.Add(&knftables.Table{})
	tx.Add(&knftables.Chain{
		Name:     clampChain,
		Type:     knftables.PtrTo(knftables.FilterType),
		Hook:     knftables.PtrTo(knftables.ForwardHook),
		Priority: knftables.PtrTo(knftables.ManglePriority),
	})
	tx.Add(&knftables.Rule{Chain: clampChain, Rule: clampRule, Comment: knftables.PtrTo(clampMark)})
	return tx
}
