package inventory

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/sdn-tunnel/sdn-tunnel/internal/kubeaccess"
)

// Source is where an inventory is and what goes with it.
type Source struct {
	// Path is a file or folder.
	Path string
	// VaultPasswordFile is passed to ansible-inventory.
	VaultPasswordFile string
	// VarsFiles are files of variables that win over the inventory's (JSON or YAML), and
	// Vars win over these.
	VarsFiles []string
	Vars      map[string]any
}

// Inventory is what was read.
type Inventory struct {
	// Clusters are the members, by name.
	Clusters []Cluster
	// Vars are the variables that hold for all members, e.g. tunnel_port.
	Vars map[string]any
}

// Cluster is one member and the way to its API.
type Cluster struct {
	Name   string
	Access kubeaccess.Args
}

// String returns a variable of all members, or def.
func (i Inventory) String(name, def string) string {
	if v, ok := i.Vars[name]; ok && v != nil {
		if s := fmt.Sprint(v); s != "" {
			return s
		}
	}
	return def
}

var dnsLabel = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)

// Load reads the inventory.
func Load(ctx context.Context, s Source) (Inventory, error) {
	args := []string{"-i", s.Path, "--list"}
	if s.VaultPasswordFile != "" {
		args = append(args, "--vault-password-file", s.VaultPasswordFile)
	}
	for _, f := range s.VarsFiles {
		args = append(args, "--extra-vars", "@"+f)
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "ansible-inventory", args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return Inventory{}, errors.New("ansible-inventory is not installed: install ansible-core 2.14 or later")
	case err != nil:
		return Inventory{}, fmt.Errorf("read the inventory %s: %w: %s", s.Path, err, strings.TrimSpace(stderr.String()))
	}
	inv, err := parse(out, s.Vars)
	if err != nil {
		return Inventory{}, fmt.Errorf("inventory %s: %w", s.Path, err)
	}
	return inv, nil
}

// listing is the output of ansible-inventory --list.
type listing struct {
	Meta struct {
		HostVars map[string]map[string]any `json:"hostvars"`
	} `json:"_meta"`
	Clusters struct {
		Hosts []string `json:"hosts"`
	} `json:"clusters"`
}

func parse(out []byte, extra map[string]any) (Inventory, error) {
	var l listing
	if err := json.Unmarshal(out, &l); err != nil {
		return Inventory{}, fmt.Errorf("read the output of ansible-inventory: %w", err)
	}
	inv := Inventory{Vars: map[string]any{}}
	for _, name := range l.Clusters.Hosts {
		vars := merged(l.Meta.HostVars[name], extra)
		if err := inv.add(name, vars); err != nil {
			return Inventory{}, err
		}
		inv.Vars = vars
	}
	if err := inv.addList(l, extra); err != nil {
		return Inventory{}, err
	}
	if len(inv.Clusters) == 0 {
		return Inventory{}, errors.New("no clusters: it needs a group `clusters` whose hosts are the clusters, or a list variable `clusters`")
	}
	slices.SortFunc(inv.Clusters, func(a, b Cluster) int { return cmp.Compare(a.Name, b.Name) })
	return inv, nil
}

// addList adds the entries of the list variable, which any host may carry: they all
// have it from the group all.
func (i *Inventory) addList(l listing, extra map[string]any) error {
	for _, host := range append([]string{"localhost"}, sortedKeys(l.Meta.HostVars)...) {
		vars := merged(l.Meta.HostVars[host], extra)
		list, ok := vars["clusters"].([]any)
		if !ok {
			continue
		}
		for n, entry := range list {
			fields, ok := entry.(map[string]any)
			if !ok {
				return fmt.Errorf("clusters[%d]: want a mapping with name, url, username and password", n)
			}
			name, _ := fields["name"].(string)
			if name == "" {
				return fmt.Errorf("clusters[%d].name: missing", n)
			}
			if err := i.add(name, fields); err != nil {
				return err
			}
		}
		if len(i.Vars) == 0 {
			i.Vars = vars
		}
		return nil
	}
	return nil
}

func (i *Inventory) add(name string, vars map[string]any) error {
	if !dnsLabel.MatchString(name) {
		return fmt.Errorf("cluster %q: its name must be a DNS label: lower-case letters, digits and '-', at most 63", name)
	}
	for _, c := range i.Clusters {
		if c.Name == name {
			return fmt.Errorf("cluster %s: named twice", name)
		}
	}
	c := Cluster{Name: name, Access: kubeaccess.Args{Name: name}}
	for field, target := range map[string]*string{
		"kubeconfig": &c.Access.Kubeconfig, "kube_context": &c.Access.Context, "url": &c.Access.URL,
		"username": &c.Access.Username, "password": &c.Access.Password, "ca_file": &c.Access.CAFile,
	} {
		v, ok := vars[field]
		if !ok || v == nil {
			continue
		}
		s, ok := v.(string)
		if !ok {
			return fmt.Errorf("cluster %s: %s: want a string", name, field)
		}
		if strings.Contains(s, "{{") {
			return fmt.Errorf("cluster %s: %s is a template, which only playbooks can read: write the value itself, or give it with -e", name, field)
		}
		*target = s
	}
	i.Clusters = append(i.Clusters, c)
	return nil
}

func merged(base, over map[string]any) map[string]any {
	out := make(map[string]any, len(base)+len(over))
	for _, m := range []map[string]any{base, over} {
		for k, v := range m {
			out[k] = v
		}
	}
	return out
}

func sortedKeys(m map[string]map[string]any) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// Check refuses names that are no DNS labels or come twice.
func (i Inventory) Check() error {
	var fresh Inventory
	for _, c := range i.Clusters {
		if err := fresh.add(c.Name, nil); err != nil {
			return err
		}
	}
	return nil
}
