package diagnose

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
)

const (
	deployCommand = "sdn-tunnel deploy -i INVENTORY"
	runDeploy     = "run the deploy: " + deployCommand
	deployAgain   = "run the deploy again: " + deployCommand
)

// name checks that the source's cluster resolves what was asked for by name.
func (w *walk) name() {
	if w.q.Name == "" {
		w.skip("asked for by no name")
		return
	}
	if !w.sourced() {
		w.skip(w.noTunnel())
		return
	}
	home := w.cluster(w.q.From.Cluster)
	if home.Error != "" {
		w.unknown(fmt.Sprintf("the API of %s: %s", home.Name, home.Error))
		return
	}
	switch {
	case w.q.Zone == OwnZone:
		w.answer()
		return
	case w.q.Zone == "":
		w.found("name-unknown-zone", "name "+w.q.Name, "it is in no zone of the mesh: those are "+strings.Join(w.zones(), ", "),
			"ask for <service>.<namespace>.svc.<zone>")
		return
	case home.DNS.Wanted < 0:
		w.found("dns-missing", "Deployment of the name servers in "+home.Name, "there is none", "dns_enabled: true in the inventory, and "+deployAgain)
	case home.DNS.Ready == 0:
		w.found("dns-down", "Deployment of the name servers in "+home.Name, fmt.Sprintf("0 of %d pods are ready%s", home.DNS.Wanted, suffix(home.DNS.Trouble)),
			home.ours("get pods -l app.kubernetes.io/component=dns")+"; scale it up, or end what keeps its pods from becoming ready")
	}
	w.forward(home)
	w.answer()
}

func suffix(s string) string {
	if s == "" {
		return ""
	}
	return ": " + s
}

func (w *walk) zones() (all []string) {
	for _, c := range w.e.Clusters {
		for _, lc := range c.Links {
			if zone := ZoneOf(lc); !slices.Contains(all, zone) {
				all = append(all, zone)
			}
		}
	}
	slices.Sort(all)
	return all
}

// owner is the member that a zone is of; that of the whole set is everybody's, and so the
// source's, too.
func (w *walk) owner(zone string) *Cluster {
	home := w.cluster(w.q.From.Cluster)
	for _, lc := range home.Links {
		if ZoneOf(lc) == zone {
			return w.cluster(lc.Name)
		}
	}
	return home
}

// forward checks that the cluster's own DNS sends the zone to the mesh's servers.
func (w *walk) forward(home *Cluster) {
	f, object := home.Forward, "the DNS of cluster "+home.Name
	switch {
	case f.Way == "" || f.Way == "manual":
		w.tell("how that DNS forwards cannot be read")
	case !slices.Contains(f.Zones, w.q.Zone):
		w.found("dns-forward-missing", object, fmt.Sprintf("it does not forward the zone %s to sdn-tunnel's name servers (%s)", w.q.Zone, map[string]string{
			"operator": "spec.servers of dns.operator.openshift.io default", "configmap": "the Corefile of kube-system/coredns"}[f.Way]), deployAgain+" --tags dns")
	case f.Server != "" && f.To != f.Server && f.To != net.JoinHostPort(f.Server, "53"):
		w.found("dns-forward-elsewhere", object, fmt.Sprintf("it forwards the zone %s to %s; the name servers are at %s", w.q.Zone, f.To, f.Server), deployAgain+" --tags dns")
	}
}

// answer checks what the pod's own name server said.
func (w *walk) answer() {
	v := w.view(w.near)
	if v == nil || len(v.Names) == 0 {
		w.unknown("nobody could ask for it from " + w.q.From.String())
		return
	}
	n, object := v.Names[0], "name "+w.q.Name
	if n.Code == "NXDOMAIN" && w.unknownHost(object) {
		return
	}
	if last := v.Names[len(v.Names)-1]; w.q.Outside && n.Error == "" && last.Code != "NOERROR" {
		w.skip("it stands for " + last.Ask.Name + ", and that is no name")
		return
	}
	switch {
	case n.Error != "":
		w.found("dns-silent", object, fmt.Sprintf("the name server of the pod, %v, does not answer: %s", n.Ask.Server, n.Error),
			"look at the cluster's own DNS and at the egress policies of the pod's namespace")
	case n.Code == "NXDOMAIN" && (w.q.Service == nil || w.q.Service.Missing):
		w.found("name-missing", object, "there is no such name: its cluster has no such service", "mind name and namespace: "+w.owner(w.q.Zone).kubectl("get services -A"))
	case n.Code == "NXDOMAIN":
		w.found("name-not-known", object, "it is not known, though there is the service", "a new service takes up to 30 s; else look at the name servers' log: "+w.cluster(w.q.From.Cluster).ours("logs -l app.kubernetes.io/component=dns"))
	case n.Code != "NOERROR":
		w.found("name-failed", object, n.Code+": a name server cannot read the names of that cluster", w.cluster(w.q.From.Cluster).kubectl("describe linkedclusters")+": is its API reachable, and the access valid?")
	case w.q.Host != "" && w.q.To != nil && w.q.To.Address.IsValid() && !slices.Contains(n.Addresses, w.q.To.Address):
		w.found("name-stale", object, fmt.Sprintf("it is resolved to %s; the pod %s has %v", addresses(n.Addresses), w.q.To, w.q.To.Address), "the pod was made anew: wait for 30 s, and see that the source does not keep names for long")
	case !w.q.Outside && !w.q.direct() && !slices.Contains(n.Addresses, vip(w.q.Service)) && !w.q.inZone(ClusterSetZone):
		w.found("name-stale", object, fmt.Sprintf("it is resolved to %s; the service has %s", addresses(n.Addresses), w.q.Service.Object.Spec.ClusterIP), "the service was made anew: wait for 30 s, and see that the pod does not keep names for long")
	default:
		w.tell(fmt.Sprintf("%s %v", n.Code, addresses(n.Addresses)))
	}
}

// unknownHost tells of a pod's own name that there is not: as there is no such pod, as it is
// not ready, or as names of all members' services say in which cluster the pod is.
func (w *walk) unknownHost(object string) bool {
	s, to := w.q.Service, w.q.To
	if w.q.Host == "" || s == nil || s.Missing || to == nil {
		return false
	}
	if prefix := w.q.Host + "." + s.Cluster + "." + s.Name + "."; w.q.inZone(ClusterSetZone) && !strings.HasPrefix(w.q.resolved(), prefix) {
		w.found("name-missing", object, "in "+ClusterSetZone+" a pod's name says its cluster, too", fmt.Sprintf("ask for %s%s.svc.%s", prefix, s.Namespace, ClusterSetZone))
		return true
	}
	if !to.Missing && to.Ready {
		return false
	}
	what := fmt.Sprintf("the service %s has no pod with the host name %s", s, w.q.Host)
	if !to.Missing {
		what = fmt.Sprintf("the pod %s is not ready%s: until then it has no name", to, suffix(to.Trouble))
	}
	w.found("name-missing", object, what, w.cluster(s.Cluster).kubectl(fmt.Sprintf("-n %s get endpointslices -l kubernetes.io/service-name=%s -o yaml", s.Namespace, s.Name))+" shows the host names, and which pods are ready")
	return true
}

func addresses(all []netip.Addr) string {
	text := make([]string, len(all))
	for i, a := range all {
		text[i] = a.String()
	}
	return strings.Join(text, ", ")
}
