package wg

import (
	"testing"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

// TestSession: how old a handshake is does not depend on how the clock is set afterwards.
func TestSession(t *testing.T) {
	begin := time.Now()
	at := begin.Add
	wall := func(after time.Duration) time.Time { return at(after).Round(0) }
	const hour = time.Hour
	tests := []struct {
		what string
		told []time.Time // at each second
		age  time.Duration
		over bool
	}{
		{"none yet", []time.Time{{}}, 0, true},
		{"of before this process", []time.Time{wall(-time.Minute)}, time.Minute, false},
		{"long before this process", []time.Time{wall(-hour)}, hour, true},
		{"yet to come, when this process starts: the clock was set back", []time.Time{wall(hour)}, 0, false},
		{"new", []time.Time{wall(-time.Minute), wall(time.Second)}, 0, false},
		{"new, and then the clock was set forward", []time.Time{wall(-time.Minute), wall(time.Second - hour)}, 0, false},
		{"new, and then the clock was set back", []time.Time{wall(-time.Minute), wall(time.Second + hour)}, 0, false},
	}
	for _, tt := range tests {
		var s session
		var now time.Time
		for i, told := range tt.told {
			now = at(time.Duration(i) * time.Second)
			s.look(told, now)
		}
		age := now.Sub(s.shook)
		if s.over(now) != tt.over || !s.shook.IsZero() && (age-tt.age).Abs() > time.Millisecond {
			t.Errorf("%s: age %v, over %v; want %v, %v", tt.what, age, s.over(now), tt.age, tt.over)
		}
	}
}

// TestLapsed: a peer is made anew once, when its session is over and it is silent.
func TestLapsed(t *testing.T) {
	w := ways{}
	p, have := peer(1, at1), there(peer(1, at1), time.Second)
	step := func(after time.Duration, what string, lapsed bool) {
		t.Helper()
		wanted := []want{p}
		w.look(wanted, []wgtypes.Peer{have}, now.Add(after))
		if got := w.lapsed(wanted, now.Add(after)); (len(got) > 0) != lapsed {
			t.Errorf("%s: lapsed %v, want %t", what, got, lapsed)
		}
	}
	have.ReceiveBytes = 148
	step(0, "at first", false)
	step(rejectAfter-time.Second, "silent, but its session may be alive", false)
	step(rejectAfter, "over", true)
	w[p.PublicKey].received, have.ReceiveBytes, have.LastHandshakeTime = 0, 0, time.Time{} // made anew
	step(rejectAfter+retry+time.Second, "made anew and not heard from", false)
	step(rejectAfter+time.Hour, "much later", false)
	have.ReceiveBytes, have.LastHandshakeTime = 92, now.Add(2*time.Hour)
	step(2*time.Hour, "heard again", false)
	have.ReceiveBytes = 184
	step(2*time.Hour+rejectAfter+time.Second, "over, but heard this moment", false)
	step(2*time.Hour+rejectAfter+retry+2*time.Second, "over and silent", true)

	w = ways{}
	have.LastHandshakeTime = now.Add(-time.Hour)
	step(0, "a process that starts when the clock says that it is over", false)
	step(silence, "may yet be heard", false)
	step(silence+time.Second, "is over indeed", true)
}

func TestClockSet(t *testing.T) {
	var c clock
	begin := time.Now()
	if by := c.setBy(begin); by != 0 {
		t.Errorf("at first: set by %v", by)
	}
	if by := c.setBy(begin.Add(time.Hour)); by != 0 {
		t.Errorf("time that has passed: set by %v", by)
	}
}

// TestRenewed makes a peer anew whose session is over: it has another session at once, and
// what it has carried is not forgotten.
func TestRenewed(t *testing.T) {
	a, b := pair(t)
	a.apply(t, a.plan(b))
	b.apply(t, b.plan(a))
	if out, err := in(a.tunnel, "ping -c 3 -i 0.1 -W 3 %s", b.tunnelAddr); err != nil {
		t.Fatalf("ping: %v\n%s", err, out)
	}
	state := func() PeerState {
		t.Helper()
		states, err := a.wg.Peers(t.Context())
		if err != nil || len(states) != 1 {
			t.Fatalf("peers %+v, %v", states, err)
		}
		return states[0]
	}
	before := state()
	for _, w := range a.wg.ways {
		w.session.shook, w.heard = w.session.shook.Add(-rejectAfter), w.heard.Add(-2*retry)
	}
	if a.wg.drifted() {
		t.Error("a peer made anew is taken for drift")
	}
	for _, w := range a.wg.ways {
		if w.received != 0 || w.past.rx != before.RxBytes {
			t.Errorf("not made anew: %+v", w)
		}
	}
	if now := state(); now.RxBytes < before.RxBytes || now.TxBytes < before.TxBytes || now.LastHandshake.IsZero() {
		t.Errorf("%+v; before %+v", now, before)
	}
	if out, err := in(a.tunnel, "ping -c 1 -W 10 %s", b.tunnelAddr); err != nil {
		t.Fatalf("no session again: %v\n%s", err, out)
	}
	if now := state(); !now.Up(time.Now()) || a.wg.drifted() {
		t.Errorf("after all: %+v", now)
	}
}
