package labcmd

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/sdn-tunnel/sdn-tunnel/internal/kernelsuite"
	"github.com/sdn-tunnel/sdn-tunnel/internal/lab"
)

func kernelCommand() *cli.Command {
	return &cli.Command{
		Name: "kernel", Usage: "run the tests that need WireGuard, Open vSwitch's datapath or IPVS in the kernel", ArgsUsage: "[PACKAGE...]",
		Description: "Builds the packages whose tests import internal/kerneltest and runs those tests: on this machine if its\n" +
			"kernel has everything, else in virtual machines with Debian's kernel: in one, or, where it is emulated,\n" +
			"each test in its own and as many at once as this machine has processors. Run it in the source tree.\n\n" +
			"Example: sdn-tunnel lab kernel --run TestKernelMesh ./internal/e2e/dataplane",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "run", Usage: "only tests that match `REGEXP`"},
			placeFlag(),
			&cli.DurationFlag{Name: "timeout", Value: 10 * time.Minute, Usage: "`TIME` for one test with all its parts"},
			&cli.BoolFlag{Name: "long", Usage: "tests that take minutes, too"},
			&cli.StringFlag{Name: "coverprofile", Usage: "write the coverage to `FILE`"},
			&cli.StringFlag{Name: "artifacts", Usage: "keep what tests leave, such as the logs of those that fail, in `FOLDER`"},
		},
		Action: func(c *cli.Context) error {
			place, err := place(c)
			if err != nil {
				return err
			}
			ctx, stop := signal.NotifyContext(c.Context, os.Interrupt, syscall.SIGTERM)
			defer stop()
			_, err = kernelsuite.Run(ctx, kernelsuite.Options{
				Source: ".", Packages: c.Args().Slice(), Run: c.String("run"), Place: place, Long: c.Bool("long"),
				Timeout: c.Duration("timeout"), CoverProfile: c.String("coverprofile"), Artifacts: c.String("artifacts"),
				Out: c.App.Writer, Say: progress(c),
				KubeRouter: func(ctx context.Context) (string, error) { return lab.KubeRouter(ctx, progress(c)) },
			})
			return err
		},
	}
}

func placeFlag() cli.Flag {
	return &cli.StringFlag{Name: "in", Value: string(kernelsuite.Auto), Usage: "`PLACE`: here, guest or auto"}
}

func place(c *cli.Context) (kernelsuite.Place, error) {
	p := kernelsuite.Place(c.String("in"))
	switch p {
	case kernelsuite.Auto, kernelsuite.Here, kernelsuite.Guest:
		return p, nil
	default:
		return p, fmt.Errorf("--in %s: want here, guest or auto", p)
	}
}
