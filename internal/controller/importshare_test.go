package controller

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/sdn-tunnel/sdn-tunnel/internal/clusterset"
)

func TestRoomIn(t *testing.T) {
	for networks, want := range map[string]room{
		"":                            {1024, 512},
		"172.30.0.0/16":               {16384, 8192},
		"172.30.0.0/20":               {1024, 512},
		"172.30.0.0/24,172.29.0.0/24": {128, 64},
		"172.30.0.0/24,fd00::/108":    {64, 32}, // Services have addresses of the first one's family
		"fd00::/108,172.30.0.0/24":    {1 << 18, 1 << 17},
		"fd00::/64":                   {1 << 22, 1 << 21},
	} {
		var all []netip.Prefix
		for n := range strings.SplitSeq(networks, ",") {
			if n != "" {
				all = append(all, netip.MustParsePrefix(n))
			}
		}
		if got := roomIn(all); got != want {
			t.Errorf("%s: %+v, want %+v", networks, got, want)
		}
	}
}

// TestShares: no member has more than its share, all of them together no more than theirs,
// whoever is there stays, and whoever leaves makes room for the oldest.
func TestShares(t *testing.T) {
	s, r := newShares(), room{all: 6, member: 3}
	id := func(name string) clusterset.ID { return clusterset.ID{Namespace: "demo", Name: name} }
	export := func(age int, members ...string) (all []clusterset.Export) {
		for i, m := range members {
			all = append(all, clusterset.Export{Cluster: m, Created: time.Unix(int64(age+i), 0)})
		}
		return all
	}
	take := func(name string, there, want bool, exports []clusterset.Export) {
		t.Helper()
		if got, _ := s.take(id(name), exports, there, r); got != want {
			t.Errorf("%s: %t, want %t; taken %v", name, got, want, s.taken)
		}
	}
	for i := range 5 {
		take(fmt.Sprintf("west-%d", i), false, i < 3, export(100-i, "west"))
	}
	take("west-0", false, true, export(100, "west"))
	// West says that it is the oldest to export what south does: that is no harm to south.
	take("south-0", false, true, export(1, "west", "south"))
	if s.members["south"] != 1 || s.members["west"] != 3 {
		t.Errorf("shares %v", s.members)
	}
	take("north-0", false, true, export(1, "north"))
	take("north-1", false, true, export(2, "north"))
	take("south-1", false, false, export(3, "south")) // there is none left
	take("before", true, true, export(1, "south"))    // but nothing that is there is taken away
	if text, by := s.tooMany(); by["west"] != 2 || by["south"] != 1 || !strings.Contains(text,
		"3 services that other members export are not imported here: imports may have 6 of the addresses of this cluster's service networks, and those of one member 3; have them export fewer, or remove their namespaces here: south: demo/south-1; west: demo/west-4; west: demo/west-3") {
		t.Errorf("%v %s", by, text)
	}
	next, changed := s.leave(id("west-0"))
	if len(next) != 2 || changed {
		t.Errorf("%v are tried, %t", next, changed)
	}
	take("west-4", false, false, export(96, "west")) // there were too many
	if next, _ := s.leave(id("before")); len(next) != 2 {
		t.Errorf("%v are tried", next)
	}
	take("west-4", false, true, export(96, "west"))
	for _, gone := range []string{"west-3", "south-1"} {
		if next, changed := s.leave(id(gone)); len(next) != 0 || !changed {
			t.Errorf("%s: %v are tried, %t", gone, next, changed)
		}
	}
	if text, by := s.tooMany(); text != "" || len(by) != 0 {
		t.Errorf("%v %s", by, text)
	}
}
