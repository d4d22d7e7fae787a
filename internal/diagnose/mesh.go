package diagnose

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/sdn-tunnel/sdn-tunnel/internal/mesh"
)

// Whole diagnoses every pair of nodes of different members.
func Whole(e *Evidence) Report {
	var findings []Finding
	var reports []StepReport
	broken, pairs, blind := 0, 0, false
	for _, name := range slices.Sorted(maps.Keys(e.Clusters)) {
		s := StepReport{Name: "cluster " + name, Outcome: OK}
		if found := alone(e.Clusters[name]); found != nil {
			s.Outcome, s.Detail = Fault, found.What
			if found.Risk {
				s.Outcome = Risk
			}
			findings = append(findings, *found)
		}
		if e.Clusters[name].Error != "" {
			s.Outcome, blind = Unknown, true
		}
		reports = append(reports, s)
	}
	nodes := refs(e)
	for _, a := range nodes {
		for _, b := range nodes {
			if a.Cluster == b.Cluster {
				continue
			}
			w := &walk{e: e, near: a, far: b}
			w.run()
			r := w.report("")
			pairs++
			s := StepReport{Name: fmt.Sprintf("%s -> %s", a, b), Outcome: OK}
			if r.First != nil {
				s.Detail, s.Outcome = r.First.Object+": "+r.First.What, Risk
				if !r.First.Risk {
					s.Outcome = Fault
					broken++
				}
				findings = merge(findings, *r.First)
				for _, f := range r.Others {
					findings = merge(findings, f)
				}
			} else if r.Blind {
				s.Outcome, blind = Unknown, true
			}
			reports = append(reports, s)
		}
	}
	subject := fmt.Sprintf("the whole mesh: %d pairs of nodes, %d of them broken", pairs, broken)
	if left := notAsked(e); left > 0 {
		subject += fmt.Sprintf("; %d more nodes were not looked at", left)
	}
	return made(subject, findings, reports, blind)
}

// refs are the nodes that are looked at.
func refs(e *Evidence) []mesh.Ref {
	return slices.SortedFunc(maps.Keys(e.Nodes), func(a, b mesh.Ref) int { return cmp.Compare(a.String(), b.String()) })
}

// merge adds a finding, if it is not there. What breaks one pair is a fault for all.
func merge(all []Finding, f Finding) []Finding {
	for i, o := range all {
		if o.Code == f.Code && o.Object == f.Object {
			all[i].Risk = o.Risk && f.Risk
			return all
		}
	}
	return append(all, f)
}

// notAsked counts the nodes, as their own clusters have them, that were not looked at.
func notAsked(e *Evidence) (n int) {
	for _, c := range e.Clusters {
		for ref := range c.Nodes {
			if ref.Cluster == c.Name && e.Nodes[ref] == nil {
				n++
			}
		}
	}
	return n
}

// alone is what is wrong with a cluster as such; nil: nothing.
func alone(c *Cluster) *Finding {
	f := Finding{Step: "cluster " + c.Name, Object: "cluster " + c.Name}
	switch {
	case c.Error != "":
		f.Code, f.What, f.Risk = "api-away", "its API cannot be read: "+c.Error, true
		f.Remedy = "see that its API server answers here, and who asks"
	case !c.deployed():
		f = notDeployed(c.Name)
	case c.ownNodes() == 0:
		f.Code, f.What = "no-tunnelnode", "none of its nodes has a TunnelNode: no agent has got as far"
		f.Remedy = c.ours("get pods -l app.kubernetes.io/component=agent") + "; without agents " + runDeploy
	case c.DNS.Wanted > 0 && c.DNS.Ready == 0:
		f.Code, f.Object, f.Risk = "dns-down", "Deployment of the name servers in "+c.Name, true
		f.What = fmt.Sprintf("0 of %d pods are ready%s", c.DNS.Wanted, suffix(c.DNS.Trouble))
		f.Remedy = c.ours("get pods -l app.kubernetes.io/component=dns")
	default:
		return nil
	}
	return &f
}
