package svcproxy

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"sigs.k8s.io/knftables"

	"github.com/sdn-tunnel/sdn-tunnel/internal/remoteservice"
)

// Table is the nftables table of ours in the namespace, of family ip. It is not the one
// of package tunnelns, so that listing that stays cheap.
const Table = "sdn-tunnel-services"

// Objects of the table.
const (
	mapServices  = "services"
	mapBackends  = "backends"
	mapIDs       = "ids"
	setAffinity  = "affinity"
	chainProxy   = "proxy"
	chainRefuse  = "refuse"
	affinitySize = 65536 // clients, times services that they use
)

// service is the expression of a service's address, and mark what stands for one of its
// backends: its index, or its identifier. The mark is free to use: the kernel clears it on
// the way into the namespace, and nothing in the namespace reads it.
const (
	service  = "ip daddr . meta l4proto . th dport"
	toMarked = "dnat ip to " + service + " . meta mark map @" + mapBackends
)

// skeleton adds the table and everything in it but elements and the chains of backends.
// Clients come by the link inside; networks are those of the services, all of IPv4. What is
// there already is left as it is, but for the rules.
func skeleton(tx *knftables.Transaction, inside string, networks []netip.Prefix) {
	tx.Add(&knftables.Table{})
	tx.Add(&knftables.Map{Name: mapServices, Type: "ipv4_addr . inet_proto . inet_service : verdict"})
	tx.Add(&knftables.Map{Name: mapBackends, Type: "ipv4_addr . inet_proto . inet_service . mark : ipv4_addr . inet_service"})
	tx.Add(&knftables.Map{Name: mapIDs, Type: "ipv4_addr . inet_proto . inet_service . mark : mark"})
	tx.Add(&knftables.Set{Name: setAffinity, Type: "ipv4_addr . ipv4_addr . inet_proto . inet_service . mark",
		Flags: []knftables.SetFlag{knftables.DynamicFlag, knftables.TimeoutFlag}, Timeout: knftables.PtrTo(3 * time.Hour),
		Size: knftables.PtrTo[uint64](affinitySize)})
	tx.Add(&knftables.Chain{Name: chainProxy, Type: knftables.PtrTo(knftables.NATType),
		Hook: knftables.PtrTo(knftables.PreroutingHook), Priority: knftables.PtrTo(knftables.DNATPriority)})
	tx.Add(&knftables.Chain{Name: chainRefuse, Type: knftables.PtrTo(knftables.FilterType),
		Hook: knftables.PtrTo(knftables.InputHook), Priority: knftables.PtrTo(knftables.FilterPriority)})
	for _, chain := range []string{chainProxy, chainRefuse} {
		tx.Flush(&knftables.Chain{Name: chain})
	}
	tx.Add(&knftables.Rule{Chain: chainProxy, Rule: fmt.Sprintf(
		"iifname %q meta l4proto { tcp, udp, sctp } %s vmap @%s", inside, service, mapServices)})
	if len(networks) == 0 {
		return
	}
	list := make([]string, len(networks))
	for i, n := range networks {
		list[i] = n.String()
	}
	to := "ip daddr { " + strings.Join(list, ", ") + " }"
	tx.Add(&knftables.Rule{Chain: chainRefuse, Rule: to + " meta l4proto tcp reject with tcp reset"})
	tx.Add(&knftables.Rule{Chain: chainRefuse, Rule: to + " reject with icmp type port-unreachable"})
}

// chain is what services with the same number of backends, and the same timeout of
// affinity if they have it, go through.
type chain struct {
	backends int
	affinity int32 // seconds
}

func (c chain) name() string {
	if c.affinity > 0 {
		return fmt.Sprintf("affinity-%d-%d", c.affinity, c.backends)
	}
	return fmt.Sprintf("balance-%d", c.backends)
}

// rules choose a backend. nft 1.0 does not take a random number within the key of a map:
// so it goes by way of the mark. The first backend is for the packet that finds the one
// chosen gone, as it entered the chain just before a change.
func (c chain) rules() []string {
	switch {
	case c.affinity > 0:
		return c.affinityRules()
	case c.backends == 1:
		return []string{pick(1) + " " + toMarked}
	default:
		return []string{pick(c.backends) + " " + toMarked, pick(1) + " " + toMarked}
	}
}

func pick(n int) string {
	if n == 1 {
		return "meta mark set 0"
	}
	return fmt.Sprintf("meta mark set numgen random mod %d", n)
}

// addChain adds a chain, or makes one of that name what it should be. That is for a
// transaction before the one that leads services to it: a packet that is under way finds
// it empty as long as the former has not ended.
func addChain(tx *knftables.Transaction, c chain) {
	tx.Add(&knftables.Chain{Name: c.name()})
	tx.Flush(&knftables.Chain{Name: c.name()})
	for _, r := range c.rules() {
		tx.Add(&knftables.Rule{Chain: c.name(), Rule: r})
	}
}

// addAll adds many elements of one map by one command, as nft takes three times as long
// for as many commands: the list stands in the value of the first, where nft wants it.
func addAll(tx *knftables.Transaction, all []placed) {
	var list strings.Builder
	list.WriteString(all[0].value)
	for _, e := range all[1:] {
		list.WriteString(",\n" + e.key + " : " + e.value)
	}
	tx.Add(placed{all[0].place, list.String()}.element())
}

// text is the key as the maps have it.
func text(k remoteservice.Key) string {
	return k.Addr.String() + " . " + strings.ToLower(string(k.Protocol)) + " . " + number(uint32(k.Port))
}
