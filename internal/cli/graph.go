package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"time"

	ucli "github.com/urfave/cli/v2"

	"github.com/sdn-tunnel/sdn-tunnel/internal/meshgraph"
	"github.com/sdn-tunnel/sdn-tunnel/internal/meshstatus"
)

func graphCommand(files fs.FS) *ucli.Command {
	return &ucli.Command{
		Name: "graph", Usage: "draw a mesh: clusters and links, coloured by health",
		Description: `   sdn-tunnel graph -i inventory > mesh.svg
   sdn-tunnel graph -i inventory --nodes > mesh.svg       with nodes, and the pairs that are not up
   sdn-tunnel graph -i inventory -o dot | dot -Tpng > mesh.png
   sdn-tunnel graph -i inventory -o mermaid

It shows what status knows. A cluster that cannot be read is grey. Exit code 0: it is
drawn; 2: nothing could be read.`,
		Flags: append(inventoryFlags(), timeoutFlag(),
			&ucli.StringFlag{Name: "output", Aliases: []string{"o"}, Value: "svg", Usage: "svg, dot or mermaid"},
			&ucli.BoolFlag{Name: "nodes", Usage: "draw the nodes, too"}),
		Action: func(c *ucli.Context) error { return runGraph(c, files) },
	}
}

func runGraph(c *ucli.Context, files fs.FS) error {
	write := map[string]func(meshgraph.Graph, io.Writer) error{
		"svg": meshgraph.Graph.WriteSVG, "dot": meshgraph.Graph.WriteDOT, "mermaid": meshgraph.Graph.WriteMermaid,
	}[c.String("output")]
	if write == nil {
		return usage("--output %q: want svg, dot or mermaid", c.String("output"))
	}
	options, done, err := statusOptions(c, files)
	if err != nil {
		return codeError{err, ExitBlind}
	}
	defer done()
	report := meshstatus.Make(time.Now(), meshstatus.Read(c.Context, options))
	for _, cluster := range report.Clusters {
		if cluster.Error != "" {
			fmt.Fprintln(c.App.ErrWriter, "could not be read:", cluster.Error)
		}
	}
	if !slices.ContainsFunc(report.Clusters, func(cluster meshstatus.Cluster) bool { return cluster.Error == "" }) {
		return codeError{errors.New("no cluster could be read"), ExitBlind}
	}
	return write(meshgraph.New(report, c.Bool("nodes")), c.App.Writer)
}
