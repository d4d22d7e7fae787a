// Package uptime tells the time since the machine's start, with that in which it slept, by a
// clock that nobody sets. Go's own monotonic clock stands still while the machine sleeps, and
// means nothing in another process.
package uptime

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// Now is the time since the machine's start.
func Now() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
		panic(fmt.Sprintf("read CLOCK_BOOTTIME: %v", err)) // every kernel since 2.6.39 has it
	}
	return time.Duration(t.Nano())
}
