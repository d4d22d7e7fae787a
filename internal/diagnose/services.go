package diagnose

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sdn-tunnel/sdn-tunnel/api/v1alpha1"
)

// ClusterSetZone is that of services of several members.
const ClusterSetZone = "clusterset.local"

// OwnZone is that of the names that each cluster has for itself.
const OwnZone = "cluster.local"

// ZoneOf is the zone of a member's names.
func ZoneOf(lc *v1alpha1.LinkedCluster) string {
	if lc.Spec.DNSZone != "" {
		return lc.Spec.DNSZone
	}
	return "cluster." + lc.Name
}

func headless(s *Service) bool {
	return s.Object.Spec.ClusterIP == "" || s.Object.Spec.ClusterIP == corev1.ClusterIPNone
}

func vip(s *Service) netip.Addr {
	a, _ := netip.ParseAddr(s.Object.Spec.ClusterIP)
	return a
}

// ready counts endpoints that take connections, and all.
func ready(slices []discoveryv1.EndpointSlice) (n, all int) {
	for _, s := range slices {
		for _, e := range s.Endpoints {
			all++
			if e.Conditions.Ready == nil || *e.Conditions.Ready {
				n++
			}
		}
	}
	return n, all
}

// service checks that its cluster has it, with endpoints, and shares it.
func (w *walk) service() {
	s := w.q.Service
	if s == nil {
		w.skip("no service is asked for")
		return
	}
	object := "Service " + s.String()
	if s.Missing || s.Object == nil {
		w.found("service-missing", object, "there is none", "mind cluster, namespace and spelling: "+w.cluster(s.Cluster).kubectl("get services -A"))
		return
	}
	if s.Object.Spec.Type == corev1.ServiceTypeExternalName {
		w.external(object)
		return
	}
	if n := len(w.q.Aliases); n > 0 {
		defer func() { w.tell(strings.TrimSuffix("by the name "+w.q.Aliases[n-1]+"; "+w.at.Detail, "; ")) }()
	}
	if !w.port(object) {
		return
	}
	if n, all := ready(s.Slices); n == 0 {
		what, remedy := "no pod stands behind it: its selector matches none", w.cluster(s.Cluster).kubectl("-n "+s.Namespace+" get pods --show-labels")+"; compare with spec.selector"
		if all > 0 {
			what, remedy = fmt.Sprintf("none of its %d pods is ready", all), w.cluster(s.Cluster).kubectl("-n "+s.Namespace+" describe pods")+": their readiness probes fail"
		}
		w.found("no-endpoints", object, what, remedy)
	}
	w.shared(object)
}

// external checks what a service stands for that leads out of the mesh.
func (w *walk) external(object string) {
	name := w.q.Aliases[len(w.q.Aliases)-1]
	what := fmt.Sprintf("it stands for %s, which is outside the mesh", name)
	v := w.view(w.near)
	if !w.sourced() || v == nil || len(v.Names) == 0 {
		w.tell(what)
		return
	}
	switch n := v.Names[len(v.Names)-1]; {
	case n.Error != "":
		w.found("external-name", object, fmt.Sprintf("%s, and the name server of the source, %v, does not answer for that: %s", what, n.Ask.Server, n.Error), "look at the cluster's own DNS")
	case n.Code != "NOERROR":
		w.found("external-name", object, fmt.Sprintf("%s, and is not known in cluster %s: %s", what, w.near.Cluster, n.Code), "set spec.externalName to a name that there is: a service of a member is <service>.<namespace>.svc.<zone>; zones are "+strings.Join(w.zones(), ", "))
	default:
		w.tell(what + ": " + addresses(n.Addresses))
	}
}

// port checks that the service has the port that is asked for.
func (w *walk) port(object string) bool {
	var have []string
	for _, p := range w.q.Service.Object.Spec.Ports {
		if p.Port == int32(w.q.Port) && strings.EqualFold(string(p.Protocol), w.q.Protocol) {
			return true
		}
		have = append(have, fmt.Sprintf("%d/%s", p.Port, strings.ToLower(string(p.Protocol))))
	}
	w.found("service-port", object, fmt.Sprintf("it has no port %d/%s, but %s", w.q.Port, w.q.Protocol, strings.Join(have, ", ")), "ask for one of these with --port")
	return false
}

// shared checks that the service is known in the source's cluster.
func (w *walk) shared(object string) {
	s, owner, home := w.q.Service, w.cluster(w.q.Service.Cluster), w.cluster(w.q.From.Cluster)
	if s.Cluster == w.q.From.Cluster {
		return
	}
	if lc := owner.Links[s.Cluster]; lc != nil && lc.Spec.ExportPolicy == v1alpha1.ExportExported && !s.Exported {
		w.found("not-exported", object, fmt.Sprintf("cluster %s shares only what is exported (exportPolicy Exported), and it has no ServiceExport", s.Cluster),
			fmt.Sprintf("make a ServiceExport %s in namespace %s of %s, or set export_policy: all for that cluster", s.Name, s.Namespace, s.Cluster))
		return
	}
	if headless(s) && w.q.named() && !w.q.inZone(ClusterSetZone) {
		n, _ := ready(s.Slices)
		w.tell(fmt.Sprintf("%d endpoints are ready; the name leads to pods", n))
		return
	}
	if headless(s) && !s.Exported {
		w.found("headless", object, "it is headless: it has no address of its own, and without a ServiceExport its pods have no names elsewhere",
			"make a ServiceExport of it, or ask for its pods by name in the zone of its cluster")
		return
	}
	if home.Error != "" {
		w.unknown("the API of " + home.Name + ": " + home.Error)
		return
	}
	why := w.whyStale(home, s.Cluster, v1alpha1.ConditionServicesSynced)
	here, _ := ready(s.Mirrors)
	there, _ := ready(s.Slices)
	switch {
	case len(s.Mirrors) == 0:
		w.found("service-not-mirrored", object, fmt.Sprintf("cluster %s does not know it%s", home.Name, suffix(why)), w.remedyStale(home, s.Cluster))
	case here == 0 && there > 0:
		w.found("mirror-stale", object, fmt.Sprintf("cluster %s knows of no endpoint that is ready, there are %d%s", home.Name, there, suffix(why)), w.remedyStale(home, s.Cluster))
	default:
		w.tell(fmt.Sprintf("%d endpoints are ready, %d known in %s", there, here, home.Name))
	}
}

// whyStale says why what is known in one cluster of a member may be old.
func (w *walk) whyStale(c *Cluster, member string, kinds ...string) string {
	if c.Controller.Wanted <= 0 || c.Controller.Ready == 0 {
		return fmt.Sprintf("the controller in %s does not run%s", c.Name, suffix(c.Controller.Trouble))
	}
	lc := c.Links[member]
	if lc == nil {
		return "there is no LinkedCluster " + member
	}
	for _, kind := range append([]string{v1alpha1.ConditionReachable}, kinds...) {
		if found := meta.FindStatusCondition(lc.Status.Conditions, kind); found != nil && found.Status != metav1.ConditionTrue {
			return fmt.Sprintf("%s is %s: %s", kind, found.Status, found.Message)
		}
	}
	return ""
}

func (w *walk) remedyStale(c *Cluster, member string) string {
	if c.Controller.Wanted <= 0 || c.Controller.Ready == 0 {
		return c.ours("get pods -l app.kubernetes.io/component=controller") + ": bring the controller up"
	}
	return c.kubectl("describe linkedcluster "+member) + " says what is wrong; a deploy renews the access"
}

// proxy checks what balances the service on the source's node.
func (w *walk) proxy() {
	s := w.q.Service
	if w.q.direct() || w.apart() != "" {
		w.skip("no address of a remote service is on the way")
		return
	}
	v := w.view(w.near)
	if v == nil && !w.sourced() {
		w.skip(w.noTunnel())
		return
	}
	if v == nil {
		w.unknown("the agent of " + w.near.String() + " could not be asked")
		return
	}
	if v.ProxyError != "" {
		w.found("proxy-missing", nodeName(w.near), "what translates the addresses of remote services is not there: "+v.ProxyError,
			"the agent makes it: see its log for what undoes it, or restart the agent")
		return
	}
	i := slices.IndexFunc(v.Services, func(x ServiceView) bool { return x.Target.Address == vip(s) && x.Target.Port == w.q.Port })
	if i < 0 {
		w.skip("services are balanced by kube-router, whose health the agent tells")
		return
	}
	if here, _ := ready(s.Mirrors); !v.Services[i].Known && here > 0 {
		w.found("proxy-behind", nodeName(w.near), fmt.Sprintf("%v port %d is not translated there, though the cluster knows %d endpoints", vip(s), w.q.Port, here),
			"the agent does not follow: see its log, or restart it")
		return
	}
	if b := v.Services[i].Backends; len(b) > 0 {
		w.tell(fmt.Sprintf("%v:%d -> %v", vip(s), w.q.Port, b))
	}
}
