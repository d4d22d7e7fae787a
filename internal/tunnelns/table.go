package tunnelns

import (
	"context"
	"fmt"
	"net/netip"
	"os/exec"
	"slices"

	"sigs.k8s.io/knftables"

	"github.com/sdn-tunnel/sdn-tunnel/internal/mesh"
)

// Table is the nftables table of ours in the namespace, of family inet.
const Table = "sdn-tunnel"

const (
	clampChain = "mss-clamp"
	clampMark  = "sdn-tunnel mss clamp"
	clampRule  = "tcp flags & (syn|rst) == syn tcp option maxseg size set rt mtu"

	loopChain = "no-tunnel-in-tunnel"
	loopMark  = "sdn-tunnel no tunnel in the tunnel"
)

// rule is a rule of a chain of our table.
type rule struct{ chain, text, comment string }

// rules are those that a plan needs.
//
// The clamp makes TCP peers agree on segments that fit the tunnel. "rt mtu" is the
// smaller one of the packet's route and the way back, so one rule serves both directions.
//
// The node's own WireGuard must not send into the tunnel, which it would if a peer was
// heard from an address behind it: each packet would come back as a larger one. Such
// packets come with the node's address in its host subnet, the first one.
func rules(dp mesh.DataPlane) []rule {
	all := []rule{{clampChain, clampRule, clampMark}}
	for _, subnet := range dp.Local {
		gateway := subnet.Masked().Addr().Next()
		all = append(all, rule{loopChain, fmt.Sprintf("%s saddr %v udp sport %d drop", family(gateway), gateway, dp.ListenPort), loopMark})
	}
	return all
}

func family(a netip.Addr) string {
	if a.Is4() {
		return "ip"
	}
	return "ip6"
}

// syncTable loads the table.
//
// nft(8) does not give a rule's text back as it took it, so what it shows after a load is
// kept, and whatever differs from that later (also a rule edited by hand) is loaded anew.
// A process's first Apply always loads: it is a change only if the text becomes another.
func (p *Part) syncTable(ctx context.Context, dp mesh.DataPlane) (changes []string, err error) {
	want := rules(dp)
	err = p.cfg.Namespace.Do(func() error {
		before, err := listTable(ctx)
		if err == nil && before == p.table && slices.Equal(want, p.rules) {
			return nil
		}
		nft, err := knftables.New(knftables.InetFamily, Table)
		if err != nil {
			return fmt.Errorf("use nft in %v: %w", p.cfg.Namespace, err)
		}
		if err := nft.Run(ctx, tableTransaction(nft, want)); err != nil {
			return fmt.Errorf("load nftables table inet %s in %v: %w", Table, p.cfg.Namespace, err)
		}
		p.rules = want
		if p.table, err = listTable(ctx); err != nil {
			return fmt.Errorf("list nftables table inet %s in %v: %w", Table, p.cfg.Namespace, err)
		}
		if p.table != before {
			changes = append(changes, "nftables table inet "+Table+" set")
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

// tableTransaction puts the whole table in the place of what is there, at one stroke.
func tableTransaction(nft knftables.Interface, rules []rule) *knftables.Transaction {
	tx := nft.NewTransaction()
	tx.Add(&knftables.Table{})
	tx.Delete(&knftables.Table{})
	tx.Add(&knftables.Table{})
	for _, chain := range []string{clampChain, loopChain} {
		tx.Add(&knftables.Chain{
			Name:     chain,
			Type:     knftables.PtrTo(knftables.FilterType),
			Hook:     knftables.PtrTo(knftables.ForwardHook),
			Priority: knftables.PtrTo(knftables.ManglePriority),
		})
	}
	for _, r := range rules {
		tx.Add(&knftables.Rule{Chain: r.chain, Rule: r.text, Comment: &r.comment})
	}
	return tx
}
