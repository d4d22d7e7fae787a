package cli

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	ucli "github.com/urfave/cli/v2"
	"golang.org/x/term"

	"github.com/sdn-tunnel/sdn-tunnel/internal/inventory"
	"github.com/sdn-tunnel/sdn-tunnel/internal/verify"
)

// confirmTeardown says what will go and has it confirmed: on a terminal, or by --yes.
func confirmTeardown(c *ucli.Context, files fs.FS) error {
	if c.Bool("check") {
		return nil
	}
	interactive := term.IsTerminal(int(os.Stdin.Fd()))
	if !c.Bool("yes") && !interactive {
		return errors.New("teardown cuts all links between the clusters: confirm it with --yes, or look first with --check")
	}
	inv, err := load(c, files)
	if err != nil {
		return err
	}
	writeTeardown(c.App.Writer, inv, c.String("limit"))
	if c.Bool("yes") {
		return nil
	}
	return ask(c.App.Writer, os.Stdin)
}

func writeTeardown(w io.Writer, inv inventory.Inventory, limit string) {
	names := make([]string, 0, len(inv.Clusters))
	for _, cluster := range inv.Clusters {
		names = append(names, cluster.Name)
	}
	namespace := inv.String("namespace", verify.DefaultTunnelNamespace)
	if limit != "" {
		fmt.Fprintf(w, `teardown of those of %s that --limit %s matches:
  on each of their nodes: tunnel, flows, routes, keys
  in each of them: agents, controller, node services, identities of the others, namespace %s, LinkedClusters, TunnelNodes and their definitions; ServiceExports too, where a deploy installed their definition
  in the other clusters: what there is of them, and nothing else
Their pods and those of the other clusters no longer reach each other.
`, strings.Join(names, ", "), limit, namespace)
		return
	}
	fmt.Fprintf(w, `teardown of %s:
  on every node: tunnel, flows, routes, keys
  in every cluster: agents, controller, node services, identities of the others, namespace %s, LinkedClusters, TunnelNodes and their definitions; ServiceExports too, where a deploy installed their definition
Pods of the clusters no longer reach each other.
`, strings.Join(names, ", "), namespace)
}

// ask waits for "yes".
func ask(w io.Writer, r io.Reader) error {
	fmt.Fprint(w, "Type yes to go on: ")
	line, err := bufio.NewReader(r).ReadString('\n')
	if strings.TrimSpace(line) == "yes" {
		return nil
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	return errors.New("not confirmed: nothing was changed")
}
