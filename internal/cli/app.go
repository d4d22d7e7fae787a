package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"

	ucli "github.com/urfave/cli/v2"

	"github.com/sdn-tunnel/sdn-tunnel/internal/playbook"
	"github.com/sdn-tunnel/sdn-tunnel/internal/version"
)

// Exit codes of every command.
const (
	ExitFailed      = 1   // it could not be done, or pairs fail, or something is down
	ExitBlind       = 2   // status, graph: something could not be read, so that nobody knows
	ExitConflicts   = 2   // the plan has conflicts; ansible-playbook: a host failed
	ExitInterrupted = 130 // ended by a signal
)

const description = `Links the pod networks of several OpenShift or Kubernetes clusters, from node to node,
encrypted. One inventory names the clusters.

   sdn-tunnel init --context east --context west -o inventory/hosts.yml
   sdn-tunnel plan   -i inventory
   sdn-tunnel deploy -i inventory
   sdn-tunnel verify -i inventory

Exit codes: 0 well; 1 failed, or verify found failing pairs, or status found something
wrong; 2 plan found conflicts, status could not read a cluster; deploy and teardown: 2 a cluster or node failed, 4 one was
unreachable, as ansible-playbook says it; 130 interrupted.`

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
			initCommand(), planCommand(files), deployCommand(files), verifyCommand(files), statusCommand(files), graphCommand(files), gatherCommand(files),
			teardownCommand(files), versionCommand(), completionCommand(),
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
	return app
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
