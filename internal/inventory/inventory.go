package inventory

import (
	"fmt"
	"io/fs"
	"net/netip"
	"regexp"
	"strings"

	"github.com/sdn-tunnel/sdn-tunnel/internal/kubeaccess"
)

// Source is where an inventory is and what goes with it.
type Source struct {
	// Path is a file or folder.
	Path string
	// VaultPasswordFile is passed to Ansible.
	VaultPasswordFile string
	// VarsFiles are files of variables that win over the inventory's (JSON or YAML), and
	// Vars win over these.
	VarsFiles []string
	Vars      map[string]any
	// Playbooks holds playbooks/members.yml and playbooks/group_vars, by which the
	// playbooks find the members.
	Playbooks fs.FS
}

// Inventory is what was read.
type Inventory struct {
	// Clusters are the members, by name.
	Clusters []Cluster
	// Vars are the variables that hold for all members, e.g. tunnel_port, evaluated.
	Vars map[string]any
	// Warnings name variables that nothing reads, with what may have been meant.
	Warnings []string
}

// Cluster is one member, the way to its API, and the networks that the operator gives
// for it; none where the cluster itself is to tell them.
type Cluster struct {
	Name                   string
	Access                 kubeaccess.Args
	PodCIDRs, ServiceCIDRs []netip.Prefix
	// ExportPolicy is "all" or "exported"; empty: what the cluster's API says stays.
	ExportPolicy string
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

// Bool returns a variable of all members as Ansible's filter "bool" reads it, or def.
func (i Inventory) Bool(name string, def bool) bool {
	switch strings.ToLower(i.String(name, "")) {
	case "":
		return def
	case "true", "yes", "on", "1", "y", "t":
		return true
	}
	return false
}

var dnsLabel = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)

// Check refuses names that are no DNS labels or come twice.
func (i Inventory) Check() error {
	seen := map[string]bool{}
	for _, c := range i.Clusters {
		if err := checkName(c.Name, seen); err != nil {
			return err
		}
	}
	return nil
}

func checkName(name string, seen map[string]bool) error {
	if !dnsLabel.MatchString(name) {
		return fmt.Errorf("cluster %q: its name must be a DNS label: lower-case letters, digits and '-', at most 63", name)
	}
	if seen[name] {
		return fmt.Errorf("cluster %s: named twice: give each cluster a name of its own", name)
	}
	seen[name] = true
	return nil
}
