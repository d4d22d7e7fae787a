// Command gen prints docs/metrics.md.
package main

import (
	"fmt"
	"os"

	"github.com/sdn-tunnel/sdn-tunnel/internal/metricdoc"
)

func main() {
	if err := metricdoc.Write(os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "metrics:", err)
		os.Exit(1)
	}
}
