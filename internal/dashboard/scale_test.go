package dashboard

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

func TestShow(t *testing.T) {
	for _, c := range []struct {
		unit  string
		value float64
		want  string
	}{
		{"short", 0, "0"}, {"short", 4, "4"}, {"short", 0.1234, "0.123"}, {"short", 12345, "12.3 K"}, {"short", 2e6, "2 Mil"},
		{"percentunit", 1, "100%"}, {"percentunit", 0.98765, "98.8%"}, {"percentunit", 0, "0%"},
		{"Bps", 0, "0 B/s"}, {"Bps", 999, "999 B/s"}, {"Bps", 1500, "1.5 kB/s"}, {"Bps", -2.5e6, "-2.5 MB/s"},
		{"s", 0.00025, "250 µs"}, {"s", 0.01234, "12.3 ms"}, {"s", 90, "90 s"}, {"s", 600, "10 min"}, {"s", 7200, "2 h"}, {"s", 30 * 86400, "30 d"},
	} {
		if got := Show(c.unit, c.value); got != c.want {
			t.Errorf("%v of %s is %q, want %q", c.value, c.unit, got, c.want)
		}
	}
}

func TestScale(t *testing.T) {
	for _, c := range []struct {
		unit      string
		low, high float64
		want      string
	}{
		{"short", 0, 0, "0 1"}, {"short", 2, 2, "0 1 2"}, {"short", 0, 4, "0 1 2 3 4"}, {"short", 0, 7, "0 2 4 6 8"},
		{"short", 0, 0.3, "0 0.1 0.2 0.3"}, {"percentunit", 0, 0, "0% 50% 100%"}, {"percentunit", 0, 0.5, "0% 20% 40% 60%"},
		{"s", 0, 0.9, "0 ms|500 ms|1000 ms"}, {"s", 0, 180, "0 min|1 min|2 min|3 min"}, {"Bps", -20e3, 185e3, "-100 kB/s|0 kB/s|100 kB/s|200 kB/s"},
	} {
		s := scaleOf(c.unit, c.low, c.high, 4)
		var ticks []string
		for _, tick := range s.ticks {
			ticks = append(ticks, s.unit.show(tick))
		}
		sep := " "
		if strings.Contains(c.want, "|") {
			sep = "|"
		}
		if got := strings.Join(ticks, sep); got != c.want {
			t.Errorf("%s from %v to %v: %q, want %q", c.unit, c.low, c.high, got, c.want)
		}
	}
}

// TestScaleHoldsAll: whatever the values, they and zero lie on the axis, and it has a few
// lines, none of which has the number of another.
func TestScaleHoldsAll(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		a := math.Pow(10, 12*random.Float64()-6) * (random.Float64() - 0.3)
		b := math.Pow(10, 12*random.Float64()-6) * random.Float64()
		for _, unit := range units() {
			s := scaleOf(unit, min(a, b), max(a, b), 4)
			if slack := 1e-8 * (math.Abs(a) + math.Abs(b)); s.low > min(a, b, 0)+slack || s.high < max(a, b, 0)-slack || len(s.ticks) < 2 || len(s.ticks) > 7 {
				t.Fatalf("%s %v %v: from %v to %v, ticks %v", unit, a, b, s.low, s.high, s.ticks)
			}
			seen := map[string]bool{}
			for _, tick := range s.ticks {
				text := s.unit.show(tick)
				if seen[text] || tick < s.low-1e-9*math.Abs(s.low) || tick > s.high+1e-9*math.Abs(s.high) {
					t.Fatalf("%s %v %v: tick %v, %q", unit, a, b, tick, text)
				}
				seen[text] = true
			}
		}
	}
}

func TestTimeTicks(t *testing.T) {
	for _, c := range []struct {
		long  time.Duration
		most  int
		first string
		ticks int
	}{
		{5 * time.Minute, 10, "12:01", 5}, {12 * time.Minute, 5, "12:05", 2}, {3 * time.Hour, 6, "12:30", 6},
	} {
		from := start.Add(30 * time.Second)
		got := timeTicks(Window{From: from, To: from.Add(c.long)}, c.most)
		if len(got) != c.ticks || got[0].Format("15:04") != c.first {
			t.Errorf("%s: %v", c.long, got)
		}
	}
}
