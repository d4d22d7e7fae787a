package labcmd

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/urfave/cli/v2"

	"github.com/sdn-tunnel/sdn-tunnel/internal/lab"
)

// progress writes a line for each step to where errors go: standard output is the
// command's result alone.
func progress(c *cli.Context) func(format string, args ...any) {
	return func(format string, args ...any) { _, _ = fmt.Fprintf(c.App.ErrWriter, format+"\n", args...) }
}

func toolsCommand() *cli.Command {
	return &cli.Command{
		Name: "tools", Usage: "build the pinned programs that a lab runs, if the cache has them not yet",
		Description: "The first time takes about 15 minutes on 2 cores; \"lab up\" does the same when it must.\n\n" +
			"Example: SDN_TUNNEL_TOOLS=$(sdn-tunnel lab tools --print) go test ./internal/controller/",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "print", Usage: "write the programs' folder, and nothing else, to standard output"},
			&cli.BoolFlag{Name: "kube-router", Usage: "kube-router instead, which the lab does not need"}},
		Action: func(c *cli.Context) error {
			ctx, stop := signal.NotifyContext(c.Context, os.Interrupt, syscall.SIGTERM)
			defer stop()
			build := lab.Tools
			if c.Bool("kube-router") {
				build = func(ctx context.Context, say func(string, ...any)) (string, error) {
					path, err := lab.KubeRouter(ctx, say)
					return filepath.Dir(path), err
				}
			}
			bin, err := build(ctx, progress(c))
			if err != nil {
				return err
			}
			if c.Bool("print") {
				_, err = fmt.Fprintln(c.App.Writer, bin)
				return err
			}
			progress(c)("tools: %s has them", bin)
			return nil
		},
	}
}

func imagesCommand() *cli.Command {
	return &cli.Command{
		Name: "images", Usage: "build the container images, into a folder or into a lab's nodes",
		Description: "Without --output the images are built again for the lab that is up, and loaded into its nodes\n" +
			"where they changed. With --output no lab is needed, nor root.\n\n" +
			"Example: sdn-tunnel lab images --output dist",
		Flags: []cli.Flag{nameFlag(),
			&cli.BoolFlag{Name: "kube-router", Usage: "with --output: the agent's image has kube-router, for service_proxy kube-router"},
			&cli.StringFlag{Name: "output", Usage: "write agent.tar, controller.tar and test-app.tar into this `FOLDER`, and touch no lab"},
			&cli.StringFlag{Name: "version", Value: lab.Version, Usage: "`TAG` of the product's images"}},
		Action: func(c *cli.Context) error {
			tars, err := images(c)
			for _, t := range tars {
				_, _ = fmt.Fprintln(c.App.Writer, t)
			}
			return err
		},
	}
}

func images(c *cli.Context) ([]string, error) {
	if dir := c.String("output"); dir != "" {
		kubeRouter := ""
		if c.Bool("kube-router") {
			var err error
			if kubeRouter, err = lab.KubeRouter(c.Context, progress(c)); err != nil {
				return nil, err
			}
		}
		return lab.WriteProductImages(c.Context, c.String("version"), dir, kubeRouter)
	}
	l, err := lab.Open(c.String("name"))
	if err != nil {
		return nil, fmt.Errorf("%w; without a lab, say where with --output", err)
	}
	return l.ReloadImages(c.Context, c.String("version"))
}
