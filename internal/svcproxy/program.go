package svcproxy

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"strconv"

	"sigs.k8s.io/knftables"

	"github.com/sdn-tunnel/sdn-tunnel/internal/remoteservice"
)

// program is what the table holds: the services with backends, and the chains that they
// go through. It turns what should be into the elements that differ.
type program struct {
	services map[remoteservice.Key]slots
	chains   map[chain]int // how many services go through each
}

func newProgram() *program {
	return &program{services: map[remoteservice.Key]slots{}, chains: map[chain]int{}}
}

// slots are the backends of a service by index.
type slots struct {
	backends []netip.AddrPort
	affinity int32
}

func (s slots) chain() chain { return chain{len(s.backends), s.affinity} }

// slotsOf gives a service its slots; those that stay keep the index that they have in
// before. There are none for what this table cannot hold: it is of family ip.
func slotsOf(k remoteservice.Key, b remoteservice.Backends, before slots) slots {
	use := b.Use
	if !k.Addr.Is4() {
		use = nil
	}
	if b.Affinity > 0 { // the address is the identifier
		use = slices.CompactFunc(slices.Clone(use), func(a, b netip.AddrPort) bool { return a.Addr() == b.Addr() })
	}
	return slots{arrange(before.backends, use), b.Affinity}
}

// arrange puts want in an order in which as few as possible are elsewhere than in before:
// new ones take the place of those that are gone, then the last ones do.
func arrange(before, want []netip.AddrPort) []netip.AddrPort {
	isNew := make(map[netip.AddrPort]bool, len(want))
	for _, w := range want {
		isNew[w] = true
	}
	out := make([]netip.AddrPort, 0, max(len(before), len(want)))
	var holes []int
	for i, b := range before {
		out = append(out, b)
		if !isNew[b] {
			holes = append(holes, i)
		}
		delete(isNew, b)
	}
	for _, w := range want {
		switch {
		case !isNew[w]:
		case len(holes) > 0:
			out[holes[0]], holes = w, holes[1:]
		default:
			out = append(out, w)
		}
	}
	for _, hole := range slices.Backward(holes) {
		last := len(out) - 1
		out[hole], out = out[last], out[:last]
	}
	return out
}

// place is where an element is: a map and a key in it.
type place struct{ where, key string }

// placed is an element in its place.
type placed struct {
	place
	value string
}

func (e placed) element() *knftables.Element {
	return &knftables.Element{Map: e.where, Key: []string{e.key}, Value: []string{e.value}}
}

// elements are all that stands in the maps for a service, in order; none without backends.
func elements(k remoteservice.Key, s slots) []placed {
	if len(s.backends) == 0 {
		return nil
	}
	key := text(k)
	all := make([]placed, 0, 1+2*len(s.backends))
	all = append(all, placed{place{mapServices, key}, "goto " + s.chain().name()})
	for i, b := range s.backends {
		mark := uint32(i)
		if s.affinity > 0 {
			all = append(all, placed{place{mapIDs, key + " . " + number(mark)}, number(id(b))})
			mark = id(b)
		}
		all = append(all, placed{place{mapBackends, key + " . " + number(mark)}, b.Addr().String() + " . " + number(uint32(b.Port()))})
	}
	return all
}

// fill adds everything to maps that are empty; before that, prepare adds the chains.
func (p *program) fill(prepare, tx *knftables.Transaction, all map[remoteservice.Key]remoteservice.Backends) {
	lists := map[string][]placed{}
	for _, k := range slices.SortedFunc(maps.Keys(all), remoteservice.Key.Compare) {
		s := slotsOf(k, all[k], slots{})
		if len(s.backends) == 0 {
			continue
		}
		p.services[k] = s
		p.chains[s.chain()]++
		for _, e := range elements(k, s) {
			lists[e.where] = append(lists[e.where], e)
		}
	}
	for _, c := range slices.SortedFunc(maps.Keys(p.chains), compareChains) {
		addChain(prepare, c)
	}
	for _, where := range slices.Sorted(maps.Keys(lists)) {
		addAll(tx, lists[where])
	}
}

// change makes the services that are named as they should be, and leaves all others;
// before that, prepare adds the chains.
func (p *program) change(prepare, tx *knftables.Transaction, some map[remoteservice.Key]remoteservice.Backends) {
	var gone, fresh []placed
	for _, k := range slices.SortedFunc(maps.Keys(some), remoteservice.Key.Compare) {
		was := p.services[k]
		is := slotsOf(k, some[k], was)
		if len(is.backends) > 0 {
			if p.chains[is.chain()] == 0 {
				addChain(prepare, is.chain())
			}
			p.chains[is.chain()]++
			p.services[k] = is
		} else {
			delete(p.services, k)
		}
		if len(was.backends) > 0 {
			p.chains[was.chain()]--
		}
		before, after := elements(k, was), elements(k, is)
		gone, fresh = append(gone, without(before, after)...), append(fresh, without(after, before)...)
	}
	// An element whose value changes is deleted and added, for nft has no other way;
	// within one transaction nobody sees it missing.
	for _, e := range gone {
		tx.Delete(e.element())
	}
	for _, e := range fresh {
		tx.Add(e.element())
	}
	for _, c := range slices.SortedFunc(maps.Keys(p.chains), compareChains) {
		if p.chains[c] == 0 {
			tx.Delete(&knftables.Chain{Name: c.name()})
			delete(p.chains, c)
		}
	}
}

// without are those of all that are not, with the same value, among others.
func without(all, others []placed) (out []placed) {
	there := make(map[placed]bool, len(others))
	for _, o := range others {
		there[o] = true
	}
	for _, e := range all {
		if !there[e] {
			out = append(out, e)
		}
	}
	return out
}

func compareChains(a, b chain) int {
	return cmp.Or(cmp.Compare(a.affinity, b.affinity), cmp.Compare(a.backends, b.backends))
}

func number(n uint32) string { return strconv.FormatUint(uint64(n), 10) }
