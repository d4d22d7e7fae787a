package probe

import (
	"fmt"
	"math"
	"net/netip"
	"testing"
	"time"

	"github.com/sdn-tunnel/sdn-tunnel/internal/mesh"
)

func TestWindow(t *testing.T) {
	const ms = time.Millisecond
	for name, c := range map[string]struct {
		probes string // a digit: answered after so many ms; x: lost
		trip   time.Duration
		loss   float64
		n      int
		sure   bool
	}{
		"nothing yet":            {"", 0, 0, 0, false},
		"the first is taken":     {"8", 8 * ms, 0, 1, false},
		"smoothed":               {"80", 7 * ms, 0, 2, false},
		"none answered":          {"xxxx", 0, 1, 4, false},
		"a quarter":              {"8x88", 8 * ms, 0.25, 4, false},
		"enough":                 {"888888888x", 8 * ms, 0.1, 10, true},
		"loss leaves the window": {"x" + "888888888888888888888888888888", 8 * ms, 0, Window, true},
		"of the window alone":    {"8888888888xxx" + "888888888888888888888888888", 8 * ms, 0.1, Window, true},
		"all of it is lost":      {"8" + "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", 8 * ms, 1, Window, true},
		"no time at all":         {"0", 1, 0, 1, false},
	} {
		var w window
		for _, p := range c.probes {
			w.note(p != 'x', time.Duration(p-'0')*ms)
		}
		if r := w.result(); r.RoundTrip != c.trip || math.Abs(r.Loss-c.loss) > 1e-9 || r.Probes != c.n || r.Sure() != c.sure {
			t.Errorf("%s: got %+v sure %t, want %+v", name, r, r.Sure(), c)
		}
	}
}

func targets(n int) (all []Target) {
	for i := range n {
		all = append(all, Target{mesh.Ref{Cluster: "west", Node: fmt.Sprint("w", i)}, netip.AddrFrom4([4]byte{100, 127, byte(i >> 8), byte(i)})})
	}
	return all
}

func first(int) int { return 0 }

// TestRound: each target has its turn once in a round, and what comes and goes between
// takes no other one's turn.
func TestRound(t *testing.T) {
	var r round
	if a, lost := r.next(time.Time{}, nonce{}); a != nil || lost {
		t.Fatalf("nobody is probed: %v", a)
	}
	all := targets(4)
	turns := func(n int) (names string) {
		for range n {
			a, _ := r.next(time.Time{}, nonce{})
			names += a.Ref.Node + " "
		}
		return names
	}
	for _, step := range []struct {
		what  string
		aim   []Target
		start int
		n     int
		want  string
	}{
		{"from where the first round begins", all[:3], 2, 4, "w2 w0 w1 w2 "},
		{"one goes whose turn was over", []Target{all[0], all[1]}, 0, 2, "w0 w1 "},
		{"another comes last", []Target{all[3], all[0], all[1]}, 0, 3, "w0 w1 w3 "},
		{"the one whose turn it is goes", []Target{all[1], all[3]}, 0, 3, "w1 w3 w1 "},
		{"the last of all is there twice", []Target{all[3], all[3]}, 0, 2, "w3 w3 "},
		{"another address is another way", []Target{{all[3].Ref, all[0].Address}}, 0, 1, "w3 "},
	} {
		r.aim(step.aim, func(int) int { return step.start })
		if got := turns(step.n); got != step.want {
			t.Errorf("%s: %s, want %s", step.what, got, step.want)
		}
	}
	if a := r.order[0]; a.window.probes != 0 || a.Address != all[0].Address {
		t.Errorf("what was known of another way is kept: %+v", a)
	}
	if r.aim(nil, first); len(r.order)+len(r.byAddress) != 0 {
		t.Errorf("left: %+v", r)
	}
}

// TestAnswers: only the answer to the last probe of a target counts, once.
func TestAnswers(t *testing.T) {
	began := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	mine, other := targets(2)[0], targets(2)[1]
	asked, known := nonce{1, 2, 3}, nonce{}
	for name, c := range map[string]struct {
		from   netip.Addr
		number uint16
		nonce  nonce
		counts bool
	}{
		"the answer":             {mine.Address, 1, asked, true},
		"of another peer":        {other.Address, 1, asked, false},
		"of nobody":              {netip.MustParseAddr("192.0.2.1"), 1, asked, false},
		"to one before":          {mine.Address, 0, asked, false},
		"before it was asked":    {mine.Address, 1, known, false},
		"to one that comes next": {mine.Address, 2, asked, false},
	} {
		var r round
		r.aim([]Target{mine, other}, first)
		if a, lost := r.next(began, asked); a.Target != mine || lost {
			t.Fatalf("%v %t", a, lost)
		}
		a, took := r.answer(c.from, c.number, c.nonce, began.Add(5*time.Millisecond))
		if (a != nil) != c.counts || c.counts && (a.Target != mine || took != 5*time.Millisecond) {
			t.Errorf("%s: %v %v", name, a, took)
		}
		if again, _ := r.answer(c.from, c.number, c.nonce, began.Add(time.Second)); again != nil {
			t.Errorf("%s: counts twice", name)
		}
		r.next(began, asked)
		if a, lost := r.next(began.Add(2*time.Second), nonce{9}); a.Target != mine || lost == c.counts || a.window.probes != 1 {
			t.Errorf("%s: lost is %t", name, lost)
		}
		if late, _ := r.answer(mine.Address, 1, asked, began.Add(3*time.Second)); late != nil {
			t.Errorf("%s: an answer that is too late counts", name)
		}
	}
}

// TestGap: the rate is bounded, whatever the number of peers.
func TestGap(t *testing.T) {
	for n, want := range map[int]time.Duration{0: 2 * time.Second, 1: 2 * time.Second, 4: 500 * time.Millisecond, 200: 10 * time.Millisecond, 1000: 10 * time.Millisecond, 10000: 10 * time.Millisecond} {
		if got := gap(n, defaultEvery, defaultMost); got != want {
			t.Errorf("%d peers: %v, want %v", n, got, want)
		}
	}
}
