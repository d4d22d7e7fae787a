package cli

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	ucli "github.com/urfave/cli/v2"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/sdn-tunnel/sdn-tunnel/internal/inventory"
	"github.com/sdn-tunnel/sdn-tunnel/internal/kubeaccess"
	"github.com/sdn-tunnel/sdn-tunnel/internal/meshplan"
)

func initCommand() *ucli.Command {
	return &ucli.Command{
		Name: "init", Usage: "write an inventory from contexts of a kubeconfig",
		Description: "   sdn-tunnel init --context east --context west=admin@west -o inventory\n\nWithout --context it asks, on a terminal.",
		Flags: []ucli.Flag{
			&ucli.StringFlag{Name: "kubeconfig", Usage: "kubeconfig file", EnvVars: []string{"KUBECONFIG"}, Value: clientcmd.RecommendedHomeFile},
			&ucli.StringSliceFlag{Name: "context", Usage: "context, or name=context to name the cluster otherwise"},
			&ucli.StringFlag{Name: "service-type", Usage: "LoadBalancer, NodePort, HostNetwork or Static", Value: "LoadBalancer"},
			&ucli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "file (.yml, .yaml) or folder to write", Value: "inventory"},
		},
		Action: runInit,
	}
}

var serviceTypes = []meshplan.ServiceType{meshplan.LoadBalancer, meshplan.NodePort, meshplan.HostNetwork, meshplan.Static}

func runInit(c *ucli.Context) error {
	if s := meshplan.ServiceType(c.String("service-type")); !slices.Contains(serviceTypes, s) {
		return usage("--service-type %q: want LoadBalancer, NodePort, HostNetwork or Static", s)
	}
	path, err := filepath.Abs(c.String("kubeconfig"))
	if err != nil {
		return err
	}
	config, err := clientcmd.LoadFromFile(path)
	if err != nil {
		return fmt.Errorf("kubeconfig: %w", err)
	}
	chosen := c.StringSlice("context")
	if len(chosen) == 0 {
		var known []string
		for name := range config.Contexts {
			known = append(known, name)
		}
		slices.Sort(known)
		if chosen, err = askContexts(c, known); err != nil {
			return err
		}
	}
	inv := inventory.Inventory{Vars: map[string]any{"service_type": c.String("service-type")}}
	for _, choice := range chosen {
		name, context, named := strings.Cut(choice, "=")
		if !named {
			context = choice
		}
		if config.Contexts[context] == nil {
			return fmt.Errorf("kubeconfig %s has no context %q", path, context)
		}
		inv.Clusters = append(inv.Clusters, inventory.Cluster{Name: name, Access: kubeaccess.Args{Kubeconfig: path, Context: context}})
	}
	if err := inv.Check(); err != nil {
		return fmt.Errorf("%w; name it with --context NAME=CONTEXT", err)
	}
	out := c.String("output")
	if ext := filepath.Ext(out); ext != ".yml" && ext != ".yaml" {
		out = filepath.Join(out, "hosts.yml")
	}
	if err := inventory.Write(out, inv); err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.App.Writer, "wrote %s with %d clusters; next: sdn-tunnel plan -i %s\n", out, len(inv.Clusters), c.String("output"))
	return err
}

// askContexts asks on a terminal which contexts to link.
func askContexts(c *ucli.Context, known []string) ([]string, error) {
	if !isTerminal(os.Stdin) {
		return nil, fmt.Errorf("give --context for each cluster; the kubeconfig has: %s", strings.Join(known, ", "))
	}
	fmt.Fprintf(c.App.Writer, "Contexts: %s\nWhich to link (name=context to rename), separated by blanks: ", strings.Join(known, ", "))
	line, err := bufio.NewReader(os.Stdin).ReadString('\n')
	if fields := strings.Fields(line); len(fields) > 0 {
		return fields, nil
	}
	return nil, errors.Join(errors.New("no context chosen"), err)
}
