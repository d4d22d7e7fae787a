package inventory

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sdn-tunnel/sdn-tunnel/internal/kubeaccess"
)

// accessVariables say how a cluster is reached, networkVariables what its networks are,
// policyVariable which services it shares;
// optionVariables hold for all members, and are taken from the first cluster, as the
// playbooks' run_once does.
var (
	accessVariables  = []string{"kubeconfig", "kube_context", "url", "username", "password", "ca_file"}
	networkVariables = []string{"pod_cidrs", "service_cidrs"}
	policyVariable   = "export_policy"
	optionVariables  = []string{
		"tunnel_mode", "tunnel_port", "tunnel_pool", "service_type", "static_endpoints",
		"namespace", "test_image", "image_pull_policy", "dns_zone", "service_proxy", "dns_enabled", "dns_forward",
		"dns_clusterset",
	}
)

// evaluated are the variables of one host, as the action plugin writes them.
type evaluated struct {
	Values map[string]any    `json:"values"`
	Errors map[string]string `json:"errors"`
	// Folder is the inventory's, if it is a file's or folder's.
	Folder string `json:"folder"`
	// Names are all variables of the host.
	Names []string `json:"names"`
	// Order are the hosts of the group clusters.
	Order []string `json:"order"`
}

func parseHost(content []byte) (evaluated, error) {
	var e evaluated
	d := json.NewDecoder(bytes.NewReader(content))
	d.UseNumber()
	if err := d.Decode(&e); err != nil {
		return e, fmt.Errorf("read the evaluated variables: %w", err)
	}
	return e, nil
}

// checkList looks at the list variable "clusters", and at the names in it and in the
// group.
func checkList(local evaluated) error {
	if why, failed := local.Errors["clusters"]; failed {
		return fmt.Errorf("clusters: %s", why)
	}
	seen := map[string]bool{}
	for _, name := range local.Order {
		if err := checkName(name, seen); err != nil {
			return err
		}
	}
	value := local.Values["clusters"]
	if value == nil {
		return nil
	}
	list, ok := value.([]any)
	if !ok {
		return errors.New("clusters: want a list of mappings with name, url, username and password")
	}
	for n, entry := range list {
		fields, ok := entry.(map[string]any)
		if !ok {
			return fmt.Errorf("clusters[%d]: want a mapping with name, url, username and password", n)
		}
		name, _ := fields["name"].(string)
		if name == "" {
			return fmt.Errorf("clusters[%d].name: missing, or not a string", n)
		}
		if err := checkName(name, seen); err != nil {
			return fmt.Errorf("clusters[%d]: %w", n, err)
		}
	}
	return nil
}

// assemble makes the inventory of the hosts in the group clusters.
func assemble(hosts map[string]evaluated) (Inventory, error) {
	inv := Inventory{}
	for name, e := range hosts {
		c, err := clusterOf(name, e)
		if err != nil {
			return Inventory{}, err
		}
		inv.Clusters = append(inv.Clusters, c)
	}
	if len(inv.Clusters) == 0 {
		return Inventory{}, errors.New("no clusters: it needs a group `clusters` whose hosts are the clusters, or a list variable `clusters`")
	}
	slices.SortFunc(inv.Clusters, func(a, b Cluster) int { return cmp.Compare(a.Name, b.Name) })
	if err := inv.Check(); err != nil {
		return Inventory{}, err
	}
	first := inv.Clusters[0].Name
	if order := hosts[first].Order; len(order) > 0 {
		if _, ok := hosts[order[0]]; ok {
			first = order[0]
		}
	}
	for _, name := range optionVariables {
		if why, failed := hosts[first].Errors[name]; failed {
			return Inventory{}, fmt.Errorf("%s: %s", name, why)
		}
	}
	inv.Vars = hosts[first].Values
	var names []string
	for _, e := range hosts {
		names = append(names, e.Names...)
	}
	slices.Sort(names)
	inv.Warnings = Unknown(slices.Compact(names))
	return inv, nil
}

func clusterOf(name string, e evaluated) (Cluster, error) {
	c := Cluster{Name: name, Access: kubeaccess.Args{Name: name}}
	targets := []*string{&c.Access.Kubeconfig, &c.Access.Context, &c.Access.URL, &c.Access.Username, &c.Access.Password, &c.Access.CAFile}
	for i, field := range accessVariables {
		if why, failed := e.Errors[field]; failed {
			return c, fmt.Errorf("cluster %s: %s: %s", name, field, why)
		}
		switch v := e.Values[field].(type) {
		case nil:
		case string:
			*targets[i] = v
		case json.Number:
			*targets[i] = v.String() // a password of digits
		default:
			return c, fmt.Errorf("cluster %s: %s: want a string", name, field)
		}
	}
	for _, path := range []*string{&c.Access.Kubeconfig, &c.Access.CAFile} {
		if p := *path; p != "" && e.Folder != "" && !filepath.IsAbs(p) && !strings.HasPrefix(p, "~/") {
			*path = filepath.Join(e.Folder, p)
		}
	}
	if why, failed := e.Errors[policyVariable]; failed {
		return c, fmt.Errorf("cluster %s: %s: %s", name, policyVariable, why)
	}
	if v := e.Values[policyVariable]; v != nil {
		c.ExportPolicy = fmt.Sprint(v)
	}
	networks := []*[]netip.Prefix{&c.PodCIDRs, &c.ServiceCIDRs}
	for i, field := range networkVariables {
		var err error
		if *networks[i], err = prefixes(e, field); err != nil {
			return c, fmt.Errorf("cluster %s: %s: %w", name, field, err)
		}
	}
	return c, nil
}

// prefixes reads a variable that is a list of address prefixes, or text with commas
// between them, as Ansible's modules take it.
func prefixes(e evaluated, field string) (list []netip.Prefix, err error) {
	if why, failed := e.Errors[field]; failed {
		return nil, errors.New(why)
	}
	var entries []any
	switch v := e.Values[field].(type) {
	case nil:
	case []any:
		entries = v
	case string:
		for word := range strings.SplitSeq(v, ",") {
			if word = strings.TrimSpace(word); word != "" {
				entries = append(entries, word)
			}
		}
	default:
		return nil, errors.New("want a list of address prefixes")
	}
	for _, entry := range entries {
		p, err := netip.ParsePrefix(fmt.Sprint(entry))
		if err != nil {
			return nil, fmt.Errorf("%w: want address prefixes such as 10.128.0.0/14", err)
		}
		list = append(list, p)
	}
	return list, nil
}
