package cli

import (
	"context"
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
		&ucli.StringFlag{Name: "inventory", Aliases: []string{"i"}, Usage: "inventory file or folder", Required: true},
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
		return fmt.Errorf("--output %q: want table or json", o)
	}
	return nil
}

// source is the inventory that the flags name.
func source(c *ucli.Context) (inventory.Source, error) {
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
		return errors.New("--extra-vars: want @file, name=value or a YAML mapping")
	}
	maps.Copy(s.Vars, vars)
	return nil
}

// member is a cluster of the inventory that answered.
type member struct {
	name   string
	access *kubeaccess.Access
}

// open reads the inventory and logs in to every cluster; done logs out again.
func open(c *ucli.Context, files fs.FS) (inv inventory.Inventory, members []member, done func(), err error) {
	s, err := source(c)
	if err != nil {
		return inv, nil, nil, err
	}
	s.Playbooks = files
	if inv, err = inventory.Load(c.Context, s); err != nil {
		return inv, nil, nil, err
	}
	members = make([]member, len(inv.Clusters))
	err = parallel(len(members), func(i int) error {
		access, err := kubeaccess.Open(c.Context, inv.Clusters[i].Access)
		members[i] = member{inv.Clusters[i].Name, access}
		return err
	})
	done = func() {
		for _, m := range members {
			_ = m.access.Close(context.WithoutCancel(c.Context))
		}
	}
	if err != nil {
		done()
		return inv, nil, nil, err
	}
	return inv, members, done, nil
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
