package table

import (
	"fmt"
	"time"
)

// Bits shows bits per second.
func Bits(perSecond float64) string {
	for _, unit := range []string{"bit/s", "kbit/s", "Mbit/s"} {
		if perSecond < 999.5 {
			return fmt.Sprintf("%.3g %s", perSecond, unit)
		}
		perSecond /= 1000
	}
	return fmt.Sprintf("%.3g Gbit/s", perSecond)
}

// Milliseconds shows a round-trip time.
func Milliseconds(d time.Duration) string {
	ms := float64(d.Microseconds()) / 1000
	if ms < 9.995 {
		return fmt.Sprintf("%.2f ms", ms)
	}
	return fmt.Sprintf("%.0f ms", ms)
}
