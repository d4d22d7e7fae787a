package controller

import (
	"errors"
	"net/netip"
	"testing"

	"github.com/sdn-tunnel/sdn-tunnel/api/v1alpha1"
)

func TestAddresses(t *testing.T) {
	holder := func(node string, age int, address string) v1alpha1.TunnelNode {
		return *tunnel("east", node, age, 1, "10.128.0.0/23", address)
	}
	for _, tt := range []struct {
		name, pool string
		known      []v1alpha1.TunnelNode
		node, want string // "": the pool is full
	}{
		{"the first is neither the network's address nor taken", "100.127.0.0/22", nil, "a", "100.127.0.1"},
		{"what a node has stays", "100.127.0.0/22", []v1alpha1.TunnelNode{holder("a", 1, "100.127.0.9")}, "a", "100.127.0.9"},
		{"gaps are filled", "100.127.0.0/22", []v1alpha1.TunnelNode{holder("b", 1, "100.127.0.1"), holder("c", 2, "100.127.0.3")}, "a", "100.127.0.2"},
		{"of two with the same, the older keeps it", "100.127.0.0/22", []v1alpha1.TunnelNode{holder("a", 1, "100.127.0.1"), holder("b", 2, "100.127.0.1")}, "a", "100.127.0.1"},
		{"and the younger gets another", "100.127.0.0/22", []v1alpha1.TunnelNode{holder("a", 2, "100.127.0.1"), holder("b", 1, "100.127.0.1")}, "a", "100.127.0.2"},
		{"of the same age, the first by name", "100.127.0.0/22", []v1alpha1.TunnelNode{holder("b", 1, "100.127.0.1"), holder("a", 1, "100.127.0.1")}, "b", "100.127.0.2"},
		{"an address outside the pool is replaced", "100.127.4.0/22", []v1alpha1.TunnelNode{holder("a", 1, "100.127.0.9")}, "a", "100.127.4.1"},
		{"the network's address is replaced", "100.127.0.0/22", []v1alpha1.TunnelNode{holder("a", 1, "100.127.0.0")}, "a", "100.127.0.1"},
		{"nonsense is replaced", "100.127.0.0/22", []v1alpha1.TunnelNode{holder("a", 1, "x")}, "a", "100.127.0.1"},
		{"the broadcast address is not handed out", "100.127.0.0/30", []v1alpha1.TunnelNode{holder("b", 1, "100.127.0.1"), holder("c", 1, "100.127.0.2")}, "a", ""},
		{"IPv6 has no broadcast address", "fd00::/127", nil, "a", "fd00::1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var a addresses
			got, err := a.assign(netip.MustParsePrefix(tt.pool), tt.node, tt.known)
			if tt.want == "" {
				if !errors.Is(err, errPoolFull) || len(a.without()) != 1 {
					t.Errorf("got %v, %v", got, err)
				}
				return
			}
			if err != nil || got.String() != tt.want {
				t.Errorf("got %v, %v; want %s", got, err, tt.want)
			}
		})
	}
}

// TestAddressesBeforeTheyAreRead: what was handed out is taken before the cache shows
// it, until it is released.
func TestAddressesBeforeTheyAreRead(t *testing.T) {
	var a addresses
	pool := netip.MustParsePrefix("100.127.0.0/22")
	for _, step := range []struct{ node, want string }{{"a", "100.127.0.1"}, {"b", "100.127.0.2"}, {"a", "100.127.0.1"}} {
		if got, err := a.assign(pool, step.node, nil); err != nil || got.String() != step.want {
			t.Errorf("%s: %v, %v", step.node, got, err)
		}
	}
	a.release("a")
	if got, err := a.assign(pool, "c", nil); err != nil || got.String() != "100.127.0.1" {
		t.Errorf("c: %v, %v", got, err)
	}
}
