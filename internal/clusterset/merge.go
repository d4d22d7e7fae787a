package clusterset

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	mcsv1alpha1 "sigs.k8s.io/mcs-api/pkg/apis/v1alpha1"
)

// Export is one member's export of a service: a ServiceExport and the Service that it names.
type Export struct {
	Cluster string
	// Created is when the ServiceExport was made, by the clock of its cluster: the oldest
	// decides, and of two that are equally old the one whose cluster's name comes first.
	Created  time.Time
	Headless bool
	Ports    []mcsv1alpha1.ServicePort
	// Affinity of the service, and how many seconds it lasts; of a headless one ignored.
	Affinity        corev1.ServiceAffinity
	AffinitySeconds int32
}

// Import is the service that the exports make together.
type Import struct {
	Type mcsv1alpha1.ServiceImportType
	// Ports is the union of the exports' ports, the oldest's first. No two share a name,
	// none a protocol and number.
	Ports           []mcsv1alpha1.ServicePort
	Affinity        corev1.ServiceAffinity
	AffinitySeconds int32
	// Clusters export the service, in the order of their names.
	Clusters []string

	// carried says by cluster what a port of its own is called here; what is not in it is
	// not carried.
	carried map[string]map[string]string
}

// PortName is what the port that a cluster's endpoints call name is called in the import;
// not ok when the import does not carry it.
func (i Import) PortName(cluster, name string) (imported string, ok bool) {
	imported, ok = i.carried[cluster][name]
	return imported, ok
}

// Conflict is one way in which an export differs from what was decided.
type Conflict struct {
	Reason mcsv1alpha1.ServiceExportConditionReason
	// Message names the field, who decided and why.
	Message string
}

// Merge makes one service of at least one export, each of another cluster, and tells what
// each cluster's export conflicts with. The order of the exports does not matter.
func Merge(exports []Export) (Import, map[string][]Conflict) {
	exports = slices.Clone(exports)
	slices.SortFunc(exports, func(a, b Export) int {
		return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.Cluster, b.Cluster))
	})
	m := merger{conflicts: map[string][]Conflict{}, owner: map[string]string{}}
	if len(exports) == 0 {
		return m.made, m.conflicts
	}
	m.oldest = exports[0]
	m.made = Import{Type: mcsv1alpha1.ClusterSetIP, carried: map[string]map[string]string{}}
	if m.oldest.Headless {
		m.made.Type = mcsv1alpha1.Headless
	} else {
		m.made.Affinity, m.made.AffinitySeconds = m.oldest.Affinity, m.oldest.AffinitySeconds
	}
	for _, e := range exports {
		m.add(e)
	}
	slices.Sort(m.made.Clusters)
	return m.made, m.conflicts
}

// merger is a merge half way.
type merger struct {
	oldest    Export
	made      Import
	owner     map[string]string // of a port's name, the cluster that it came from
	conflicts map[string][]Conflict
}

func (m *merger) add(e Export) {
	m.made.Clusters = append(m.made.Clusters, e.Cluster)
	m.made.carried[e.Cluster] = map[string]string{}
	if e.Headless != m.oldest.Headless {
		m.conflict(e, mcsv1alpha1.ServiceExportReasonTypeConflict, "the service is %s, but %s in cluster %s, whose export is the oldest: %s it stays",
			kind(e.Headless), kind(m.oldest.Headless), m.oldest.Cluster, kind(m.oldest.Headless))
	}
	m.affinity(e)
	m.ports(e)
}

func kind(headless bool) string {
	if headless {
		return "headless"
	}
	return "of type ClusterSetIP"
}

// affinity compares a service's with the oldest's, when both have an address.
func (m *merger) affinity(e Export) {
	if e.Headless || m.oldest.Headless {
		return
	}
	switch {
	case e.Affinity != m.oldest.Affinity:
		m.conflict(e, mcsv1alpha1.ServiceExportReasonSessionAffinityConflict, "sessionAffinity is %s, but %s in cluster %s, whose export is the oldest: that holds",
			e.Affinity, m.oldest.Affinity, m.oldest.Cluster)
	case e.AffinitySeconds != m.oldest.AffinitySeconds:
		m.conflict(e, mcsv1alpha1.ServiceExportReasonSessionAffinityConfigConflict, "sessionAffinity lasts %d s, but %d s in cluster %s, whose export is the oldest: that holds",
			e.AffinitySeconds, m.oldest.AffinitySeconds, m.oldest.Cluster)
	}
}

// ports adds a service's ports to the union, and tells what could not be added or is not
// the same everywhere.
func (m *merger) ports(e Export) {
	var differ []string
	for _, p := range e.Ports {
		if why := m.port(e.Cluster, p); why != "" {
			differ = append(differ, why)
		}
	}
	for _, p := range m.oldest.Ports {
		if !slices.ContainsFunc(e.Ports, func(q mcsv1alpha1.ServicePort) bool { return sameNumber(p, q) }) {
			differ = append(differ, fmt.Sprintf("%s of cluster %s is missing here", describe(p), m.oldest.Cluster))
		}
	}
	if len(differ) > 0 {
		m.conflict(e, mcsv1alpha1.ServiceExportReasonPortConflict, "ports differ, and the older export decides: %s", strings.Join(differ, "; "))
	}
}

// port adds one port to the union; why tells in what it differs from an older export's.
func (m *merger) port(cluster string, p mcsv1alpha1.ServicePort) (why string) {
	same := slices.IndexFunc(m.made.Ports, func(q mcsv1alpha1.ServicePort) bool { return sameNumber(p, q) })
	if same >= 0 {
		q := m.made.Ports[same]
		m.made.carried[cluster][p.Name] = q.Name
		switch {
		case q.Name != p.Name:
			return fmt.Sprintf("%s is called %q in cluster %s", describe(p), q.Name, m.owner[q.Name])
		case application(p) != application(q):
			return fmt.Sprintf("%s speaks %q, but %q in cluster %s", describe(p), application(p), application(q), m.owner[q.Name])
		}
		return ""
	}
	if owner, taken := m.owner[p.Name]; taken {
		return fmt.Sprintf("%s has another number or protocol in cluster %s and is not imported", describe(p), owner)
	}
	if _, nameless := m.owner[""]; nameless || (p.Name == "" && len(m.made.Ports) > 0) {
		return fmt.Sprintf("%s is not imported: several ports need names, and one has none", describe(p))
	}
	m.made.Ports = append(m.made.Ports, p)
	m.owner[p.Name] = cluster
	m.made.carried[cluster][p.Name] = p.Name
	if cluster != m.oldest.Cluster {
		return fmt.Sprintf("%s is missing in cluster %s, and is imported", describe(p), m.oldest.Cluster)
	}
	return ""
}

func (m *merger) conflict(e Export, reason mcsv1alpha1.ServiceExportConditionReason, format string, args ...any) {
	m.conflicts[e.Cluster] = append(m.conflicts[e.Cluster], Conflict{reason, fmt.Sprintf(format, args...)})
}

func sameNumber(p, q mcsv1alpha1.ServicePort) bool {
	return p.Port == q.Port && protocol(p) == protocol(q)
}

func protocol(p mcsv1alpha1.ServicePort) corev1.Protocol {
	return cmp.Or(p.Protocol, corev1.ProtocolTCP)
}

func application(p mcsv1alpha1.ServicePort) string {
	if p.AppProtocol == nil {
		return ""
	}
	return *p.AppProtocol
}

func describe(p mcsv1alpha1.ServicePort) string {
	if p.Name == "" {
		return fmt.Sprintf("port %d/%s", p.Port, protocol(p))
	}
	return fmt.Sprintf("port %s (%d/%s)", p.Name, p.Port, protocol(p))
}
