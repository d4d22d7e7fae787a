package meshplan

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/sdn-tunnel/sdn-tunnel/api/v1alpha1"
)

// PeerSecret is the name of the Secret that holds a cluster's way into another member.
func PeerSecret(member string) string { return "sdn-tunnel-peer-" + member }

// Make plans the mesh. If there is any conflict the plan is only for showing: nothing of
// it may be applied. All conflicts are found in one pass and sorted; so are the warnings.
func Make(in Input) (Plan, []Conflict) {
	p := &planner{options: in.Options.Defaults()}
	p.clusters = slices.Clone(in.Clusters)
	slices.SortStableFunc(p.clusters, func(a, b Facts) int { return cmp.Compare(a.Name, b.Name) })
	for i := range p.clusters {
		c := &p.clusters[i]
		c.Nodes = slices.Clone(c.Nodes)
		slices.SortStableFunc(c.Nodes, func(a, b Node) int { return cmp.Compare(a.Name, b.Name) })
	}
	p.checkOptions()
	p.checkMembers()
	for i := range p.clusters {
		p.checkCluster(&p.clusters[i])
	}
	p.checkOverlaps()
	tunnel := p.carve()
	services := p.endpoints()

	plan := Plan{Options: p.options, Clusters: []ClusterPlan{}}
	for i := range p.clusters {
		plan.Clusters = append(plan.Clusters, p.cluster(i, tunnel, services))
	}
	slices.SortFunc(p.warnings, func(a, b Warning) int {
		return cmp.Or(cmp.Compare(a.Cluster, b.Cluster), cmp.Compare(a.Detail, b.Detail))
	})
	plan.Warnings = slices.Compact(p.warnings)
	slices.SortFunc(p.conflicts, func(a, b Conflict) int {
		return cmp.Or(cmp.Compare(a.Cluster, b.Cluster), cmp.Compare(a.Field, b.Field),
			cmp.Compare(a.Detail, b.Detail), cmp.Compare(a.Remedy, b.Remedy))
	})
	return plan, slices.Compact(p.conflicts)
}

// planner gathers what is found about one input.
type planner struct {
	options   Options
	clusters  []Facts // by name, their nodes by name
	conflicts []Conflict
	warnings  []Warning
}

func (p *planner) conflict(cluster, field, remedy, format string, args ...any) {
	p.conflicts = append(p.conflicts, Conflict{cluster, field, fmt.Sprintf(format, args...), remedy})
}

func (p *planner) warn(cluster, format string, args ...any) {
	p.warnings = append(p.warnings, Warning{cluster, fmt.Sprintf(format, args...)})
}

// cluster is the plan of cluster i.
func (p *planner) cluster(i int, tunnel map[string]netip.Prefix, services [][]NodeService) ClusterPlan {
	c := &p.clusters[i]
	cp := ClusterPlan{
		Name: c.Name, Server: c.Server, Platform: c.Platform, Attachment: c.attachment(),
		TunnelCIDR: tunnel[c.Name], LinkedClusters: []LinkedCluster{}, Nodes: services[i], Peers: []string{},
	}
	for j := range p.clusters {
		m := &p.clusters[j]
		lc := p.linked(m, tunnel[m.Name])
		if m.Name != c.Name {
			lc.Spec.API = &v1alpha1.ClusterAPI{Server: m.Server, Secret: PeerSecret(m.Name)}
			cp.Peers = append(cp.Peers, m.Name)
		}
		cp.LinkedClusters = append(cp.LinkedClusters, lc)
	}
	return cp
}

// linked is the object that stands for member m in every cluster.
func (p *planner) linked(m *Facts, tunnel netip.Prefix) LinkedCluster {
	spec := v1alpha1.LinkedClusterSpec{
		PodCIDRs:       cidrs(m.PodCIDRs),
		ServiceCIDRs:   cidrs(m.ServiceCIDRs),
		GlobalPodCIDRs: cidrs(m.GlobalPodCIDRs),
		Topology:       v1alpha1.TopologyMesh,
		DNSZone:        strings.ReplaceAll(p.options.DNSZone, "{cluster}", m.Name),
	}
	spec.ExportPolicy, _ = exportPolicy(p.options.ExportPolicy[m.Name])
	if tunnel.IsValid() {
		spec.TunnelCIDR = v1alpha1.CIDR(tunnel.String())
	}
	return LinkedCluster{
		APIVersion: v1alpha1.GroupVersion.String(), Kind: "LinkedCluster",
		Metadata: Metadata{Name: m.Name, Labels: map[string]string{v1alpha1.LabelCluster: m.Name}},
		Spec:     spec,
	}
}

func cidrs(ps []netip.Prefix) []v1alpha1.CIDR {
	var out []v1alpha1.CIDR
	for _, p := range ps {
		out = append(out, v1alpha1.CIDR(p.String()))
	}
	return out
}
