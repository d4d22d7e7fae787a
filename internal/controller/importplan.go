package controller

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	mcsv1alpha1 "sigs.k8s.io/mcs-api/pkg/apis/v1alpha1"

	"github.com/sdn-tunnel/sdn-tunnel/api/v1alpha1"
	"github.com/sdn-tunnel/sdn-tunnel/internal/clusterset"
	"github.com/sdn-tunnel/sdn-tunnel/internal/remoteservice"
)

// importFacts are what this cluster's API has about a service of the set of clusters.
type importFacts struct {
	// namespace: the service's is there, and stays.
	namespace bool
	// export is the own cluster's, and service what it exports; nil: there is none.
	export  *mcsv1alpha1.ServiceExport
	service *corev1.Service
	// slices are the own service's, mirrors those of the other members' services.
	slices, mirrors []*discoveryv1.EndpointSlice
}

// importPlan is what is to be made of an imported service.
type importPlan struct {
	// wanted: somebody exports the service, and there is a place for it.
	wanted bool
	made   clusterset.Import
	slices []*discoveryv1.EndpointSlice
	// exports are all that there are, the oldest first; own: one is the own cluster's.
	exports []clusterset.Export
	own     bool
	// conflicts are the own export's.
	conflicts []clusterset.Conflict
}

// planImport makes one service of all exports. An export without a service is none.
func planImport(id clusterset.ID, k importFacts, cluster, namespace string) (importPlan, error) {
	exports, sources, err := remoteExports(k.mirrors)
	if err != nil {
		return importPlan{}, fmt.Errorf("service %s: %w", id, err)
	}
	if own, ok := ownExport(k, cluster); ok {
		exports, sources[cluster] = append(exports, own), k.slices
	}
	p := importPlan{wanted: k.namespace && len(exports) > 0 && id.Namespace != namespace}
	slices.SortFunc(exports, func(a, b clusterset.Export) int {
		return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.Cluster, b.Cluster))
	})
	p.exports, p.own = exports, slices.ContainsFunc(exports, func(e clusterset.Export) bool { return e.Cluster == cluster })
	made, conflicts := clusterset.Merge(exports)
	p.made, p.conflicts = made, conflicts[cluster]
	if p.wanted {
		for _, c := range made.Clusters {
			p.slices = append(p.slices, made.DerivedSlices(id, namespace, c, sources[c])...)
		}
	}
	return p, nil
}

// ownExport is what the own cluster exports, if it does.
func ownExport(k importFacts, cluster string) (clusterset.Export, bool) {
	if k.export == nil || k.export.DeletionTimestamp != nil || k.service == nil || k.service.DeletionTimestamp != nil ||
		k.service.Spec.Type == corev1.ServiceTypeExternalName || k.service.Spec.ClusterIP == "" {
		return clusterset.Export{}, false
	}
	spec := &k.service.Spec
	e := clusterset.Export{Cluster: cluster, Created: k.export.CreationTimestamp.Time,
		Headless: spec.ClusterIP == corev1.ClusterIPNone, Affinity: cmp.Or(spec.SessionAffinity, corev1.ServiceAffinityNone)}
	if c := spec.SessionAffinityConfig; e.Affinity == corev1.ServiceAffinityClientIP && c != nil && c.ClientIP != nil && c.ClientIP.TimeoutSeconds != nil {
		e.AffinitySeconds = *c.ClientIP.TimeoutSeconds
	}
	for _, p := range spec.Ports {
		e.Ports = append(e.Ports, mcsv1alpha1.ServicePort{Name: p.Name, Protocol: p.Protocol, Port: p.Port, AppProtocol: p.AppProtocol})
	}
	return e, true
}

// remoteExports are those of the other members, with their slices, from the mirrors.
func remoteExports(mirrors []*discoveryv1.EndpointSlice) (exports []clusterset.Export, sources map[string][]*discoveryv1.EndpointSlice, err error) {
	sources = map[string][]*discoveryv1.EndpointSlice{}
	mirrors = slices.SortedFunc(slices.Values(mirrors), func(a, b *discoveryv1.EndpointSlice) int { return cmp.Compare(a.Name, b.Name) })
	for _, m := range mirrors {
		s, err := remoteservice.Decode(m.Annotations[remoteservice.Annotation])
		if err != nil {
			return nil, nil, fmt.Errorf("mirror %s: %w", m.Name, err)
		}
		cluster := m.Labels[v1alpha1.LabelCluster]
		if s.Exported == 0 {
			continue
		}
		// The mirrors of a service differ only while a change of it is under way.
		if sources[cluster] == nil {
			exports = append(exports, remoteExport(cluster, s))
		}
		sources[cluster] = append(sources[cluster], m)
	}
	return exports, sources, nil
}

func remoteExport(cluster string, s remoteservice.Service) clusterset.Export {
	e := clusterset.Export{Cluster: cluster, Created: time.Unix(s.Exported, 0), Headless: len(s.IPs) == 0, Affinity: corev1.ServiceAffinityNone}
	if s.Affinity > 0 {
		e.Affinity, e.AffinitySeconds = corev1.ServiceAffinityClientIP, s.Affinity
	}
	for _, p := range s.Ports {
		made := mcsv1alpha1.ServicePort{Name: p.Name, Protocol: p.Protocol, Port: int32(p.Port)}
		if p.App != "" {
			made.AppProtocol = &p.App
		}
		e.Ports = append(e.Ports, made)
	}
	return e
}
