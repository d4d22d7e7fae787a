package diagnose

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/sdn-tunnel/sdn-tunnel/api/v1alpha1"
	"github.com/sdn-tunnel/sdn-tunnel/internal/mesh"
)

// step is one stage of the way. It looks at the evidence and says what it finds.
type step struct {
	name string
	look func(*walk)
}

// steps are the way of a packet, in order.
var steps = []step{
	{"deployment", (*walk).deployment},
	{"name", (*walk).name},
	{"service", (*walk).service},
	{"pods", (*walk).pods},
	{"networks", (*walk).networks},
	{"agents", (*walk).agents},
	{"members", (*walk).members},
	{"source: links and routes", func(w *walk) { w.node(w.near, w.nearAddress(), w.farAddress()) }},
	{"source: service proxy", (*walk).proxy},
	{"source: flows and policy", (*walk).leaving},
	{"source: peer", func(w *walk) { w.peer(w.near, w.far, w.farAddress()) }},
	{"target: peer", func(w *walk) { w.peer(w.far, w.near, w.nearAddress()) }},
	{"underlay", (*walk).underlay},
	{"target: links and routes", func(w *walk) { w.node(w.far, w.farAddress(), w.nearAddress()) }},
	{"target: flows and policy", (*walk).arriving},
	{"way back", (*walk).wayBack},
	{"MTU", (*walk).mtu},
	{"destination", (*walk).destination},
}

// walk is one diagnosis under way.
type walk struct {
	e         *Evidence
	q         Question
	near, far mesh.Ref
	// bare: a member on the way has nothing of sdn-tunnel, which explains all else.
	bare bool

	at       *StepReport
	steps    []StepReport
	findings []Finding
	blind    bool
}

// Way diagnoses the way from q.From.
func Way(e *Evidence, q Question) Report {
	w := &walk{e: e, q: q}
	w.near = q.From.Ref()
	if q.To != nil {
		w.far = q.To.Ref()
	}
	to := q.Name
	switch {
	case to != "":
	case q.Service != nil:
		to = q.Service.String()
	case q.To != nil:
		to = q.To.String()
	}
	w.run()
	r := w.report(fmt.Sprintf("%s -> %s", q.From, to))
	r.Note = w.apart()
	return r
}

func (w *walk) run() {
	for _, s := range steps {
		w.steps = append(w.steps, StepReport{Name: s.name, Outcome: OK})
		w.at = &w.steps[len(w.steps)-1]
		if w.bare {
			w.skip("the mesh is not deployed")
			continue
		}
		s.look(w)
	}
}

// report sums up. What gets through is no fault, whatever was found.
func (w *walk) report(subject string) Report {
	if w.proved() {
		for i := range w.findings {
			w.findings[i].Risk = true
		}
		for i, s := range w.steps {
			if s.Outcome == Fault {
				w.steps[i].Outcome = Risk
			}
		}
	}
	return made(subject, w.findings, w.steps, w.blind && !w.proved())
}

// made puts a report together: faults before risks, else in the order of the way.
func made(subject string, findings []Finding, steps []StepReport, blind bool) Report {
	r := Report{Subject: subject, Steps: steps, Blind: blind}
	slices.SortStableFunc(findings, func(a, b Finding) int {
		switch {
		case a.Risk == b.Risk:
			return 0
		case a.Risk:
			return 1
		}
		return -1
	})
	if len(findings) > 0 {
		r.First, r.Others = &findings[0], findings[1:]
	}
	r.OK = r.First == nil && !r.Blind
	return r
}

// found notes a fault.
func (w *walk) found(code, object, what, remedy string) {
	w.note(Finding{Code: code, Object: object, What: what, Remedy: remedy}, Fault)
}

// warn notes what does not stop the packet by itself.
func (w *walk) warn(code, object, what, remedy string) {
	w.note(Finding{Code: code, Object: object, What: what, Remedy: remedy, Risk: true}, Risk)
}

func (w *walk) note(f Finding, outcome Outcome) {
	f.Step = w.at.Name
	if slices.ContainsFunc(w.findings, func(o Finding) bool { return o.Code == f.Code && o.Object == f.Object }) {
		return
	}
	w.findings = append(w.findings, f)
	if w.at.Outcome != Fault {
		if w.at.Outcome != Risk || outcome == Fault {
			w.at.Detail = f.Object + ": " + f.What
		}
		w.at.Outcome = outcome
	}
}

// unknown notes that something could not be looked at.
func (w *walk) unknown(why string) {
	w.blind = true
	if w.at.Outcome == OK || w.at.Outcome == Skipped {
		w.at.Outcome, w.at.Detail = Unknown, why
	}
}

func (w *walk) skip(why string) {
	if w.at.Outcome == OK {
		w.at.Outcome, w.at.Detail = Skipped, why
	}
}

// tell adds to a step that is well.
func (w *walk) tell(what string) {
	if w.at.Outcome == OK {
		w.at.Detail = what
	}
}

// cluster is what its API has; never nil.
func (w *walk) cluster(name string) *Cluster {
	if c := w.e.Clusters[name]; c != nil {
		return c
	}
	return &Cluster{Name: name, Kubectl: "kubectl --context " + name, Error: "it is not in the inventory"}
}

// view is what a node's agent saw; nil if it could not be asked.
func (w *walk) view(ref mesh.Ref) *NodeView {
	n := w.e.Nodes[ref]
	if n == nil || n.Error != "" {
		return nil
	}
	return &n.View
}

// tunnelNode is a node as its own cluster has it, or, if that cannot be read, the other one.
func (w *walk) tunnelNode(ref mesh.Ref, other string) *v1alpha1.TunnelNode {
	if c := w.cluster(ref.Cluster); c.Error == "" {
		return c.Nodes[ref]
	}
	return w.cluster(other).Nodes[ref]
}

func (w *walk) other(ref mesh.Ref) mesh.Ref {
	if ref == w.near {
		return w.far
	}
	return w.near
}

// nearAddress and farAddress are those of the pods, or what stands for a node without one:
// the gateway of its host subnet.
func (w *walk) nearAddress() netip.Addr { return w.address(w.q.From, w.near) }
func (w *walk) farAddress() netip.Addr  { return w.address(w.q.To, w.far) }

func (w *walk) address(p *Pod, ref mesh.Ref) netip.Addr {
	if p != nil && !p.HostNetwork {
		return p.Address
	}
	if tn := w.tunnelNode(ref, w.other(ref).Cluster); tn != nil {
		return Gateway(tn)
	}
	return netip.Addr{}
}

// Gateway is the address of a node on its pods' network; invalid if it has no host subnet.
func Gateway(tn *v1alpha1.TunnelNode) netip.Addr {
	for _, s := range tn.Spec.HostSubnets {
		if p, err := netip.ParsePrefix(string(s)); err == nil && p.Addr().Is4() {
			return p.Masked().Addr().Next()
		}
	}
	return netip.Addr{}
}

func nodeName(ref mesh.Ref) string { return "node " + ref.String() }

// proved tells whether a packet of the very kind that was asked for got through.
func (w *walk) proved() bool {
	p := w.probe()
	if w.q.From == nil { // a pair of nodes
		there, back := w.answers(w.near, w.far), w.answers(w.far, w.near)
		return there != nil && back != nil && there.Answers && there.Full && back.Answers
	}
	return p != nil && p.Answered && !p.Refused
}

// probe is that of the source, if it was sent.
func (w *walk) probe() *ProbeView {
	v := w.view(w.near)
	if v == nil || w.q.From == nil || len(v.Probes) == 0 || v.Probes[0].Error != "" {
		return nil
	}
	return &v.Probes[0]
}

// answers is how a peer answered a node through the tunnel; nil: it was not asked.
func (w *walk) answers(from, to mesh.Ref) *PeerView {
	v := w.view(from)
	if v == nil {
		return nil
	}
	for i := range v.Peers {
		if v.Peers[i].Name == to.String() {
			return &v.Peers[i]
		}
	}
	return nil
}
