package svcproxy

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/knftables"

	"github.com/sdn-tunnel/sdn-tunnel/internal/golden"
	"github.com/sdn-tunnel/sdn-tunnel/internal/remoteservice"
)

// backends makes services of one port with these backends, short: "1,2" is 10.132.0.1
// and .2 at port 8080.
func backends(affinity int32, list string) remoteservice.Backends {
	b := remoteservice.Backends{Affinity: affinity}
	for e := range strings.SplitSeq(list, ",") {
		if e != "" {
			b.Use = append(b.Use, netip.MustParseAddrPort("10.132.0."+e+":8080"))
		}
	}
	b.Serve = b.Use
	return b
}

func key(n int) remoteservice.Key {
	return remoteservice.Key{Addr: netip.AddrFrom4([4]byte{172, 31, 0, byte(n)}), Protocol: corev1.ProtocolTCP, Port: 80}
}

// TestTransactions: what nft is told, first to prepare and then to do, for one change after
// the other.
func TestTransactions(t *testing.T) {
	fake := knftables.NewFake(knftables.IPv4Family, Table)
	p := newProgram()
	var out strings.Builder
	step := func(what string, do func(prepare, tx *knftables.Transaction)) {
		prepare, tx := fake.NewTransaction(), fake.NewTransaction()
		do(prepare, tx)
		fmt.Fprintf(&out, "# %s\n%s-\n%s\n", what, prepare.String(), tx.String())
	}
	one := func(n int, b remoteservice.Backends) func(_, _ *knftables.Transaction) {
		return func(prepare, tx *knftables.Transaction) {
			p.change(prepare, tx, map[remoteservice.Key]remoteservice.Backends{key(n): b})
		}
	}
	step("from nothing: two services, one of them with affinity, and one without backends", func(prepare, tx *knftables.Transaction) {
		skeleton(prepare, "sdntun0", []netip.Prefix{netip.MustParsePrefix("172.29.0.0/16"), netip.MustParsePrefix("172.31.0.0/16")})
		p.fill(prepare, tx, map[remoteservice.Key]remoteservice.Backends{key(1): backends(0, "1,2"), key(2): backends(600, "1,2"), key(3): backends(0, "")})
	})
	step("the same again", one(1, backends(0, "1,2")))
	step("one backend for another", one(1, backends(0, "2,3")))
	step("one more", one(1, backends(0, "1,2,3")))
	step("the first one goes", one(1, backends(0, "2,3")))
	step("a service gets its first", one(3, backends(0, "1,2")))
	step("all of it go", one(1, backends(0, "")))
	step("affinity: one of two goes", one(2, backends(600, "2")))
	step("affinity: another timeout", one(2, backends(60, "2")))
	step("no affinity any more", one(2, backends(0, "2")))
	golden.Check(t, "transactions.txt", out.String())
}

// TestOtherFamily: the table is of family ip.
func TestOtherFamily(t *testing.T) {
	k := remoteservice.Key{Addr: netip.MustParseAddr("fd01::1"), Protocol: corev1.ProtocolTCP, Port: 80}
	s := slotsOf(k, remoteservice.Backends{Use: []netip.AddrPort{netip.MustParseAddrPort("[fd02::1]:80")}}, slots{})
	if len(s.backends) > 0 || elements(k, s) != nil {
		t.Errorf("an IPv6 service has slots %v", s)
	}
}

// TestOneAddressTwice: with affinity an address identifies a backend.
func TestOneAddressTwice(t *testing.T) {
	b := remoteservice.Backends{Use: []netip.AddrPort{netip.MustParseAddrPort("10.132.0.1:80"), netip.MustParseAddrPort("10.132.0.1:81")}}
	if s := slotsOf(key(1), b, slots{}); len(s.backends) != 2 {
		t.Errorf("without affinity: %v", s)
	}
	b.Affinity = 60
	if s := slotsOf(key(1), b, slots{}); len(s.backends) != 1 {
		t.Errorf("with affinity: %v", s)
	}
}

// contents are what transactions leave in the maps and which chains there are.
type contents struct {
	elements map[place]string
	chains   map[string]bool
}

// run plays a transaction as the kernel would: it refuses to add what is there, to delete
// what is not, and to lead to a chain that an earlier transaction has not made.
func (c contents) run(t *testing.T, tx *knftables.Transaction) {
	t.Helper()
	before := maps.Clone(c.chains)
	for line := range strings.SplitSeq(strings.ReplaceAll(strings.TrimSpace(tx.String()), ",\n", ", "), "\n") {
		f := strings.Fields(line)
		switch {
		case len(f) == 0 || f[1] == "rule" || f[0] == "flush":
		case f[1] == "chain":
			if f[0] == "delete" && !c.chains[f[4]] {
				t.Fatalf("%s: there is none", line)
			}
			c.chains[f[4]] = f[0] == "add"
		default:
			body := strings.TrimSuffix(strings.SplitN(line, "{ ", 2)[1], " }")
			for e := range strings.SplitSeq(body, ", ") {
				k, value, _ := strings.Cut(e, " : ")
				at := place{f[4], k}
				if _, there := c.elements[at]; there == (f[0] == "add") {
					t.Fatalf("%s: there: %v", line, there)
				}
				if name, ok := strings.CutPrefix(value, "goto "); ok && !before[name] {
					t.Fatalf("%s: chain %s is not there yet", line, name)
				}
				if c.elements[at] = value; f[0] == "delete" {
					delete(c.elements, at)
				}
			}
		}
	}
}

// tidy: the chains that are there are those that services are led to.
func (c contents) tidy(t *testing.T) {
	t.Helper()
	used := map[string]bool{}
	for at, value := range c.elements {
		if name, ok := strings.CutPrefix(value, "goto "); ok && at.where == mapServices {
			used[name] = true
		}
	}
	for name, there := range c.chains {
		if there != used[name] {
			t.Fatalf("chain %s is there: %v, used: %v", name, there, used[name])
		}
	}
}

// TestIncremental: after any changes the maps hold for each service, up to the order of its
// backends, what a load from nothing puts there.
func TestIncremental(t *testing.T) {
	fake := knftables.NewFake(knftables.IPv4Family, Table)
	for seed := range uint64(50) {
		r := rand.New(rand.NewPCG(seed, 3))
		p, c := newProgram(), contents{map[place]string{}, map[string]bool{}}
		want := map[remoteservice.Key]remoteservice.Backends{}
		anything := func() remoteservice.Backends {
			b := backends([]int32{0, 0, 60, 600}[r.IntN(4)], "")
			for e := range 6 {
				if r.IntN(2) == 0 {
					b.Use = append(b.Use, netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 132, 0, byte(e)}), 8080))
				}
			}
			return b
		}
		for i := range 4 {
			want[key(i)] = anything()
		}
		prepare, tx := fake.NewTransaction(), fake.NewTransaction()
		p.fill(prepare, tx, want)
		c.run(t, prepare)
		c.run(t, tx)
		c.tidy(t)
		for range 30 {
			some := map[remoteservice.Key]remoteservice.Backends{key(r.IntN(6)): anything(), key(r.IntN(6)): anything()}
			prepare, tx := fake.NewTransaction(), fake.NewTransaction()
			p.change(prepare, tx, some)
			c.run(t, prepare)
			c.run(t, tx)
			c.tidy(t)
			for k, b := range some {
				want[k] = b
			}
		}
		total := 0
		for k, b := range want {
			s := p.services[k]
			got := slices.SortedFunc(slices.Values(s.backends), netip.AddrPort.Compare)
			if !slices.Equal(got, b.Use) || len(b.Use) > 0 && s.affinity != b.Affinity {
				t.Fatalf("%v has %v, want %v", k, s, b)
			}
			for _, e := range elements(k, s) {
				if total++; c.elements[e.place] != e.value {
					t.Fatalf("%v is %q, want %q", e.place, c.elements[e.place], e.value)
				}
			}
		}
		if total != len(c.elements) {
			t.Fatalf("%d elements, want %d", len(c.elements), total)
		}
	}
}

func FuzzArrange(f *testing.F) {
	f.Add([]byte{1, 2, 3}, []byte{2, 3, 4})
	f.Add([]byte{1, 2, 3, 4, 5}, []byte{5})
	f.Fuzz(func(t *testing.T, before, want []byte) {
		old, now := distinct(before), distinct(want)
		got := arrange(old, now)
		if !slices.Equal(slices.SortedFunc(slices.Values(got), netip.AddrPort.Compare), now) {
			t.Fatalf("arranged %v out of %v", got, now)
		}
		moved, fresh := 0, 0
		for i, b := range got {
			switch at := slices.Index(old, b); {
			case at < 0:
				fresh++
			case at != i:
				moved++
			}
		}
		// Only the last ones move, each into a hole that no new one fills.
		if lost := len(old) + fresh - len(got); moved > max(lost-fresh, 0) {
			t.Fatalf("%v became %v: %d moved, %d lost, %d new", old, got, moved, lost, fresh)
		}
	})
}

func distinct(in []byte) (out []netip.AddrPort) {
	for _, b := range in {
		out = append(out, netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 132, 0, b}), 8080))
	}
	slices.SortFunc(out, netip.AddrPort.Compare)
	return slices.Compact(out)
}
