package tunnelns

import (
	"context"
	"fmt"

	"sigs.k8s.io/knftables"
)

// Table is the nftables table of ours in the namespace, of family inet.
const Table = "sdn-tunnel"

const (
	clampChain = "mss-clamp"
	// clampMark is the rule's comment. It stands for the rule's text, which nft(8) does
	// not give back as it took it: change both together.
	clampMark = "sdn-tunnel mss clamp 1"
	clampRule = "tcp flags & (syn|rst) == syn tcp option maxseg size set rt mtu"
)

// syncClamp makes TCP peers agree on segments that fit the tunnel. "rt mtu" is the
// smaller one of the packet's route and the way back, so one rule serves both directions.
func (p *Part) syncClamp(ctx context.Context) (changes []string, err error) {
	err = p.cfg.Namespace.Do(func() error {
		nft, err := knftables.New(knftables.InetFamily, Table)
		if err != nil {
			return fmt.Errorf("use nft in %v: %w", p.cfg.Namespace, err)
		}
		rules, err := nft.ListRules(ctx, clampChain)
		if err != nil && !knftables.IsNotFound(err) {
			return fmt.Errorf("list nftables chain %s: %w", clampChain, err)
		}
		if len(rules) == 1 && rules[0].Comment != nil && *rules[0].Comment == clampMark {
			return nil
		}
		if err := nft.Run(ctx, clampTransaction(nft)); err != nil {
			return fmt.Errorf("load nftables chain %s in %v: %w", clampChain, p.cfg.Namespace, err)
		}
		changes = append(changes, "nftables table inet "+Table+": MSS clamp set")
		return nil
	})
	return changes, err
}

func clampTransaction(nft knftables.Interface) *knftables.Transaction {
	tx := nft.NewTransaction()
	tx.Add(&knftables.Table{})
	tx.Add(&knftables.Chain{
		Name:     clampChain,
		Type:     knftables.PtrTo(knftables.FilterType),
		Hook:     knftables.PtrTo(knftables.ForwardHook),
		Priority: knftables.PtrTo(knftables.ManglePriority),
	})
	tx.Flush(&knftables.Chain{Name: clampChain})
	tx.Add(&knftables.Rule{Chain: clampChain, Rule: clampRule, Comment: knftables.PtrTo(clampMark)})
	return tx
}
