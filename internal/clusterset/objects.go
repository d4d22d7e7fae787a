package clusterset

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	mcsv1alpha1 "sigs.k8s.io/mcs-api/pkg/apis/v1alpha1"

	"github.com/sdn-tunnel/sdn-tunnel/internal/remoteservice"
)

// Labels of what stands for an imported service, besides discovery.k8s.io's own and those
// of the Multi-Cluster Services API.
const (
	// LabelNamespace and LabelName are the imported service's.
	LabelNamespace = "sdntunnel.io/import-namespace"
	LabelName      = "sdntunnel.io/import-name"
	// LabelManagedBy says whose they are: of ManagedBy, as discoveryv1.LabelManagedBy does.
	LabelManagedBy = "app.kubernetes.io/managed-by"
	ManagedBy      = "sdn-tunnel-imports"
)

// ID names an imported service: every cluster knows it by its namespace and name.
type ID struct{ Namespace, Name string }

func (id ID) String() string { return id.Namespace + "/" + id.Name }

// Labels are those of everything that stands for the service.
func (id ID) Labels() map[string]string {
	return map[string]string{
		LabelNamespace: id.Namespace, LabelName: id.Name,
		LabelManagedBy: ManagedBy,
	}
}

// DerivedName is the name of the Service that stands for the import in this cluster, in
// the namespace of sdn-tunnel: its address is the clusterset address. A DNS label, which
// no other service has.
func (id ID) DerivedName() string {
	return "import-" + remoteservice.Digest(id.String())
}

// DerivedService is the Service that gives an import of type ClusterSetIP its address.
// It has no selector: its endpoints are DerivedSlices, which the cluster's own service
// proxy balances, those of this cluster and of the others alike.
func (i Import) DerivedService(id ID, namespace string) *corev1.Service {
	s := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: id.DerivedName(), Labels: id.Labels()},
		Spec:       corev1.ServiceSpec{Type: corev1.ServiceTypeClusterIP, SessionAffinity: corev1.ServiceAffinityNone},
	}
	if i.Affinity == corev1.ServiceAffinityClientIP {
		s.Spec.SessionAffinity = corev1.ServiceAffinityClientIP
		s.Spec.SessionAffinityConfig = i.affinityConfig()
	}
	for _, p := range i.Ports {
		s.Spec.Ports = append(s.Spec.Ports, corev1.ServicePort{
			Name: p.Name, Protocol: protocol(p), Port: p.Port, AppProtocol: p.AppProtocol, TargetPort: intstr.FromInt32(p.Port),
		})
	}
	return s
}

func (i Import) affinityConfig() *corev1.SessionAffinityConfig {
	if i.Affinity != corev1.ServiceAffinityClientIP {
		return nil
	}
	return &corev1.SessionAffinityConfig{ClientIP: &corev1.ClientIPConfig{TimeoutSeconds: new(i.AffinitySeconds)}}
}

// ServiceImport is the import as the users of this cluster see it, reached by these
// addresses; none if it is headless.
func (i Import) ServiceImport(id ID, addresses []string) *mcsv1alpha1.ServiceImport {
	s := &mcsv1alpha1.ServiceImport{
		ObjectMeta: metav1.ObjectMeta{Namespace: id.Namespace, Name: id.Name, Labels: id.Labels()},
		Spec:       mcsv1alpha1.ServiceImportSpec{Type: i.Type, Ports: slices.Clone(i.Ports), IPs: addresses},
	}
	s.Status.EndpointSliceObjects = mcsv1alpha1.EndpointSliceObjectsPresent
	if i.Type == mcsv1alpha1.ClusterSetIP {
		// Its slices are the derived Service's.
		s.Status.EndpointSliceObjects = mcsv1alpha1.EndpointSliceObjectsAbsent
		s.Spec.SessionAffinity, s.Spec.SessionAffinityConfig = i.Affinity, i.affinityConfig()
	}
	for _, c := range i.Clusters {
		s.Status.Clusters = append(s.Status.Clusters, mcsv1alpha1.ClusterStatus{Cluster: c})
	}
	return s
}

// DerivedSlices are the endpoints of one cluster's export, from the service's slices
// there: for a headless import in the service's own namespace, where the cluster's DNS
// looks for them, else in that of sdn-tunnel. A slice of which no port is imported is
// left out.
func (i Import) DerivedSlices(id ID, namespace, cluster string, of []*discoveryv1.EndpointSlice) (made []*discoveryv1.EndpointSlice) {
	for _, one := range of {
		ports, ok := i.slicePorts(cluster, one.Ports)
		if !ok {
			continue
		}
		s := &discoveryv1.EndpointSlice{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: namespace, Name: id.DerivedName() + "-" + remoteservice.Digest(cluster + "/" + one.Name)[:12], Labels: id.Labels(),
			},
			AddressType: one.AddressType, Ports: ports,
		}
		s.Labels[discoveryv1.LabelServiceName] = id.DerivedName()
		s.Labels[discoveryv1.LabelManagedBy] = ManagedBy
		s.Labels[mcsv1alpha1.LabelSourceCluster] = cluster
		if i.Type == mcsv1alpha1.Headless {
			s.Namespace = id.Namespace
			s.Labels[mcsv1alpha1.LabelServiceName] = id.Name
			s.Labels[corev1.IsHeadlessService] = "" // service proxies leave it alone
		}
		for _, e := range one.Endpoints {
			made := discoveryv1.Endpoint{Addresses: slices.Clone(e.Addresses), Conditions: *e.Conditions.DeepCopy()}
			if i.Type == mcsv1alpha1.Headless {
				made.Hostname = e.Hostname
			}
			s.Endpoints = append(s.Endpoints, made)
		}
		made = append(made, s)
	}
	return made
}

// slicePorts gives a slice's ports the names that they have in the import. Not ok: none
// of them is imported.
func (i Import) slicePorts(cluster string, ports []discoveryv1.EndpointPort) (made []discoveryv1.EndpointPort, ok bool) {
	for _, p := range ports {
		name := ""
		if p.Name != nil {
			name = *p.Name
		}
		imported, carried := i.PortName(cluster, name)
		if !carried || p.Port == nil {
			continue
		}
		made = append(made, discoveryv1.EndpointPort{Name: &imported, Protocol: p.Protocol, Port: p.Port, AppProtocol: p.AppProtocol})
	}
	// Slices of a headless service need no ports at all.
	return made, len(made) > 0 || len(ports) == 0
}
