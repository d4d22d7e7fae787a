package cli

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	ucli "github.com/urfave/cli/v2"

	"github.com/sdn-tunnel/sdn-tunnel/internal/facts"
	"github.com/sdn-tunnel/sdn-tunnel/internal/inventory"
	"github.com/sdn-tunnel/sdn-tunnel/internal/meshplan"
)

func planCommand(files fs.FS) *ucli.Command {
	return &ucli.Command{
		Name: "plan", Usage: "show what would be linked, and every conflict; touches nothing",
		Description: "   sdn-tunnel plan -i inventory\n   sdn-tunnel plan -i inventory -o json\n\nExit code 2 if there are conflicts.",
		Flags:       append(inventoryFlags(), outputFlag("table or json")),
		Action:      func(c *ucli.Context) error { return runPlan(c, files) },
	}
}

func runPlan(c *ucli.Context, files fs.FS) error {
	if err := wantOutput(c); err != nil {
		return err
	}
	inv, members, done, err := open(c, files)
	if err != nil {
		return err
	}
	defer done()
	in := meshplan.Input{Clusters: make([]meshplan.Facts, len(members))}
	if in.Options, err = planOptions(inv); err != nil {
		return err
	}
	err = parallel(len(members), func(i int) (err error) {
		in.Clusters[i], err = facts.GatherWith(c.Context, members[i].access.Config, facts.Given{
			Name: members[i].name, PodCIDRs: inv.Clusters[i].PodCIDRs, ServiceCIDRs: inv.Clusters[i].ServiceCIDRs,
		})
		return err
	})
	if err != nil {
		return err
	}
	plan, conflicts := meshplan.Make(in)
	for _, warning := range inv.Warnings {
		plan.Warnings = append(plan.Warnings, meshplan.Warning{Detail: warning})
	}
	if c.String("output") == "json" {
		enc := json.NewEncoder(c.App.Writer)
		enc.SetIndent("", "  ")
		err = enc.Encode(map[string]any{"plan": plan, "conflicts": conflicts})
	} else {
		err = writePlan(c.App.Writer, in, plan, conflicts)
	}
	if err != nil {
		return err
	}
	if n := len(conflicts); n > 0 {
		return codeError{fmt.Errorf("%d conflicts: nothing can be deployed before they are solved", n), ExitConflicts}
	}
	return nil
}

// planOptions reads the variables that a plan depends on.
func planOptions(inv inventory.Inventory) (meshplan.Options, error) {
	o := meshplan.Options{ServiceType: meshplan.ServiceType(inv.String("service_type", "")), DNSZone: inv.String("dns_zone", "")}
	if s := inv.String("tunnel_port", ""); s != "" {
		port, err := strconv.ParseUint(s, 10, 16)
		if err != nil {
			return o, fmt.Errorf("tunnel_port: %q is not a port", s)
		}
		o.TunnelPort = uint16(port)
	}
	if s := inv.String("tunnel_pool", ""); s != "" {
		pool, err := netip.ParsePrefix(s)
		if err != nil {
			return o, fmt.Errorf("tunnel_pool: %w", err)
		}
		o.TunnelPool = pool
	}
	static, _ := inv.Vars["static_endpoints"].(map[string]any)
	o.ExportPolicy = map[string]string{}
	for _, c := range inv.Clusters {
		o.ExportPolicy[c.Name] = c.ExportPolicy
	}
	for node, address := range static {
		if o.StaticEndpoints == nil {
			o.StaticEndpoints = map[string]string{}
		}
		o.StaticEndpoints[node] = fmt.Sprint(address)
	}
	return o, nil
}

func writePlan(w io.Writer, in meshplan.Input, plan meshplan.Plan, conflicts []meshplan.Conflict) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "CLUSTER\tVERSION\tNETWORK\tPODS\tSERVICES\tNODES\tTUNNELS")
	tunnels := map[string]string{}
	for _, p := range plan.Clusters {
		tunnels[p.Name] = p.TunnelCIDR.String()
	}
	clusters := slices.Clone(in.Clusters)
	slices.SortFunc(clusters, func(a, b meshplan.Facts) int { return cmp.Compare(a.Name, b.Name) })
	for _, f := range clusters {
		fmt.Fprintf(tw, "%s\t%d.%d\t%s\t%s\t%s\t%d\t%s\n", f.Name, f.Major, f.Minor, f.NetworkType,
			prefixes(f.PodCIDRs), prefixes(f.ServiceCIDRs), len(f.Nodes), cmp.Or(tunnels[f.Name], "-"))
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	for _, warning := range plan.Warnings {
		fmt.Fprintf(w, "warning: %s\n", strings.TrimSpace(warning.Cluster+" "+warning.Detail))
	}
	for _, c := range conflicts {
		fmt.Fprintf(w, "conflict: %s\n", c)
	}
	if len(conflicts) == 0 {
		fmt.Fprintln(w, "no conflicts: a deploy can link them")
	}
	return nil
}

func prefixes(all []netip.Prefix) string {
	out := make([]string, len(all))
	for i, p := range all {
		out[i] = p.String()
	}
	return cmp.Or(strings.Join(out, ","), "-")
}
