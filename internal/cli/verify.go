package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"time"

	ucli "github.com/urfave/cli/v2"

	"github.com/sdn-tunnel/sdn-tunnel/internal/inventory"
	"github.com/sdn-tunnel/sdn-tunnel/internal/verify"
)

func verifyCommand(files fs.FS) *ucli.Command {
	return &ucli.Command{
		Name: "verify", Usage: "have every node's pods reach those of the other clusters, and show the matrix",
		Description: "   sdn-tunnel verify -i inventory\n   sdn-tunnel verify -i inventory -o json --junit verify.xml\n\nIt removes what it made. Exit code 1 if a pair fails.",
		Flags: append(inventoryFlags(),
			outputFlag("table or json"),
			&ucli.StringFlag{Name: "junit", Usage: "also write JUnit XML to this file"},
			&ucli.StringFlag{Name: "image", Usage: "image of the test application; by default the inventory's test_image"},
			&ucli.StringFlag{Name: "namespace", Usage: "namespace of the test application", Value: verify.DefaultNamespace},
			&ucli.Int64Flag{Name: "transfer", Usage: "size of each pair's transfer, in bytes; negative: none", Value: verify.DefaultTransferBytes},
			&ucli.BoolFlag{Name: "baseline", Usage: "also probe the pairs inside each cluster"},
			&ucli.BoolFlag{Name: "skip-nodes", Usage: "leave out the way from nodes to pods"},
			&ucli.BoolFlag{Name: "skip-services", Usage: "leave out the services of the other clusters, by address and by name, and the one of all clusters"},
			&ucli.DurationFlag{Name: "timeout", Usage: "how long the pods may take to become ready", Value: verify.DefaultReadyTimeout},
			&ucli.DurationFlag{Name: "patience", Usage: "how long services and names may take to become known", Value: verify.DefaultPatience},
			&ucli.BoolFlag{Name: "keep", Usage: "leave the test application in place"},
		),
		Action: func(c *ucli.Context) error { return runVerify(c, files) },
	}
}

// testImage is the inventory's; by default that of roles/verify.
func testImage(inv inventory.Inventory) string {
	return inv.String("test_image", "localhost/sdn-tunnel/test-app:"+inv.String("sdn_tunnel_version", "dev"))
}

func runVerify(c *ucli.Context, files fs.FS) error {
	write, err := verifyWriter(c)
	if err != nil {
		return err
	}
	inv, members, done, err := open(c, files)
	if err != nil {
		return err
	}
	defer done()
	o := verify.Options{
		Namespace: c.String("namespace"), TunnelNamespace: inv.String("namespace", verify.DefaultTunnelNamespace),
		Image: c.String("image"), PullPolicy: inv.String("image_pull_policy", ""),
		Baseline: c.Bool("baseline"), SkipNodes: c.Bool("skip-nodes"), Keep: c.Bool("keep"),
		TransferBytes: c.Int64("transfer"), ReadyTimeout: c.Duration("timeout"), Progress: verifyProgress(c.App.ErrWriter),
	}
	services := !c.Bool("skip-services")
	forwarded := inv.Bool("dns_enabled", true) && inv.String("dns_forward", "auto") != "manual"
	o.Services = services && inv.String("service_proxy", "nftables") != "none"
	o.Names = o.Services && forwarded
	o.ClusterSet = services && forwarded && inv.Bool("dns_clusterset", true) // the cluster's own proxy balances it
	o.Patience = c.Duration("patience")
	if o.Image == "" {
		o.Image = testImage(inv)
	}
	for _, m := range members {
		o.Clusters = append(o.Clusters, verify.Member{Name: m.name, Config: m.access.Config})
	}
	report, err := verify.Run(c.Context, o)
	if len(report.Pairs) > 0 {
		err = errors.Join(err, write(report), writeJUnit(c.String("junit"), report))
	}
	if err != nil {
		return err
	}
	if !report.OK() {
		return codeError{errors.New(report.Summary()), ExitFailed}
	}
	return nil
}

func verifyWriter(c *ucli.Context) (func(verify.Report) error, error) {
	switch c.String("output") {
	case "table":
		return func(r verify.Report) error { return r.WriteTable(c.App.Writer, isTerminal(c.App.Writer)) }, nil
	case "json":
		return func(r verify.Report) error { return r.WriteJSON(c.App.Writer) }, nil
	}
	return nil, usage("--output %q: want table or json", c.String("output"))
}

func writeJUnit(path string, r verify.Report) error {
	if path == "" {
		return nil
	}
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("write JUnit XML: %w", err)
	}
	return errors.Join(r.WriteJUnit(f), f.Close())
}

// verifyProgress shows steps as they come, apart from the report.
func verifyProgress(w io.Writer) func(verify.Event) {
	var mu sync.Mutex
	start := time.Now()
	return func(e verify.Event) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Fprintf(w, "%5.1f s  %-10s %-8s %s\n", time.Since(start).Seconds(), e.Cluster, e.Stage, e.Message)
	}
}
