// Command sdn-tunnel links the pod networks of clusters.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	sdntunnel "github.com/sdn-tunnel/sdn-tunnel"
	"github.com/sdn-tunnel/sdn-tunnel/internal/cli"
	"github.com/sdn-tunnel/sdn-tunnel/internal/lab/labcmd"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := cli.New(sdntunnel.Files(), labcmd.Commands()).RunContext(ctx, os.Args)
	interrupted := ctx.Err() != nil
	stop()
	if err != nil && err.Error() != "" { // a command that was run has said what was wrong itself
		fmt.Fprintln(os.Stderr, "sdn-tunnel:", err)
	}
	os.Exit(cli.ExitCode(err, interrupted))
}
