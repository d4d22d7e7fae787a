package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	ucli "github.com/urfave/cli/v2"
	"golang.org/x/term"
)

func forgetCommand(files fs.FS) *ucli.Command {
	return &ucli.Command{
		Name: "forget", Usage: "take a cluster that is lost for good out of the others, without asking it", ArgsUsage: "CLUSTER",
		Description: "   sdn-tunnel forget -i inventory west\n\nFor a cluster that still answers, use teardown --limit: that cleans the cluster itself, too.\n" +
			"Take it out of the inventory as well, or the next deploy waits for it in vain.",
		Flags: append(withoutLimit(playbookFlags(files)), &ucli.BoolFlag{Name: "yes", Aliases: []string{"y"}, Usage: "do not ask"}),
		Action: func(c *ucli.Context) error {
			if c.NArg() != 1 {
				return usage("name the cluster that is lost, after the flags: sdn-tunnel forget -i inventory west")
			}
			if err := confirmForget(c, files); err != nil {
				return err
			}
			return runPlaybook(c, files, "forget", "lost="+c.Args().First())
		},
	}
}

// withoutLimit leaves out --limit: all that remain have to forget, and a part of the run is
// on no cluster, so that with a limit nothing would be done.
func withoutLimit(flags []ucli.Flag) []ucli.Flag {
	return slices.DeleteFunc(flags, func(f ucli.Flag) bool { return slices.Contains(f.Names(), "limit") })
}

// confirmForget says what will be done, what will not, and has it confirmed.
func confirmForget(c *ucli.Context, files fs.FS) error {
	lost := c.Args().First()
	inv, err := load(c, files)
	if err != nil {
		return err
	}
	var others []string
	for _, cluster := range inv.Clusters {
		others = append(others, cluster.Name)
	}
	others = slices.DeleteFunc(others, func(name string) bool { return name == lost })
	if len(others) == 0 {
		return fmt.Errorf("the inventory has no cluster besides %s that could forget it", lost)
	}
	writeForget(c.App.Writer, lost, others)
	if c.Bool("check") || c.Bool("yes") {
		return nil
	}
	if !term.IsTerminal(int(os.Stdin.Fd())) {
		return errors.New("confirm it with --yes, or look first with --check")
	}
	return ask(c.App.Writer, os.Stdin)
}

func writeForget(w io.Writer, lost string, others []string) {
	fmt.Fprintf(w, `%[2]s will forget %[1]s, which will not be asked for anything:
  its credentials there will be void, and theirs for it deleted
  its LinkedCluster, nodes, services and names will go, with all peers, routes and flows
What %[1]s holds will stay there: agents, keys, and the credentials that are void. If it comes back it
reaches nobody; teardown with an inventory of %[1]s alone cleans it, and a deploy links it again.
`, lost, strings.Join(others, ", "))
}
