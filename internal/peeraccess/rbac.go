package peeraccess

import (
	applycorev1 "k8s.io/client-go/applyconfigurations/core/v1"
	applyrbacv1 "k8s.io/client-go/applyconfigurations/rbac/v1"

	"github.com/sdn-tunnel/sdn-tunnel/api/v1alpha1"
)

// clusterRole is what every peer may read: the mesh's objects, and of the cluster what
// its services are (the namespaces, as CoreDNS answers for names in those only).
const clusterRole = "sdn-tunnel-peer"

// Name is the name of what belongs to a peer: the service account, Role and bindings
// in the cluster that grants, and the Secret in the cluster that is granted to.
func Name(peer string) string { return "sdn-tunnel-peer-" + peer }

func labels(peer string) map[string]string {
	return map[string]string{
		"app.kubernetes.io/name":       "sdn-tunnel",
		"app.kubernetes.io/managed-by": v1alpha1.ManagerDeploy,
		v1alpha1.LabelCluster:          peer,
	}
}

// readable lets resources be read and watched, and nothing else.
func readable(group string, resources ...string) *applyrbacv1.PolicyRuleApplyConfiguration {
	return applyrbacv1.PolicyRule().WithAPIGroups(group).WithResources(resources...).WithVerbs("get", "list", "watch")
}

// declared are the objects in the granting cluster, in the order of making.
func declared(namespace, peer string) []any {
	name, l := Name(peer), labels(peer)
	subject := func() *applyrbacv1.SubjectApplyConfiguration {
		return applyrbacv1.Subject().WithKind("ServiceAccount").WithNamespace(namespace).WithName(name)
	}
	ref := func(kind, name string) *applyrbacv1.RoleRefApplyConfiguration {
		return applyrbacv1.RoleRef().WithAPIGroup("rbac.authorization.k8s.io").WithKind(kind).WithName(name)
	}
	return []any{
		applycorev1.ServiceAccount(name, namespace).WithLabels(l).WithAutomountServiceAccountToken(false),
		applyrbacv1.ClusterRole(clusterRole).
			WithLabels(map[string]string{"app.kubernetes.io/name": "sdn-tunnel"}).
			WithRules(
				readable(v1alpha1.GroupVersion.Group, "linkedclusters", "tunnelnodes"),
				readable("", "services", "namespaces"),
				readable("discovery.k8s.io", "endpointslices"),
				readable("multicluster.x-k8s.io", "serviceexports")),
		applyrbacv1.ClusterRoleBinding(name).WithLabels(l).
			WithRoleRef(ref("ClusterRole", clusterRole)).WithSubjects(subject()),
		applyrbacv1.Role(name, namespace).WithLabels(l).
			WithRules(applyrbacv1.PolicyRule().
				WithAPIGroups("").
				WithResources("serviceaccounts/token").
				WithResourceNames(name).
				WithVerbs("create")),
		applyrbacv1.RoleBinding(name, namespace).WithLabels(l).
			WithRoleRef(ref("Role", name)).WithSubjects(subject()),
	}
}
