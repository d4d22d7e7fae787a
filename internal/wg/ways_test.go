package wg

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

// TestWaysDue: flows are forgotten for a while after a change, and while a peer is silent.
func TestWaysDue(t *testing.T) {
	one, two := peer(1, at1), peer(2, at2)
	w := ways{}
	received := map[byte]int64{}
	step := func(after time.Duration, what string, due ...want) {
		t.Helper()
		have := []wgtypes.Peer{there(one, time.Second), there(two, time.Second)}
		for i := range have {
			have[i].ReceiveBytes = received[have[i].PublicKey[0]]
		}
		var ends []netip.AddrPort
		for _, p := range due {
			ends = append(ends, p.endpoint)
		}
		wanted := []want{one, two}
		w.look(wanted, have, now.Add(after))
		if got := w.due(wanted, now.Add(after)); !slices.Equal(got, ends) {
			t.Errorf("%s: %v due, want %v", what, got, ends)
		}
	}
	step(0, "at first")
	w.changed([]want{two}, now.Add(time.Second))
	step(time.Second, "a change", two)
	step(settling, "still settling", two)
	received[2]++
	step(settling+2*time.Second, "settled")
	step(silence+time.Second, "the other has been silent from the start", one)
	step(silence+2*time.Second, "not more often than it tries")
	received[1]++
	step(silence+retry+2*time.Second, "heard again")
}

// TestAstray: WireGuard follows a peer to where it hears it; that is left alone as long as
// it goes on hearing it.
func TestAstray(t *testing.T) {
	w := ways{}
	p, have := peer(1, at1), there(peer(1, at2), time.Second)
	step := func(after time.Duration, what string, astray bool) {
		t.Helper()
		wanted := []want{p}
		w.look(wanted, []wgtypes.Peer{have}, now.Add(after))
		if wanted[0].astray != astray {
			t.Errorf("%s: astray %v", what, wanted[0].astray)
		}
	}
	step(0, "at first", false)
	step(silence, "no longer silent than a living peer may be", false)
	step(silence+time.Second, "silent", true)
	have.ReceiveBytes++
	step(silence+2*time.Second, "heard again", false)

	start := silence + 3*time.Second
	w.changed([]want{p.movedNow()}, now.Add(start))
	have.ReceiveBytes++
	step(start, "moved, and heard since", false)
	step(start+pause/2, "moved, a short look later", false)
	step(start+pause, "moved, and not heard since", true)
	have.ReceiveBytes++
	step(start+2*pause, "moved, heard again", false)
	step(start+settling, "settled, and not silent for long", false)

	have.ReceiveBytes++
	step(rejectAfter, "no session any more", true)
}

func TestOtherWay(t *testing.T) {
	have := []wgtypes.Peer{there(peer(1, at1), time.Second), there(peer(2, at2), time.Second)}
	wanted := []want{peer(1, at1), peer(2, at3).movedNow(), peer(3, at3)}
	keys := func(ws []want) (ks []byte) {
		for _, w := range ws {
			ks = append(ks, w.PublicKey[0])
		}
		return ks
	}
	if got := keys(otherWay(wanted, have, false)); !slices.Equal(got, []byte{2, 3}) {
		t.Errorf("peers %v go another way, want the moved one and the new one", got)
	}
	if got := keys(otherWay(wanted, have, true)); len(got) != 3 {
		t.Errorf("with another port of ours peers %v go another way, want all", got)
	}
}

// TestServiceGone: both nodes were reached by a service's address, which is then no more;
// the nodes' connection tracking still translates what they send to each other.
func TestServiceGone(t *testing.T) {
	a, b := pair(t)
	service := map[*testNode]string{a: "198.51.100.1", b: "198.51.100.2"}
	other := map[*testNode]*testNode{a: b, b: a}
	each := func(format string, args func(x, y *testNode) []any) {
		t.Helper()
		for x, y := range other {
			if out, err := in(x.node, format, args(x, y)...); err != nil {
				t.Fatal(err, out)
			}
		}
	}
	each(`nft 'table ip service { chain in { type nat hook prerouting priority -100; ip daddr %s udp dport 5555 dnat to %s:5555; }; }
		table ip others { chain in { type nat hook prerouting priority -100; udp dport 1 dnat to 192.0.2.3; }; }'
		ip route add %s/32 via %s`, func(x, y *testNode) []any { return []any{service[x], x.underlay, service[y], y.underlay} })
	each("echo | socat -u - UDP4:%s:5555,sourceport=5555", func(_, y *testNode) []any { return []any{service[y]} })
	each("nft delete table ip service && ip route replace blackhole %s/32", func(_, y *testNode) []any { return []any{service[y]} })
	for x, y := range other {
		x.apply(t, x.plan(y))
	}
	if out, err := in(a.tunnel, "for i in 1 2 3 4 5 6 7 8; do ping -c 1 -W 1 %s && exit; done; exit 1", b.tunnelAddr); err != nil {
		for x := range other {
			tracked, _ := in(x.node, "conntrack -L -p udp")
			t.Logf("%s tracks:\n%s", x.underlay, tracked)
		}
		t.Fatalf("no answer after the services are gone: %v\n%s", err, out)
	}
}

// TestRest: up to a thousand peers are looked at as often as is asked for, more of them more
// seldom.
func TestRest(t *testing.T) {
	for peers, want := range map[int]time.Duration{0: time.Second, 1000: time.Second, 10000: 7 * time.Second} {
		if got := Rest(time.Second, peers); got != want {
			t.Errorf("%d peers: %v, want %v", peers, got, want)
		}
	}
}
