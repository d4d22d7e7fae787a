// Command sdn-tunnel-agent keeps one node's tunnels as planned. It runs on every node,
// in the node's own network namespace.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"syscall"
)

// The goroutine of main alone runs on the process's first thread, which the kernel takes
// for the process itself and Go cannot end: one that enters a network namespace and
// cannot come back must be on another.
func init() { runtime.LockOSThread() }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	err := app().RunContext(ctx, os.Args)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "sdn-tunnel-agent:", err)
		os.Exit(1)
	}
}
