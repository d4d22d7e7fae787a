package kuberouter

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/sdn-tunnel/sdn-tunnel/internal/tunnelns"
)

// Priorities of the rules in the tunnel namespace, which are ours by them.
const (
	rulesFirst   = 1330
	ruleBack     = rulesFirst     // packets of connections that IPVS translates
	ruleServices = rulesFirst + 1 // packets of clients to services
)

// lead is the way to a member's namespace: the index of the link there is the number of the
// routing table, and the mark of what has to come back.
type lead struct {
	link     string
	index    int
	services []netip.Prefix
}

// syncRules makes rules and their routing tables in the tunnel namespace what leads need.
// Clients come by the link inside.
func syncRules(n tunnelns.Namespace, inside string, leads []lead) (changes []string, err error) {
	h, err := n.Netlink()
	if err != nil {
		return nil, err
	}
	defer h.Close()
	for _, l := range leads {
		done, err := syncTable(h, l)
		changes = append(changes, done...)
		if err != nil {
			return changes, fmt.Errorf("%v: %w", n, err)
		}
	}
	list, err := h.RuleList(unix.AF_INET)
	if err != nil {
		return changes, fmt.Errorf("list rules of %v: %w", n, err)
	}
	want := rules(inside, leads)
	for _, have := range list {
		if have.Priority != ruleBack && have.Priority != ruleServices {
			continue
		}
		if i := slices.IndexFunc(want, func(w *netlink.Rule) bool { return sameRule(w, &have) }); i >= 0 {
			want = slices.Delete(want, i, i+1)
			continue
		}
		if err := h.RuleDel(&have); err != nil && !errors.Is(err, unix.ENOENT) {
			return changes, fmt.Errorf("delete rule %s in %v: %w", ruleText(&have), n, err)
		}
		changes = append(changes, fmt.Sprintf("rule %s deleted", ruleText(&have)))
	}
	for _, w := range want {
		if err := h.RuleAdd(w); err != nil {
			return changes, fmt.Errorf("add rule %s in %v: %w", ruleText(w), n, err)
		}
		changes = append(changes, fmt.Sprintf("rule %s added", ruleText(w)))
	}
	return changes, nil
}

func rules(inside string, leads []lead) (all []*netlink.Rule) {
	for _, l := range leads {
		back := netlink.NewRule()
		back.Family, back.Priority, back.Table, back.Mark = unix.AF_INET, ruleBack, l.index, uint32(l.index)
		all = append(all, back)
		for _, n := range l.services {
			to := netlink.NewRule()
			to.Family, to.Priority, to.Table, to.IifName = unix.AF_INET, ruleServices, l.index, inside
			to.Dst = &net.IPNet{IP: n.Addr().AsSlice(), Mask: net.CIDRMask(n.Bits(), 32)}
			all = append(all, to)
		}
	}
	return all
}

func sameRule(a, b *netlink.Rule) bool { return ruleText(a) == ruleText(b) }

func ruleText(r *netlink.Rule) string {
	text := fmt.Sprintf("%d:", r.Priority)
	if r.Dst != nil {
		text += fmt.Sprintf(" to %v", r.Dst)
	}
	if r.Mark != 0 {
		text += fmt.Sprintf(" fwmark %#x", r.Mark)
	}
	if r.IifName != "" {
		text += " iif " + r.IifName
	}
	return text + fmt.Sprintf(" lookup %d", r.Table)
}

// syncTable makes a member's routing table lead everything there. It goes with the link.
func syncTable(h *netlink.Handle, l lead) (changes []string, err error) {
	have, err := h.RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{Table: l.index, LinkIndex: l.index}, netlink.RT_FILTER_TABLE|netlink.RT_FILTER_OIF)
	if err != nil {
		return nil, fmt.Errorf("list routes of table %d: %w", l.index, err)
	}
	for _, n := range everything {
		dst := &net.IPNet{IP: n.Addr().AsSlice(), Mask: net.CIDRMask(n.Bits(), 32)}
		if slices.ContainsFunc(have, func(r netlink.Route) bool { return r.Dst != nil && r.Dst.String() == dst.String() }) {
			continue
		}
		err := h.RouteReplace(&netlink.Route{Table: l.index, LinkIndex: l.index, Dst: dst, Scope: netlink.SCOPE_LINK, Protocol: tunnelns.RouteProtocol})
		if err != nil {
			return changes, fmt.Errorf("set route %v dev %s table %d: %w", n, l.link, l.index, err)
		}
		changes = append(changes, fmt.Sprintf("route %v dev %s table %d set", n, l.link, l.index))
	}
	return changes, nil
}

// steerRules mark the connections that come out of the members' namespaces with their
// link's index, and lead what belongs to them back: packets of remote pods, and errors
// about them, of whoever they come from, the tunnel namespace itself included. The chain that
// is empty keeps the kernel translating the connections that nftables balanced before.
func steerRules(leads []lead) string {
	leads = slices.SortedFunc(slices.Values(leads), func(a, b lead) int { return cmp.Compare(a.link, b.link) })
	var text strings.Builder
	text.WriteString("chain come {\n\ttype filter hook prerouting priority mangle;\n")
	for _, l := range leads {
		fmt.Fprintf(&text, "\tiifname %q ct state new ct mark set %d\n", l.link, l.index)
	}
	fmt.Fprintf(&text, "\tiifname %q return\n", linkPrefix+"*")
	text.WriteString("\tct mark != 0 meta mark set ct mark\n}\n")
	text.WriteString("chain keep {\n\ttype nat hook prerouting priority dstnat;\n}\n")
	text.WriteString("chain tell {\n\ttype route hook output priority mangle;\n\tct mark != 0 meta mark set ct mark\n}\n")
	return text.String()
}

// refuseRules reject what IPVS has not taken: no such service or port, or it would be a
// process of the namespace that answers.
func refuseRules(services []netip.Prefix) string {
	list := make([]string, len(services))
	for i, n := range services {
		list[i] = n.String()
	}
	to := "ip daddr { " + strings.Join(list, ", ") + " }"
	return "chain refuse {\n\ttype filter hook input priority 101;\n" +
		"\t" + to + " meta l4proto tcp reject with tcp reset\n" +
		"\t" + to + " reject with icmp type port-unreachable\n}\n"
}

// Tables of ours: in the tunnel namespace, and in a member's.
const (
	tableSteer  = "sdn-tunnel-kube-router"
	tableRefuse = "sdn-tunnel-refuse"
)

// ruleset is one nftables table of family ip in a namespace.
type ruleset struct {
	namespace tunnelns.Namespace
	// rules are those that were loaded, and shown what nft showed after that: it does not
	// give a text back as it took it.
	rules, shown string
}

// sync makes the table have the rules, at one stroke, and leaves one that has them alone.
func (r *ruleset) sync(ctx context.Context, table, rules string) (changes []string, err error) {
	err = r.namespace.Do(func() error {
		before, err := nftList(ctx, table)
		if err == nil && r.rules == rules && r.shown == before {
			return nil
		}
		script := fmt.Sprintf("table ip %[1]s\ndelete table ip %[1]s\ntable ip %[1]s {\n%[2]s}\n", table, rules)
		if err := nftLoad(ctx, script); err != nil {
			return fmt.Errorf("load nftables table ip %s in %v: %w", table, r.namespace, err)
		}
		if r.shown, err = nftList(ctx, table); err != nil {
			return fmt.Errorf("list nftables table ip %s in %v: %w", table, r.namespace, err)
		}
		r.rules = rules
		if r.shown != before {
			changes = append(changes, fmt.Sprintf("nftables table ip %s loaded in %v", table, r.namespace))
		}
		return nil
	})
	return changes, err
}

// remove deletes the table if there is one.
func (r *ruleset) remove(ctx context.Context, table string) (changes []string, err error) {
	r.rules, r.shown = "", ""
	err = r.namespace.Do(func() error {
		if _, err := nftList(ctx, table); err != nil {
			return nil //nolint:nilerr // there is none
		}
		if err := nftLoad(ctx, "delete table ip "+table+"\n"); err != nil {
			return fmt.Errorf("delete nftables table ip %s in %v: %w", table, r.namespace, err)
		}
		changes = append(changes, fmt.Sprintf("nftables table ip %s deleted", table))
		return nil
	})
	return changes, err
}
