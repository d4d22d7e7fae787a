package svcproxy

import (
	"net/netip"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/sdn-tunnel/sdn-tunnel/internal/remoteservice"
)

// TestLookup: what is in the kernel is found, and what is not is known not to be.
func TestLookup(t *testing.T) {
	w := newWorld(t)
	key := remoteservice.Key{Addr: netip.MustParseAddr(vip), Protocol: corev1.ProtocolTCP, Port: 80}
	if _, _, err := Lookup(t.Context(), w.Tunnel, key); err == nil {
		t.Error("a table that is not there is no error")
	}
	tell(w.part)
	apply(t, w.part)
	for k, s := range w.part.table.program.services {
		if s.affinity > 0 {
			continue
		}
		got, known, err := Lookup(t.Context(), w.Tunnel, k)
		slices.SortFunc(got, netip.AddrPort.Compare)
		if want := slices.SortedFunc(slices.Values(s.backends), netip.AddrPort.Compare); err != nil || !known || !slices.Equal(got, want) {
			t.Errorf("%v: %v, %v, %v; want %v", k, got, known, err, want)
		}
	}
	key.Port = 9
	if got, known, err := Lookup(t.Context(), w.Tunnel, key); known || err != nil || len(got) > 0 {
		t.Errorf("a port that no service has: %v, %v, %v", got, known, err)
	}
}
