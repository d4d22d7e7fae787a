package labcmd

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/sdn-tunnel/sdn-tunnel/internal/bench"
	"github.com/sdn-tunnel/sdn-tunnel/internal/kernelsuite"
	"github.com/sdn-tunnel/sdn-tunnel/internal/kerneltest"
	"github.com/sdn-tunnel/sdn-tunnel/internal/version"
)

// benched are the packages with benchmarks that any kernel can run, kernelBenched those
// whose benchmarks need what kerneltest.Modules lists.
var (
	benched = []string{
		"./internal/mesh", "./internal/meshplan", "./internal/agent", "./internal/tunnelns", "./internal/catalog", "./internal/remoteservice",
		"./ovsflow", "./internal/vswitch", "./internal/wg", "./internal/svcproxy", "./internal/kuberouter",
	}
	kernelBenched = []string{"./internal/e2e/dataplane", "./internal/wg"}
)

func benchCommand() *cli.Command {
	return &cli.Command{
		Name: "bench", Usage: "measure the ways through the mesh, and what planning and applying cost",
		Description: "Runs Go's benchmarks: those of the ways through the mesh and of WireGuard where \"lab kernel\" runs its\n" +
			"tests, the others on this machine. All in one run: throughput is set in relation to raw WireGuard in it.\n" +
			"Run it in the source tree, as root.\n\n" +
			"Example: sdn-tunnel lab bench --output bench.json --text bench.txt",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "run", Value: ".", Usage: "only benchmarks that match `REGEXP`, on this machine"},
			&cli.StringFlag{Name: "paths", Value: "^" + kerneltest.BenchPrefix, Usage: "only benchmarks that match `REGEXP`, of those that need the kernel; none: empty"},
			&cli.StringFlag{Name: "benchtime", Value: "300ms", Usage: "`TIME` for each"},
			&cli.StringFlag{Name: "output", Value: "bench.json", Usage: "write the report to `FILE`"},
			&cli.StringFlag{Name: "text", Usage: "write what the benchmarks printed to `FILE`, for benchstat"},
			&cli.IntSliceFlag{Name: "deploy", Usage: "also measure deploys, on a lab of its own with this `NUMBER` of clusters; more than once: several"},
			&cli.IntFlag{Name: "nodes", Value: 2, Usage: "`NUMBER` of nodes in each cluster of that lab"},
			placeFlag(),
		},
		Action: func(c *cli.Context) error {
			ctx, stop := signal.NotifyContext(c.Context, os.Interrupt, syscall.SIGTERM)
			defer stop()
			return runBench(ctx, c)
		},
	}
}

func runBench(ctx context.Context, c *cli.Context) error {
	place, err := place(c)
	if err != nil {
		return err
	}
	var text bytes.Buffer
	out := io.MultiWriter(&text, c.App.ErrWriter)
	machine := bench.ThisMachine()
	if paths := c.String("paths"); paths != "" {
		site, err := kernelsuite.Run(ctx, kernelsuite.Options{
			Source: ".", Packages: kernelBenched, Bench: paths, BenchTime: c.String("benchtime"), Place: place,
			Timeout: 30 * time.Minute, Out: out, Say: progress(c),
		})
		if err != nil {
			return err
		}
		machine.Paths = site.String()
	}
	if pattern := c.String("run"); pattern != "" {
		args := append([]string{"test", "-p", "1", "-run", "^$", "-bench", pattern, "-benchmem", "-benchtime", c.String("benchtime"), "-timeout", "60m"}, benched...)
		cmd := exec.CommandContext(ctx, "go", args...)
		cmd.Stdout, cmd.Stderr = out, c.App.ErrWriter
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("go test -bench: %w", err)
		}
	}
	for _, clusters := range c.IntSlice("deploy") {
		if err := benchDeploys(ctx, c, out, clusters); err != nil {
			return fmt.Errorf("deploys with %d clusters: %w", clusters, err)
		}
	}
	return report(c, machine, text.Bytes())
}

// report shows and writes what the benchmarks printed.
func report(c *cli.Context, machine bench.Machine, text []byte) error {
	if file := c.String("text"); file != "" {
		if err := os.WriteFile(file, text, 0o644); err != nil {
			return err
		}
	}
	results, err := bench.Parse(bytes.NewReader(text))
	if err != nil {
		return fmt.Errorf("read the benchmarks: %w", err)
	}
	r := bench.New(version.Version, machine, results)
	if err := r.WriteJSON(c.String("output")); err != nil {
		return err
	}
	return r.Print(c.App.Writer)
}
