package cli

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"sync"
	"time"

	ucli "github.com/urfave/cli/v2"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/sdn-tunnel/sdn-tunnel/internal/diagnose"
	"github.com/sdn-tunnel/sdn-tunnel/internal/diagnose/collect"
	"github.com/sdn-tunnel/sdn-tunnel/internal/inventory"
	"github.com/sdn-tunnel/sdn-tunnel/internal/kubeaccess"
)

func diagnoseCommand(files fs.FS) *ucli.Command {
	return &ucli.Command{
		Name: "diagnose", Usage: "say why something does not get through: the first fault on its way, and the remedy",
		ArgsUsage: "[POD POD|SERVICE|NAME|ADDRESS]",
		Description: `   sdn-tunnel diagnose -i inventory                                       the whole mesh, node by node
   sdn-tunnel diagnose -i inventory east/shop/web-0 west/shop/db-0        from a pod to a pod
   sdn-tunnel diagnose -i inventory --port 5432 east/shop/web-0 west/shop/db-0
   sdn-tunnel diagnose -i inventory east/shop/web-0 west/shop/db          to a service
   sdn-tunnel diagnose -i inventory east/shop/web-0 db.shop.svc.cluster.west
   sdn-tunnel diagnose -i inventory east/shop/web-0 db-0.db.shop.svc.cluster.west
   sdn-tunnel diagnose -i inventory 10.128.2.7 10.132.0.9                 by address
   sdn-tunnel diagnose -i inventory -o json | jq .first

Pods and services are CLUSTER/NAMESPACE/NAME; where a pod and a service have one name, the
pod is meant. It walks the way of a packet there and back: name, service, pods, networks,
agents, flows and policy, routes, keys, endpoints, the underlay, MTU. It reads the clusters'
APIs, has the agents of the nodes look (which follows packets through the SDN's tables, and
sends some from the pod itself), and changes nothing.

Exit code 0: no fault; 1: a fault, or a risk, was found; 2: something could not be read, or
is not understood.`,
		Flags: append(inventoryFlags(), outputFlag("table, json or yaml"),
			&ucli.UintFlag{Name: "port", Aliases: []string{"p"}, Usage: "the port that is to be reached; by default the service's first one, and ping to a pod"},
			&ucli.BoolFlag{Name: "udp", Usage: "the port is one of UDP"},
			&ucli.DurationFlag{Name: "timeout", Usage: "how long the clusters' APIs may take to answer", Value: 5 * time.Second}),
		Action: func(c *ucli.Context) error { return runDiagnose(c, files) },
	}
}

func runDiagnose(c *ucli.Context, files fs.FS) error {
	write, err := diagnoseWriter(c)
	if err != nil {
		return codeError{err, ExitBlind}
	}
	port, protocol := c.Uint("port"), ""
	switch {
	case port > 65535:
		return codeError{fmt.Errorf("--port %d: want 1 to 65535", port), ExitBlind}
	case c.Bool("udp") && port == 0:
		return codeError{errors.New("--udp: which --port?"), ExitBlind}
	case c.Bool("udp"):
		protocol = "udp"
	}
	inv, err := load(c, files)
	if err != nil {
		return codeError{err, ExitBlind}
	}
	options, done := statusOf(c, inv)
	defer done()
	report, err := collect.Diagnose(c.Context, collect.Options{
		Options: options, Kubectl: kubectls(inv), Args: c.Args().Slice(), Port: uint16(port), Protocol: protocol, Progress: diagnoseProgress(c.App.ErrWriter),
	})
	if err != nil {
		return codeError{err, ExitBlind}
	}
	if err := write(report); err != nil {
		return err
	}
	switch {
	case report.First != nil:
		return codeError{errors.New(report.Summary()), ExitFailed}
	case report.Blind:
		return codeError{errors.New(report.Summary()), ExitBlind}
	}
	return nil
}

// kubectls is how each cluster of the inventory is asked by hand.
func kubectls(inv inventory.Inventory) map[string]string {
	all := map[string]string{}
	for _, cluster := range inv.Clusters {
		all[cluster.Name] = kubectl(cluster.Access)
	}
	return all
}

// kubectl is the program with what leads it to a cluster.
func kubectl(a kubeaccess.Args) string {
	words := "kubectl"
	if a.URL != "" {
		return words + " --server " + quoted(a.URL)
	}
	if a.Kubeconfig != "" && a.Kubeconfig != cmp.Or(os.Getenv(clientcmd.RecommendedConfigPathEnvVar), clientcmd.RecommendedHomeFile) {
		words += " --kubeconfig " + quoted(a.Kubeconfig)
	}
	if a.Context != "" {
		words += " --context " + quoted(a.Context)
	}
	return words
}

// quoted is a word of a shell's.
func quoted(word string) string {
	if !strings.ContainsAny(word, " \t\n'\"\\$`&;|<>()*?[]{}#!") {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

func diagnoseWriter(c *ucli.Context) (func(diagnose.Report) error, error) {
	w := c.App.Writer
	switch c.String("output") {
	case "table":
		return func(r diagnose.Report) error { return r.WriteTable(w, isTerminal(w)) }, nil
	case "json":
		return func(r diagnose.Report) error { return r.WriteJSON(w) }, nil
	case "yaml":
		return func(r diagnose.Report) error { return r.WriteYAML(w) }, nil
	}
	return nil, fmt.Errorf("--output %q: want table, json or yaml", c.String("output"))
}

// diagnoseProgress says what is done, apart from the report.
func diagnoseProgress(w io.Writer) func(string) {
	var mu sync.Mutex
	start := time.Now()
	return func(what string) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Fprintf(w, "%5.1f s  %s\n", time.Since(start).Seconds(), what)
	}
}
