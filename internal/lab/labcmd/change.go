package labcmd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/urfave/cli/v2"

	"github.com/sdn-tunnel/sdn-tunnel/internal/lab"
)

func nodeAddCommand() *cli.Command {
	return &cli.Command{
		Name: "add", Usage: "have one more node join a cluster", ArgsUsage: "CLUSTER", Flags: []cli.Flag{nameFlag()},
		Description: "Returns when the node is Ready. It is in the inventory then.\n\nExample: sdn-tunnel lab node add east",
		Action: changing(1, "a cluster is needed, e.g. sdn-tunnel lab node add east", func(ctx context.Context, c *cli.Context, l *lab.Lab) error {
			n, err := l.NodeAdd(ctx, c.Args().First())
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(c.App.Writer, n.Name)
			return err
		}),
	}
}

func nodeRemoveCommand() *cli.Command {
	return &cli.Command{
		Name: "remove", Usage: "power a node off and delete it from its cluster, for good", ArgsUsage: "NODE", Flags: []cli.Flag{nameFlag()},
		Action: changing(1, "a node is needed, e.g. sdn-tunnel lab node remove east-2", func(ctx context.Context, c *cli.Context, l *lab.Lab) error {
			return l.NodeRemove(ctx, c.Args().First())
		}),
	}
}

func clusterCommand() *cli.Command {
	return &cli.Command{
		Name: "cluster", Usage: "bring up one more cluster",
		Subcommands: []*cli.Command{{
			Name: "add", Usage: "bring up one more cluster in a lab that is up", Flags: []cli.Flag{nameFlag()},
			Description: "Returns when its nodes are Ready. It is in the inventory and the kubeconfig then, and not linked to the others.",
			Action: changing(0, "no arguments are needed", func(ctx context.Context, c *cli.Context, l *lab.Lab) error {
				made, err := l.ClusterAdd(ctx)
				if err != nil {
					return err
				}
				_, err = fmt.Fprintln(c.App.Writer, made.Name)
				return err
			}),
		}},
	}
}

// changing opens the lab for an action that changes what it is made of.
func changing(args int, need string, do func(context.Context, *cli.Context, *lab.Lab) error) cli.ActionFunc {
	return func(c *cli.Context) error {
		if c.NArg() != args {
			return errors.New(need)
		}
		l, err := lab.Open(c.String("name"))
		if err != nil {
			return err
		}
		l.Say = progress(c)
		ctx, stop := signal.NotifyContext(c.Context, os.Interrupt, syscall.SIGTERM)
		defer stop()
		return do(ctx, c, l)
	}
}
