package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"
	"time"

	ucli "github.com/urfave/cli/v2"
	"k8s.io/client-go/rest"

	"github.com/sdn-tunnel/sdn-tunnel/internal/inventory"
	"github.com/sdn-tunnel/sdn-tunnel/internal/kubeaccess"
	"github.com/sdn-tunnel/sdn-tunnel/internal/meshstatus"
	"github.com/sdn-tunnel/sdn-tunnel/internal/verify"
)

func statusCommand(files fs.FS) *ucli.Command {
	return &ucli.Command{
		Name: "status", Usage: "show how a mesh fares: clusters, links, nodes, and what is wrong",
		Description: `   sdn-tunnel status -i inventory
   sdn-tunnel status -i inventory -o wide          more of each node, all problems, warnings
   sdn-tunnel status -i inventory --peers          each pair of nodes, as the agents see it
   sdn-tunnel status -i inventory --watch          again after each change
   sdn-tunnel status -i inventory -o json | jq '.clusters[].problems'

It reads the clusters' APIs and asks no node, unless --peers does. Exit code 0: all is
well; 1: something is not; 2: a cluster, or the inventory, could not be read.`,
		Flags: append(inventoryFlags(), outputFlag("table, wide, json or yaml"), timeoutFlag(),
			&ucli.BoolFlag{Name: "peers", Usage: "ask every agent for round-trip time, loss and throughput of each of its peers"},
			&ucli.BoolFlag{Name: "watch", Aliases: []string{"w"}, Usage: "go on, and show it again after each change; JSON comes as one document a line"}),
		Action: func(c *ucli.Context) error { return runStatus(c, files) },
	}
}

func timeoutFlag() ucli.Flag {
	return &ucli.DurationFlag{Name: "timeout", Usage: "how long a cluster may take to answer", Value: 20 * time.Second}
}

func runStatus(c *ucli.Context, files fs.FS) error {
	write, err := statusWriter(c)
	if err != nil {
		return codeError{err, ExitBlind}
	}
	if c.Bool("peers") && c.Bool("watch") {
		return codeError{errors.New("--peers asks once: leave out --watch"), ExitBlind}
	}
	options, done, err := statusOptions(c, files)
	if err != nil {
		return codeError{err, ExitBlind}
	}
	defer done()
	if c.Bool("watch") {
		return watchStatus(c, options, write)
	}
	report := meshstatus.Make(time.Now(), meshstatus.Read(c.Context, options))
	if c.Bool("peers") {
		askAgents(c.Context, options, &report)
	}
	if err := write(report); err != nil {
		return err
	}
	return statusError(report)
}

// statusError is nil if all is well.
func statusError(r meshstatus.Report) error {
	switch r.Health() {
	case meshstatus.Well:
		return nil
	case meshstatus.Unknown:
		return codeError{errors.New(r.Summary()), ExitBlind}
	}
	return codeError{errors.New(r.Summary()), ExitFailed}
}

// statusWriter writes a report as the flags say.
func statusWriter(c *ucli.Context) (func(meshstatus.Report) error, error) {
	w := c.App.Writer
	terminal := isTerminal(w)
	switch output := c.String("output"); output {
	case "table", "wide":
		format := meshstatus.Format{Wide: output == "wide", Colour: terminal}
		return func(r meshstatus.Report) error {
			if c.Bool("watch") {
				startOver(w, terminal, r.Time)
			}
			return r.WriteTable(w, format)
		}, nil
	case "json":
		if c.Bool("watch") {
			return func(r meshstatus.Report) error { return r.WriteLine(w) }, nil
		}
		return func(r meshstatus.Report) error { return r.WriteJSON(w) }, nil
	case "yaml":
		return func(r meshstatus.Report) error { return r.WriteYAML(w) }, nil
	default:
		return nil, usage("--output %q: want table, wide, json or yaml", output)
	}
}

// startOver clears a terminal, and elsewhere sets off what follows.
func startOver(w io.Writer, terminal bool, now time.Time) {
	if terminal {
		fmt.Fprint(w, "\x1b[H\x1b[2J")
		return
	}
	fmt.Fprintf(w, "== %s\n", now.Format(time.RFC3339))
}

// redraw is how often ages are brought up to date on a terminal.
const redraw = 10 * time.Second

// watchStatus shows the mesh after each change until it is ended.
func watchStatus(c *ucli.Context, options meshstatus.Options, write func(meshstatus.Report) error) error {
	ctx, cancel := context.WithCancelCause(c.Context)
	defer cancel(nil)
	var mu sync.Mutex
	var objects []meshstatus.Objects
	last := ""
	show := func(always bool) {
		report := meshstatus.Make(time.Now(), objects)
		said := content(report)
		if said == last && !always {
			return
		}
		last = said
		if err := write(report); err != nil {
			cancel(err)
		}
	}
	if isTerminal(c.App.Writer) {
		tick := time.NewTicker(redraw)
		defer tick.Stop()
		go func() {
			for {
				select {
				case <-ctx.Done():
					return
				case <-tick.C:
				}
				mu.Lock()
				if objects != nil {
					show(true)
				}
				mu.Unlock()
			}
		}()
	}
	meshstatus.Watch(ctx, options, func(all []meshstatus.Objects) {
		mu.Lock()
		defer mu.Unlock()
		objects = all
		show(false)
	})
	if c.Err() != nil {
		return nil // ended by who looked
	}
	return context.Cause(ctx)
}

// content is a report without its time, for comparison.
func content(r meshstatus.Report) string {
	r.Time = time.Time{}
	text, err := json.Marshal(r)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// statusOptions reads the inventory; done logs out of the clusters that were opened.
func statusOptions(c *ucli.Context, files fs.FS) (meshstatus.Options, func(), error) {
	inv, err := load(c, files)
	if err != nil {
		return meshstatus.Options{}, nil, err
	}
	o, done := statusOf(c, inv)
	return o, done, nil
}

// statusOf is statusOptions of an inventory that is read.
func statusOf(c *ucli.Context, inv inventory.Inventory) (meshstatus.Options, func()) {
	o := meshstatus.Options{Namespace: inv.String("namespace", verify.DefaultTunnelNamespace), Timeout: c.Duration("timeout")}
	var doors []*door
	for _, cluster := range inv.Clusters {
		d := &door{args: cluster.Access}
		doors = append(doors, d)
		o.Members = append(o.Members, meshstatus.Member{Name: cluster.Name, Open: d.open})
	}
	return o, func() {
		_ = parallel(len(doors), func(i int) error { return doors[i].close(context.WithoutCancel(c.Context)) })
	}
}

// door is the way into one cluster, that may be shut now and open later.
type door struct {
	args   kubeaccess.Args
	mu     sync.Mutex
	access *kubeaccess.Access
}

func (d *door) open(ctx context.Context) (*rest.Config, error) {
	access, err := kubeaccess.Open(ctx, d.args)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.access = access
	return access.Config, nil
}

func (d *door) close(ctx context.Context) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.access.Close(ctx)
}
