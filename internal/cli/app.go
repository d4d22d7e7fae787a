package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"

	ucli "github.com/urfave/cli/v2"

	"github.com/sdn-tunnel/sdn-tunnel/internal/playbook"
	"github.com/sdn-tunnel/sdn-tunnel/internal/spelling"
	"github.com/sdn-tunnel/sdn-tunnel/internal/version"
)

// Exit codes of every command.
const (
	ExitFailed      = 1   // it could not be done, or pairs fail, or something is down
	ExitBlind       = 2   // status, diagnose, graph: something could not be read, so that nobody knows
	ExitUsage       = 2   // bad flags, an unknown command
	ExitConflicts   = 2   // the plan has conflicts; ansible-playbook: a host failed
	ExitInterrupted = 130 // ended by a signal
)

const description = `Links the pod networks of several OpenShift or Kubernetes clusters, from node to node,
encrypted. One inventory names the clusters.

   sdn-tunnel init --context east --context west -o inventory/hosts.yml
   sdn-tunnel plan   -i inventory
   sdn-tunnel deploy -i inventory
   sdn-tunnel verify -i inventory

Exit codes: 0 well; 1 failed, or something is wrong (verify, status, diagnose, gather);
2 bad usage, conflicts (plan), or what could not be read (status, diagnose, graph, gather);
130 interrupted. deploy, upgrade, teardown and forget end as ansible-playbook does: 2 a
cluster or node failed, 4 one was unreachable.`

// New is the command line. files are the embedded playbooks; lab are the lab's commands.
func New(files fs.FS, lab []*ucli.Command) *ucli.App {
	app := &ucli.App{
		// A comma in -e belongs to the value.
		DisableSliceFlagSeparator: true,
		Name:                      "sdn-tunnel",
		Usage:                     "an encrypted mesh between the pod networks of clusters",
		Description:               description,
		Version:                   version.String(),
		EnableBashCompletion:      true,
		HideVersion:               true,
		ExitErrHandler:            func(*ucli.Context, error) {},
		Commands: []*ucli.Command{
			initCommand(), planCommand(files), deployCommand(files), verifyCommand(files), statusCommand(files), diagnoseCommand(files), graphCommand(files), gatherCommand(files), rotateCommand(files),
			upgradeCommand(files), teardownCommand(files), forgetCommand(files), versionCommand(), completionCommand(),
		},
	}
	for _, cmd := range app.Commands {
		if slices.ContainsFunc(cmd.Flags, func(f ucli.Flag) bool { return slices.Contains(f.Names(), askVaultFlag) }) {
			askingVault(cmd, askVaultPassword)
		}
	}
	if len(lab) > 0 {
		app.Commands = append(app.Commands, &ucli.Command{
			Name: "lab", Usage: "whole clusters on this machine, to try sdn-tunnel on", Subcommands: lab})
	}
	app.OnUsageError = wrongUsage
	app.Action = help(app.Commands)
	strict(app.Commands)
	return app
}

// strict has commands, and those below, refuse what they do not know with ExitUsage.
func strict(commands []*ucli.Command) {
	for _, c := range commands {
		c.OnUsageError = wrongUsage
		switch {
		case len(c.Subcommands) > 0 && c.Action == nil:
			c.Action = help(c.Subcommands)
		case c.ArgsUsage == "" && c.Action != nil:
			c.Action = noArguments(c.Action)
		}
		strict(c.Subcommands)
	}
}

// noArguments is for a command without any. One that is passed over could be the cluster that
// the command was meant for, and what stands behind it, a flag that was to hold it back.
func noArguments(do ucli.ActionFunc) ucli.ActionFunc {
	return func(c *ucli.Context) error {
		if c.Args().Present() {
			return usage("%q is one too many: this command takes flags only; see %s --help", c.Args().First(), c.Command.HelpName)
		}
		return do(c)
	}
}

// wrongUsage is for what urfave/cli could not read.
func wrongUsage(c *ucli.Context, err error, _ bool) error {
	return usage("%w; see %s --help", err, c.Command.HelpName)
}

// usage is an error of the command line.
func usage(format string, a ...any) error { return codeError{fmt.Errorf(format, a...), ExitUsage} }

// help is what a command does that only has others below it.
func help(commands []*ucli.Command) ucli.ActionFunc {
	return func(c *ucli.Context) error {
		name := c.Args().First()
		if name == "" {
			return ucli.ShowSubcommandHelp(c)
		}
		known := []string{"help"}
		for _, cmd := range commands {
			known = append(known, cmd.Names()...)
		}
		if near := spelling.Nearest(name, known); near != "" {
			return usage("there is no command %q; did you mean %s?", name, near)
		}
		return usage("there is no command %q; see %s --help", name, c.App.Name)
	}
}

// codeError is an error with an exit code of its own.
type codeError struct {
	error
	code int
}

func (e codeError) Unwrap() error { return e.error }

// ExitCode is the exit code for what a command returned.
func ExitCode(err error, interrupted bool) int {
	var code codeError
	var exit *playbook.ExitError
	var coder ucli.ExitCoder
	switch {
	case err == nil:
		return 0
	case interrupted:
		return ExitInterrupted
	case errors.As(err, &code):
		return code.code
	case errors.As(err, &exit) && exit.Code > 0:
		return exit.Code
	case errors.As(err, &coder):
		return coder.ExitCode()
	}
	return ExitFailed
}

func versionCommand() *ucli.Command {
	return &ucli.Command{
		Name: "version", Usage: "show the version",
		Action: func(c *ucli.Context) error {
			_, err := fmt.Fprintln(c.App.Writer, "sdn-tunnel", version.String())
			return err
		},
	}
}

// completions are what a shell evaluates; urfave/cli answers --generate-bash-completion.
var completions = map[string]string{
	"bash": `_sdn_tunnel() {
  local words=("${COMP_WORDS[@]:0:$COMP_CWORD}")
  COMPREPLY=($(compgen -W "$("${words[@]}" --generate-bash-completion 2>/dev/null)" -- "${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _sdn_tunnel sdn-tunnel
`,
	"zsh": `#compdef sdn-tunnel
_sdn_tunnel() {
  local -a found
  found=("${(@f)$(_CLI_ZSH_AUTOCOMPLETE_HACK=1 ${words[@]:0:#words[@]-1} --generate-bash-completion 2>/dev/null)}")
  _describe 'command' found || _files
}
compdef _sdn_tunnel sdn-tunnel
`,
	"fish": `complete -c sdn-tunnel -f -a '(commandline -opc | string join " " | sh -c "read line; \$line --generate-bash-completion 2>/dev/null")'
`,
}

func completionCommand() *ucli.Command {
	cmd := &ucli.Command{
		Name: "completion", Usage: "print the completion script of a shell",
		Description: "   source <(sdn-tunnel completion bash)\n   sdn-tunnel completion fish > ~/.config/fish/completions/sdn-tunnel.fish",
	}
	for _, shell := range []string{"bash", "zsh", "fish"} {
		cmd.Subcommands = append(cmd.Subcommands, &ucli.Command{
			Name: shell, Usage: "the script for " + shell,
			Action: func(c *ucli.Context) error {
				_, err := fmt.Fprint(c.App.Writer, completions[shell])
				return err
			},
		})
	}
	return cmd
}
