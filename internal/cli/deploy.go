package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	ucli "github.com/urfave/cli/v2"

	"github.com/sdn-tunnel/sdn-tunnel/internal/playbook"
)

func deployCommand(files fs.FS) *ucli.Command {
	return &ucli.Command{
		Name: "deploy", Usage: "link the clusters of an inventory, or bring a mesh up to date",
		Description: "   sdn-tunnel deploy -i inventory\n   sdn-tunnel deploy -i inventory --check --diff   what would change; writes nothing",
		Flags:       playbookFlags(files),
		Action:      func(c *ucli.Context) error { return runPlaybook(c, files, "deploy") },
	}
}

func teardownCommand(files fs.FS) *ucli.Command {
	return &ucli.Command{
		Name: "teardown", Usage: "take a mesh away from all its clusters and nodes",
		Description: "   sdn-tunnel teardown -i inventory\n   sdn-tunnel teardown -i inventory --check\n   sdn-tunnel teardown -i inventory --yes   from scripts",
		Flags: append(playbookFlags(files),
			&ucli.BoolFlag{Name: "yes", Aliases: []string{"y"}, Usage: "do not ask"}),
		Action: func(c *ucli.Context) error {
			if err := confirmTeardown(c, files); err != nil {
				return err
			}
			return runPlaybook(c, files, "teardown")
		},
	}
}

// playbookFlags are those of a command that runs the playbook of its name.
func playbookFlags(files fs.FS) []ucli.Flag {
	return append(inventoryFlags(),
		&ucli.BoolFlag{Name: "check", Aliases: []string{"C"}, Usage: "change nothing, say what would be changed"},
		&ucli.BoolFlag{Name: "diff", Aliases: []string{"D"}, Usage: "show the changes"},
		&ucli.StringFlag{Name: "limit", Aliases: []string{"l"}, Usage: "only these clusters or nodes (an Ansible pattern)"},
		&ucli.StringFlag{Name: "tags", Aliases: []string{"t"}, Usage: "only tasks with these tags", Action: func(c *ucli.Context, tags string) error {
			if err := playbook.CheckTags(files, c.Command.Name, tags); err != nil {
				return codeError{err, ExitUsage}
			}
			return nil
		}},
		&ucli.IntFlag{Name: "forks", Aliases: []string{"f"}, Usage: "how many clusters or nodes at once", Value: 10},
		&ucli.BoolFlag{Name: "v", Usage: "Ansible's -v; more with --verbosity", Count: new(int)},
		&ucli.IntFlag{Name: "verbosity", Usage: "Ansible's verbosity, 0 to 4"},
		&ucli.BoolFlag{Name: "verbose", Usage: "show Ansible's own output in place of the progress"},
		&ucli.StringFlag{Name: "log", Usage: "file for Ansible's own output; by default a temporary one that is kept when the run fails"},
	)
}

// runPlaybook runs a playbook, with variables <name>=<value> of its own, and shows its
// progress, or Ansible's output.
func runPlaybook(c *ucli.Context, files fs.FS, name string, vars ...string) (err error) {
	s, err := source(c)
	if err != nil {
		return err
	}
	for _, v := range vars {
		if err := extraVars(&s, v); err != nil {
			return err
		}
	}
	tree, err := playbook.Locate(files)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, tree.Close()) }()
	log, err := openLog(c.String("log"), name)
	if err != nil {
		return err
	}
	defer log.Close()

	verbosity := max(c.Int("verbosity"), c.Count("v"))
	native := c.Bool("verbose") || verbosity > 0 || c.Bool("diff")
	var output io.Writer = log
	show := newProgress(c.App.Writer, isTerminal(c.App.Writer))
	var made changes
	progress := func(e playbook.Event) {
		made.event(e)
		if !native {
			show.event(e)
		}
	}
	if native {
		output = io.MultiWriter(log, c.App.Writer)
	}
	start := time.Now()
	err = playbook.Run{
		Tree: tree, Playbook: name, Inventory: s.Path, VarsFiles: s.VarsFiles, Vars: s.Vars,
		VaultPasswordFile: s.VaultPasswordFile, Limit: c.String("limit"), Tags: c.String("tags"),
		Check: c.Bool("check"), Diff: c.Bool("diff"), Verbosity: verbosity, Forks: c.Int("forks"),
		Output: output, Progress: progress,
	}.Do(c.Context)
	show.close()
	if err != nil {
		if !native && c.Err() == nil { // whoever ended it knows why
			showTail(c.App.ErrWriter, log.Name(), show.failures)
		}
		if !c.Bool("check") {
			made.left(c.App.Writer, name)
		}
		return fmt.Errorf("%w; Ansible's output is in %s", err, log.Name())
	}
	if c.String("log") == "" {
		_ = os.Remove(log.Name())
	}
	_, err = fmt.Fprintf(c.App.Writer, "%s done in %.0f s\n", name, time.Since(start).Seconds())
	return err
}

// openLog makes the log, which only the user reads.
func openLog(path, name string) (*os.File, error) {
	if path == "" {
		return os.CreateTemp("", "sdn-tunnel-"+name+"-*.log")
	}
	return os.OpenFile(filepath.Clean(path), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
}

// tailLines of Ansible's output are shown when no task says why a run failed.
const tailLines = 30

func showTail(w io.Writer, path string, failures int) {
	if failures > 0 {
		return
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return
	}
	lines := strings.Split(string(bytes.TrimSpace(content)), "\n")
	fmt.Fprintln(w, strings.Join(lines[max(0, len(lines)-tailLines):], "\n"))
}
