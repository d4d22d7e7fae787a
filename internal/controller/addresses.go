package controller

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"

	"github.com/sdn-tunnel/sdn-tunnel/api/v1alpha1"
)

// errPoolFull: every address of the member's tunnelCIDR is taken.
var errPoolFull = errors.New("no tunnel address is free")

// addresses hands out tunnel addresses: stable, unique, and free again when the node
// is gone. It remembers what it gave, since reads may lag behind writes.
type addresses struct {
	mu    sync.Mutex
	given map[string]netip.Addr
	full  map[string]error // nodes for which there is none, and why
}

// assign gives the address of node: the one it has, if it is rightly its own, else the
// lowest that is free. known are the TunnelNodes of the own member.
func (a *addresses) assign(pool netip.Prefix, node string, known []v1alpha1.TunnelNode) (netip.Addr, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.given == nil {
		a.given, a.full = map[string]netip.Addr{}, map[string]error{}
	}
	delete(a.full, node)
	holders := holders(pool, known)
	for other, addr := range a.given {
		if _, taken := holders[addr]; !taken && pool.Contains(addr) {
			holders[addr] = other
		}
	}
	for addr, holder := range holders {
		if holder == node {
			a.given[node] = addr
			return addr, nil
		}
	}
	addr, err := lowestFree(pool, holders)
	if err != nil {
		delete(a.given, node)
		a.full[node] = err
		return addr, err
	}
	a.given[node] = addr
	return addr, nil
}

// release frees the address of a node that is gone.
func (a *addresses) release(node string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.given, node)
	delete(a.full, node)
}

// without are the nodes for which no address is left, and why, in order.
func (a *addresses) without() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	var out []string
	for _, node := range slices.Sorted(maps.Keys(a.full)) {
		out = append(out, fmt.Sprintf("node %s: %v", node, a.full[node]))
	}
	return out
}

// holders tells whose each address is; of two nodes with the same, the older one's.
func holders(pool netip.Prefix, known []v1alpha1.TunnelNode) map[netip.Addr]string {
	byAge := slices.Clone(known)
	slices.SortFunc(byAge, func(a, b v1alpha1.TunnelNode) int {
		return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.Name, b.Name))
	})
	out := make(map[netip.Addr]string, len(byAge))
	for i := range byAge {
		addr, err := netip.ParseAddr(byAge[i].Spec.TunnelAddress)
		if err != nil || !usable(pool, addr) {
			continue
		}
		if _, taken := out[addr]; !taken {
			out[addr] = byAge[i].Spec.Node
		}
	}
	return out
}

// usable: in the pool, and neither the network's nor the broadcast address.
func usable(pool netip.Prefix, addr netip.Addr) bool {
	if !pool.Contains(addr) || addr == pool.Masked().Addr() {
		return false
	}
	return !addr.Is4() || pool.Contains(addr.Next())
}

func lowestFree(pool netip.Prefix, taken map[netip.Addr]string) (netip.Addr, error) {
	for addr := pool.Masked().Addr().Next(); pool.Contains(addr); addr = addr.Next() {
		if _, ok := taken[addr]; !ok && usable(pool, addr) {
			return addr, nil
		}
	}
	return netip.Addr{}, fmt.Errorf("%w in spec.tunnelCIDR %s (%d are taken): deploy with a larger tunnel_pool", errPoolFull, pool, len(taken))
}
