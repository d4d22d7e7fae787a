package diagnose

import (
	"fmt"
	"strings"
)

// deployed tells whether a member has anything of sdn-tunnel.
func (c *Cluster) deployed() bool {
	return c.Links[c.Name] != nil || len(c.Agents) > 0 || c.AgentSet != "" || c.Controller.Wanted >= 0 || c.ownNodes() > 0
}

// ownNodes counts the TunnelNodes that are not mirrors.
func (c *Cluster) ownNodes() (n int) {
	for ref := range c.Nodes {
		if ref.Cluster == c.Name {
			n++
		}
	}
	return n
}

// notDeployed is what is found of a member without anything of sdn-tunnel.
func notDeployed(name string) Finding {
	return Finding{Code: "not-deployed", Step: "cluster " + name, Object: "cluster " + name,
		What: "sdn-tunnel is not deployed there: it has neither agents, nor a controller, nor a TunnelNode", Remedy: runDeploy}
}

// deployment checks that there is a mesh at both ends.
func (w *walk) deployment() {
	if why := w.apart(); why != "" {
		w.skip(why)
		return
	}
	for _, name := range []string{w.near.Cluster, w.far.Cluster} {
		if c := w.e.Clusters[name]; c != nil && c.Error == "" && !c.deployed() {
			f := notDeployed(name)
			w.found(f.Code, f.Object, f.What, f.Remedy)
			w.bare = true
		}
	}
}

// apart says why the way does not use the mesh, though all may be well; empty: it does.
func (w *walk) apart() string {
	q := w.q
	switch {
	case q.From == nil:
		return ""
	case q.Outside:
		return fmt.Sprintf("%s is outside the mesh, which does not carry what goes there", q.Aliases[len(q.Aliases)-1])
	case w.local():
		return fmt.Sprintf("both ends are in cluster %s: traffic inside one cluster does not use the tunnel", q.From.Cluster)
	}
	return ""
}

// local tells whether both ends are in one cluster.
func (w *walk) local() bool {
	q := w.q
	switch {
	case q.From == nil || q.Outside:
		return false
	case q.To != nil:
		return q.To.Cluster == q.From.Cluster
	}
	return q.Service != nil && q.Service.Cluster == q.From.Cluster
}

// noTunnel says why there are no two nodes with a tunnel between them; empty: there are.
func (w *walk) noTunnel() string {
	for _, p := range []*Pod{w.q.From, w.q.To} {
		switch {
		case p == nil:
		case p.Missing:
			return "there is no pod " + p.String()
		case p.Node == "":
			return "the pod " + p.String() + " is on no node yet"
		}
	}
	if why := w.apart(); why != "" {
		return why
	}
	if w.far.Node == "" {
		return "there is no node at the other end"
	}
	return ""
}

// tunnel tells whether there are two nodes with a tunnel between them. A step that needs it
// is skipped without.
func (w *walk) tunnel() bool {
	why := w.noTunnel()
	if why != "" {
		w.skip(why)
	}
	return why == ""
}

// sourced tells whether there is a source whose node can be asked.
func (w *walk) sourced() bool {
	p := w.q.From
	return p == nil || !p.Missing && p.Node != ""
}

// direct tells whether the name, or the words, lead to a pod itself, by no service's address.
func (q Question) direct() bool {
	return q.Host != "" || q.Service == nil || q.Service.Object == nil || headless(q.Service)
}

// named tells whether a name leads there.
func (q Question) named() bool { return q.Name != "" || len(q.Aliases) > 0 }

// inZone tells whether what is resolved in the end is in a zone.
func (q Question) inZone(zone string) bool {
	if len(q.Aliases) > 0 {
		return strings.HasSuffix(q.resolved(), "."+zone)
	}
	return q.Zone == zone
}

// resolved is the name that is resolved in the end.
func (q Question) resolved() string {
	name := q.Name
	if n := len(q.Aliases); n > 0 {
		name = q.Aliases[n-1]
	}
	return strings.ToLower(strings.TrimSuffix(name, "."))
}
