package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"

	ucli "github.com/urfave/cli/v2"
	"golang.org/x/term"
	"sigs.k8s.io/yaml"

	"github.com/sdn-tunnel/sdn-tunnel/internal/inventory"
	"github.com/sdn-tunnel/sdn-tunnel/internal/kubeaccess"
)

// inventoryFlags are those of every command that reads an inventory.
func inventoryFlags() []ucli.Flag {
	return []ucli.Flag{
		&ucli.StringFlag{Name: "inventory", Aliases: []string{"i"}, Usage: "inventory file or folder (must be given)"},
		&ucli.StringSliceFlag{Name: "extra-vars", Aliases: []string{"e"}, Usage: "variables: @file, name=value, or YAML; secrets belong into a file"},
		&ucli.StringFlag{Name: vaultFileFlag, Usage: "file with the password of Ansible vaults, or a program that prints it"},
		&ucli.BoolFlag{Name: askVaultFlag, Aliases: []string{"J"}, Usage: "ask for the password of Ansible vaults"},
	}
}

func outputFlag(values string) ucli.Flag {
	return &ucli.StringFlag{Name: "output", Aliases: []string{"o"}, Value: "table", Usage: values}
}

// wantOutput refuses formats that a command does not have.
func wantOutput(c *ucli.Context) error {
	if o := c.String("output"); o != "table" && o != "json" {
		return usage("--output %q: want table or json", o)
	}
	return nil
}

// source is the inventory that the flags name.
func source(c *ucli.Context) (inventory.Source, error) {
	if c.String("inventory") == "" {
		return inventory.Source{}, usage("--inventory: must be given; sdn-tunnel init writes one")
	}
	path, err := filepath.Abs(c.String("inventory"))
	if err != nil {
		return inventory.Source{}, err
	}
	if _, err := os.Stat(path); err != nil {
		return inventory.Source{}, fmt.Errorf("inventory: %w; sdn-tunnel init writes one", err)
	}
	s := inventory.Source{Path: path, Vars: map[string]any{}}
	if file := c.String(vaultFileFlag); file != "" {
		if s.VaultPasswordFile, err = filepath.Abs(file); err != nil {
			return inventory.Source{}, err
		}
	}
	for _, arg := range c.StringSlice("extra-vars") {
		if err := extraVars(&s, arg); err != nil {
			return inventory.Source{}, err
		}
	}
	return s, nil
}

func extraVars(s *inventory.Source, arg string) error {
	if file, ok := strings.CutPrefix(arg, "@"); ok {
		path, err := filepath.Abs(file)
		if err != nil {
			return err
		}
		s.VarsFiles = append(s.VarsFiles, path)
		return nil
	}
	if name, value, ok := strings.Cut(arg, "="); ok && !strings.ContainsAny(name, "{: ") {
		s.Vars[name] = value
		return nil
	}
	vars := map[string]any{}
	if err := yaml.Unmarshal([]byte(arg), &vars); err != nil {
		return usage("--extra-vars: want @file, name=value or a YAML mapping")
	}
	maps.Copy(s.Vars, vars)
	return nil
}

// member is a cluster of the inventory that answered.
type member struct {
	name   string
	access *kubeaccess.Access
}

// load reads the inventory that the flags name, with the variables that belong to the
// playbooks.
func load(c *ucli.Context, files fs.FS) (inventory.Inventory, error) {
	s, err := source(c)
	if err != nil {
		return inventory.Inventory{}, err
	}
	s.Playbooks = files
	return inventory.Load(c.Context, s)
}

// open reads the inventory and logs in to every cluster; done logs out again.
func open(c *ucli.Context, files fs.FS) (inv inventory.Inventory, members []member, done func(), err error) {
	if inv, err = load(c, files); err != nil {
		return inv, nil, nil, err
	}
	args := make([]kubeaccess.Args, len(inv.Clusters))
	for i, cluster := range inv.Clusters {
		args[i] = cluster.Access
	}
	accesses, err := kubeaccess.OpenAll(c.Context, args)
	if err != nil {
		return inv, nil, nil, err
	}
	for i, access := range accesses {
		members = append(members, member{inv.Clusters[i].Name, access})
	}
	return inv, members, func() { _ = accesses.Close(c.Context) }, nil
}

// parallel runs f for 0 to n-1 at once and joins the errors.
func parallel(n int, f func(int) error) error {
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { errs[i] = f(i) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// isTerminal tells whether w is one that shows colours.
func isTerminal(w any) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd())) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}
