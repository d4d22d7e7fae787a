package table

import (
	"testing"
	"time"
)

func TestQuantities(t *testing.T) {
	for bits, want := range map[float64]string{0: "0 bit/s", 7: "7 bit/s", 999.6: "1 kbit/s", 1536: "1.54 kbit/s", 999_400: "999 kbit/s", 25_000_000: "25 Mbit/s", 12e9: "12 Gbit/s"} {
		if got := Bits(bits); got != want {
			t.Errorf("%v: %s, want %s", bits, got, want)
		}
	}
	for d, want := range map[time.Duration]string{0: "0.00 ms", 312 * time.Microsecond: "0.31 ms", 9994 * time.Microsecond: "9.99 ms", 9996 * time.Microsecond: "10 ms", 2 * time.Second: "2000 ms"} {
		if got := Milliseconds(d); got != want {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
	}
}
