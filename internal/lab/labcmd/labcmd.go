// Package labcmd is the command line of the lab: sdn-tunnel lab …. It parses and
// prints; package lab does the work.
package labcmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/sdn-tunnel/sdn-tunnel/internal/lab"
	"github.com/sdn-tunnel/sdn-tunnel/internal/lab/dnsoperator"
	"github.com/sdn-tunnel/sdn-tunnel/internal/lab/layout"
	"github.com/sdn-tunnel/sdn-tunnel/internal/lab/machine"
	"github.com/sdn-tunnel/sdn-tunnel/internal/lab/oauth"
	"github.com/sdn-tunnel/sdn-tunnel/internal/lab/sdn"
)

func nameFlag() cli.Flag {
	return &cli.StringFlag{Name: "name", Value: "lab", Usage: "`NAME` of the lab; several can be up if their names differ", EnvVars: []string{"SDN_TUNNEL_LAB"}}
}

// Commands are the commands below "lab".
func Commands() []*cli.Command {
	visible := []*cli.Command{upCommand(), downCommand(), statusCommand(), execCommand(), nodeCommand(), clusterCommand(), imagesCommand(), toolsCommand(), kernelCommand(), benchCommand(), logsCommand()}
	return slices.Concat(visible, internalCommands(), sdn.Commands(), dnsoperator.Commands())
}

func upCommand() *cli.Command {
	return &cli.Command{
		Name:  "up",
		Usage: "bring up clusters of real parts on this machine",
		Description: "Builds the pinned programs once (about 15 minutes on 2 cores), then takes about a minute.\n" +
			"Nothing is made in the host's own network namespace; \"lab down\" removes all of it.\n\n" +
			"Example: sdn-tunnel lab up --clusters 3 --nodes 3 --sdn-mode multitenant",
		Flags: []cli.Flag{
			nameFlag(),
			&cli.IntFlag{Name: "clusters", Value: 2, Usage: "`NUMBER` of clusters"},
			&cli.IntFlag{Name: "nodes", Value: 2, Usage: "`NUMBER` of nodes in each cluster"},
			&cli.StringFlag{Name: "sdn-mode", Value: layout.ModeNetworkPolicy, Usage: "OpenShift SDN's `MODE`: networkpolicy, multitenant or subnet"},
		},
		Action: func(c *cli.Context) error {
			ctx, stop := signal.NotifyContext(c.Context, os.Interrupt, syscall.SIGTERM)
			defer stop()
			began, say := time.Now(), progress(c)
			l, err := lab.Up(ctx, lab.Options{Config: layout.Config{
				Name: c.String("name"), Clusters: c.Int("clusters"), Nodes: c.Int("nodes"), SDNMode: c.String("sdn-mode"),
			}, Say: say})
			if err != nil {
				return err
			}
			say("lab %s is up after %.0f s: Open vSwitch datapath %s", l.Name, time.Since(began).Seconds(), l.Status().Datapath)
			say("look around: sdn-tunnel lab exec --name %s -- kubectl get nodes", l.Name)
			return nil
		},
	}
}

func downCommand() *cli.Command {
	return &cli.Command{
		Name: "down", Usage: "remove a lab, whatever state it is in", Flags: []cli.Flag{nameFlag()},
		Description: "Ends every process of the lab and removes its namespaces, mounts, control groups and files.",
		Action:      func(c *cli.Context) error { return lab.Down(c.String("name")) },
	}
}

func statusCommand() *cli.Command {
	return &cli.Command{
		Name: "status", Usage: "show the lab's clusters, nodes and files",
		Flags: []cli.Flag{nameFlag(), &cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "`FORMAT`: json"}},
		Action: func(c *cli.Context) error {
			l, err := lab.Open(c.String("name"))
			if err != nil {
				return withOthers(err)
			}
			s := l.Status()
			switch c.String("output") {
			case "json":
				e := json.NewEncoder(c.App.Writer)
				e.SetIndent("", "  ")
				return e.Encode(s)
			case "":
				printStatus(c.App.Writer, s)
				return nil
			}
			return fmt.Errorf("output format %q: use json", c.String("output"))
		},
	}
}

// withOthers adds which labs there are to the error that there is no such lab.
func withOthers(err error) error {
	names, _ := lab.Names() // only a hint
	if !errors.Is(err, lab.ErrNone) || len(names) == 0 {
		return err
	}
	return fmt.Errorf("%w; there is: %s", err, strings.Join(names, ", "))
}

func printStatus(w io.Writer, s lab.Status) {
	p := func(format string, args ...any) { _, _ = fmt.Fprintf(w, format+"\n", args...) }
	p("lab %s: SDN mode %s, Open vSwitch datapath %s", s.Name, s.SDNMode, s.Datapath)
	if !s.Complete {
		p("half up: it is still being made, or that failed; sdn-tunnel lab down --name %s removes it", s.Name)
	}
	for _, c := range s.Clusters {
		p("cluster %-8s %-4s API %s  OAuth %s  pods %s  services %s", c.Name, upOff(c.Up), c.API, c.OAuth, c.Pods, c.Services)
		for _, n := range c.Nodes {
			p("  node %-9s %-4s %-15s host subnet %s", n.Name, upOff(n.Pid != 0), n.Address, n.HostSubnet)
		}
	}
	p("kubeconfig %s\ninventory  %s\nssh key    %s", s.Kubeconfig, s.Inventory, s.SSHKey)
}

func upOff(up bool) string {
	if up {
		return "up"
	}
	return "OFF"
}

func execCommand() *cli.Command {
	return &cli.Command{
		Name: "exec", Usage: "run a command as the lab's operator, or on a node", ArgsUsage: "-- COMMAND [ARGUMENT…]",
		Description: "By default in the operator's namespace, which reaches the API servers and the nodes' sshd, with\n" +
			"KUBECONFIG set and the lab's kubectl in PATH.\n\n" +
			"Examples: sdn-tunnel lab exec -- kubectl --context west get pods -A\n" +
			"          sdn-tunnel lab exec --node east-1 -- ovs-ofctl -O OpenFlow13 dump-flows br0",
		Flags: []cli.Flag{nameFlag(),
			&cli.StringFlag{Name: "cluster", Usage: "use only this `CLUSTER`'s kubeconfig"},
			&cli.StringFlag{Name: "node", Usage: "run inside this `NODE`"}},
		Action: func(c *cli.Context) error {
			if !c.Args().Present() {
				return errors.New("no command: sdn-tunnel lab exec -- COMMAND")
			}
			l, err := lab.Open(c.String("name"))
			if err != nil {
				return err
			}
			return execIn(l, c.String("cluster"), c.String("node"), c.Args().Slice())
		},
	}
}

func execIn(l *lab.Lab, cluster, node string, args []string) error {
	var cmd *exec.Cmd
	run := (*exec.Cmd).Run
	if node != "" {
		spec, err := l.NodeMachine(node)
		if err != nil {
			return err
		}
		if cmd, err = spec.Exec(args...); err != nil {
			return err
		}
	} else {
		var err error
		if cmd, err = l.Command(cluster, args...); err != nil {
			return err
		}
		run = l.RunInOperator
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	err := run(cmd)
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return cli.Exit("", exit.ExitCode())
	}
	return err
}

func nodeCommand() *cli.Command {
	on := func(do func(*machine.Spec, *lab.Lab) error) cli.ActionFunc {
		return func(c *cli.Context) error {
			if c.NArg() != 1 {
				return fmt.Errorf("one machine is needed, e.g. sdn-tunnel lab node %s east-1", c.Command.Name)
			}
			l, err := lab.Open(c.String("name"))
			if err != nil {
				return err
			}
			spec, err := machineOf(l, c.Args().First())
			if err != nil {
				return err
			}
			return do(spec, l)
		}
	}
	return &cli.Command{
		Name: "node", Usage: "power a machine off and on; have a node join or leave",
		Description: "MACHINE is a node (east-1) or a cluster (east, for its control plane, with the API server).",
		Subcommands: []*cli.Command{
			nodeAddCommand(), nodeRemoveCommand(),
			{Name: "kill", Usage: "power the machine off at once", ArgsUsage: "MACHINE", Flags: []cli.Flag{nameFlag()},
				Action: on(func(s *machine.Spec, _ *lab.Lab) error { return s.PowerOff(2 * time.Minute) })},
			{Name: "start", Usage: "boot the machine again on its disk: a node's pods come back", ArgsUsage: "MACHINE", Flags: []cli.Flag{nameFlag()},
				Action: on(func(s *machine.Spec, l *lab.Lab) error { return l.Boot(s) })},
		},
	}
}

// machineOf is a node's machine, or that of a cluster's control plane.
func machineOf(l *lab.Lab, name string) (*machine.Spec, error) {
	if _, _, ok := l.Node(name); ok {
		return l.NodeMachine(name)
	}
	if _, ok := l.Cluster(name); ok {
		return l.ControlPlaneMachine(name)
	}
	return nil, fmt.Errorf("lab %s has no node and no cluster %q: see sdn-tunnel lab status", l.Name, name)
}

func logsCommand() *cli.Command {
	return &cli.Command{
		Name: "logs", Usage: "show the logs of a machine's services", ArgsUsage: "MACHINE [SERVICE]",
		Description: "MACHINE is a node (east-1) or a cluster (east, for its control plane).\n\nExample: sdn-tunnel lab logs east-1 kubelet",
		Flags:       []cli.Flag{nameFlag()},
		Action: func(c *cli.Context) error {
			l, err := lab.Open(c.String("name"))
			if err != nil {
				return err
			}
			spec, err := machineOf(l, c.Args().Get(0))
			if err != nil {
				return err
			}
			pattern := "*.log"
			if s := c.Args().Get(1); s != "" {
				pattern = s + ".log"
			}
			files, err := filepath.Glob(filepath.Join(spec.LogDir(), pattern))
			if err != nil || len(files) == 0 {
				return fmt.Errorf("no log %s in %s", pattern, spec.LogDir())
			}
			return show(c.App.Writer, files)
		},
	}
}

func show(w io.Writer, files []string) error {
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		if len(files) > 1 {
			_, _ = fmt.Fprintf(w, "==> %s <==\n", name)
		}
		if _, err := w.Write(b); err != nil {
			return err
		}
	}
	return nil
}

// internalCommands are run by the lab's machines, never by people.
func internalCommands() []*cli.Command {
	return []*cli.Command{
		{Name: "machine-init", Hidden: true, Usage: "be process 1 of a machine", ArgsUsage: "FOLDER",
			Action: func(c *cli.Context) error { return machine.Init(c.Args().First()) }},
		{Name: "oauth-front", Hidden: true, Usage: "serve OpenShift's login in front of an API server", ArgsUsage: "CONFIG",
			Action: func(c *cli.Context) error {
				config, err := oauth.Load(c.Args().First())
				if err != nil {
					return err
				}
				ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
				defer stop()
				return oauth.Serve(ctx, config)
			}},
	}
}
