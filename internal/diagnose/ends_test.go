package diagnose

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/sdn-tunnel/sdn-tunnel/api/v1alpha1"
	"github.com/sdn-tunnel/sdn-tunnel/internal/mesh"
)

// outcomes are those of the steps that are not skipped, and what of it is told.
func outcomes(r Report) (found []string) {
	for _, s := range r.Steps {
		if s.Outcome != Skipped {
			found = append(found, s.Name+" "+string(s.Outcome))
		}
	}
	return found
}

// detail is what a step says.
func detail(r Report, name string) string {
	i := slices.IndexFunc(r.Steps, func(s StepReport) bool { return s.Name == name })
	if i < 0 {
		return ""
	}
	return r.Steps[i].Detail
}

// athome makes the target a pod of the source's own cluster, on a node that nobody asked.
func athome() *world {
	w := sound()
	w.q.Name, w.q.Zone = "", ""
	w.q.Service.Cluster, w.q.Service.Mirrors = "east", nil
	w.q.To.Cluster, w.q.To.Node, w.q.To.Address = "east", "east-2", netip.MustParseAddr("10.128.2.9")
	w.near().Peers, w.near().Routes, w.near().Traces = nil, nil, nil
	delete(w.e.Nodes, west1)
	return w
}

// TestOwnCluster: what stays in one cluster does not use the tunnel, whatever becomes of that.
func TestOwnCluster(t *testing.T) {
	w := athome()
	w.near().Device, w.near().Switch.Missing = nil, []string{"table=30"} // of no matter
	r := Way(w.e, w.q)
	if want := []string{"service ok", "pods ok", "destination ok"}; !r.OK || r.First != nil || !slices.Equal(outcomes(r), want) {
		t.Errorf("%v, want %v; first %+v", outcomes(r), want, r.First)
	}
	if !strings.Contains(r.Summary(), "no fault: both ends are in cluster east: traffic inside one cluster does not use the tunnel") {
		t.Error(r.Summary())
	}
	w.lost()
	if r = Way(w.e, w.q); r.First == nil || r.First.Code != "same-cluster" || r.First.Risk || !strings.Contains(r.First.What, "does not use the tunnel") {
		t.Errorf("%+v", r.First)
	}
	w = athome()
	w.q.Service.Slices = nil
	w.q.To = nil
	w.near().Probes = nil
	if r = Way(w.e, w.q); r.First == nil || r.First.Code != "no-endpoints" {
		t.Errorf("%+v", r.First)
	}
	w = athome()
	w.e.Nodes[east1] = &NodeEvidence{Error: "no agent runs there"}
	if r = Way(w.e, w.q); r.OK || !r.Blind || r.First != nil || !strings.Contains(detail(r, "destination"), "no agent runs there") {
		t.Errorf("%s: %+v", detail(r, "destination"), r.First)
	}
}

// TestPodOfService: a name that is a pod's own leads to that pod, and not to the service.
func TestPodOfService(t *testing.T) {
	named := func() *world {
		w := sound()
		w.q.Name, w.q.Host = "web-0.web.shop.svc.cluster.west", "web-0"
		w.q.Service.Object.Spec.ClusterIP, w.q.Service.Mirrors = corev1.ClusterIPNone, nil
		w.near().Names[0].Addresses = []netip.Addr{w.q.To.Address}
		return w
	}
	w := named()
	w.q.Aliases = []string{"web-0.web.shop.svc.cluster.local"} // of west, whose zone its name is rewritten to
	if r := Way(w.e, w.q); !r.OK || detail(r, "name") != "NOERROR 10.132.0.6" {
		t.Errorf("%+v %s", r.First, detail(r, "name"))
	}
	for name, tt := range map[string]struct {
		code, says string
		wreck      func(*world)
	}{
		"another address": {"name-stale", "the pod west/shop/web-0 has 10.132.0.6", func(w *world) {
			w.near().Names[0].Addresses = []netip.Addr{netip.MustParseAddr("10.132.2.10")}
		}},
		"no such pod": {"name-missing", "no pod with the host name web-0", func(w *world) {
			w.near().Names[0].Code, w.q.To = "NXDOMAIN", &Pod{Cluster: "west", Namespace: "shop", Name: "web-0", Missing: true}
		}},
		"not ready": {"name-missing", "the pod west/shop/web-0 is not ready: it starts", func(w *world) {
			w.near().Names[0].Code, w.q.To.Ready, w.q.To.Trouble = "NXDOMAIN", false, "it starts"
		}},
		"without its cluster": {"name-missing", "a pod's name says its cluster", func(w *world) {
			w.q.Name, w.q.Zone, w.q.Service.Exported, w.near().Names[0].Code = "web-0.web.shop.svc.clusterset.local", ClusterSetZone, true, "NXDOMAIN"
			w.east().Forward.Zones = append(w.east().Forward.Zones, ClusterSetZone)
		}},
		"ready and not known": {"name-not-known", "there is the service", func(w *world) { w.near().Names[0].Code = "NXDOMAIN" }},
	} {
		w := named()
		w.lost()
		tt.wreck(w)
		if r := Way(w.e, w.q); r.First == nil || r.First.Code != tt.code || !strings.Contains(r.First.What, tt.says) {
			t.Errorf("%s: %+v, want %s: %s", name, r.First, tt.code, tt.says)
		}
	}
}

// TestExternalName: what leads out of the mesh is no fault of it, unless there is no such name.
func TestExternalName(t *testing.T) {
	outside := func() *world {
		w := sound()
		w.q.Name, w.q.Zone, w.q.To = "", "", nil
		w.q.Aliases, w.q.Outside = []string{"web.example.org"}, true
		w.q.Service.Object = &corev1.Service{Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "web.example.org"}}
		w.near().Probes, w.near().Names[0].Ask.Name = nil, "web.example.org"
		w.near().Names[0].Addresses = []netip.Addr{netip.MustParseAddr("192.0.2.7")}
		delete(w.e.Nodes, west1)
		return w
	}
	w := outside()
	r := Way(w.e, w.q)
	if want := []string{"service ok", "pods ok"}; !r.OK || !slices.Equal(outcomes(r), want) || detail(r, "service") != "it stands for web.example.org, which is outside the mesh: 192.0.2.7" {
		t.Errorf("%v, want %v; %s; first %+v", outcomes(r), want, detail(r, "service"), r.First)
	}
	if !strings.Contains(r.Summary(), "no fault: web.example.org is outside the mesh") {
		t.Error(r.Summary())
	}
	w.near().Names[0].Code = "NXDOMAIN"
	if r = Way(w.e, w.q); r.First == nil || r.First.Code != "external-name" || !strings.Contains(r.First.What, "not known in cluster east: NXDOMAIN") {
		t.Errorf("%+v", r.First)
	}
	w.q.Name, w.q.Zone = "out.shop.svc.cluster.west", "cluster.west"
	w.near().Names = append([]NameView{{Ask: NameAsk{Name: w.q.Name}, Code: "NXDOMAIN"}}, w.near().Names...)
	if r = Way(w.e, w.q); r.First == nil || r.First.Code != "external-name" {
		t.Errorf("asked for by its own name: %+v", r.First)
	}
	w = sound()
	w.q.Name, w.q.Zone, w.q.Aliases = "", "", []string{"web.shop.svc.cluster.west"}
	if r = Way(w.e, w.q); !r.OK || !strings.HasPrefix(detail(r, "service"), "by the name web.shop.svc.cluster.west; ") {
		t.Errorf("inside: %s: %+v", detail(r, "service"), r.First)
	}
}

// TestNotDeployed: a member without anything of sdn-tunnel is said to be so, once.
func TestNotDeployed(t *testing.T) {
	bare := func() *world {
		w := sound()
		w.e.Clusters["west"] = &Cluster{Name: "west", Controller: Workload{Wanted: -1}, DNS: Workload{Wanted: -1},
			Links: map[string]*v1alpha1.LinkedCluster{}, Nodes: map[mesh.Ref]*v1alpha1.TunnelNode{}}
		delete(w.e.Nodes, west1)
		return w
	}
	w := bare()
	whole := Whole(w.e)
	if s := whole.Steps[1]; s.Name != "cluster west" || s.Outcome != Fault || !strings.Contains(s.Detail, "not deployed there") {
		t.Errorf("%+v", s)
	}
	w.lost()
	way := Way(w.e, w.q)
	for name, r := range map[string]Report{"mesh": whole, "way": way} {
		if r.First == nil || r.First.Code != "not-deployed" || r.First.Object != "cluster west" || r.First.Risk || len(r.Others) > 0 ||
			r.First.Remedy != "run the deploy: sdn-tunnel deploy -i INVENTORY" {
			t.Errorf("%s: %+v, others %+v", name, r.First, r.Others)
		}
	}
	if want := []string{"deployment fault"}; !slices.Equal(outcomes(way), want) {
		t.Errorf("%v, want %v", outcomes(way), want)
	}
}

// TestMissingPod: what was not asked, as there is no pod to ask for, is no fault of anybody.
func TestMissingPod(t *testing.T) {
	for name, wreck := range map[string]func(*world){
		"source": func(w *world) {
			w.q.From = &Pod{Cluster: "east", Namespace: "shop", Name: "gone", Missing: true}
			delete(w.e.Nodes, east1)
			delete(w.e.Nodes, west1)
		},
		"source on no node": func(w *world) {
			w.q.From.Node, w.q.From.Phase, w.q.From.Address = "", corev1.PodPending, netip.Addr{}
			delete(w.e.Nodes, east1)
			delete(w.e.Nodes, west1)
		},
		"target": func(w *world) {
			w.q.Name, w.q.Zone, w.q.Service = "", "", nil
			w.q.To = &Pod{Cluster: "west", Namespace: "shop", Name: "gone", Missing: true}
			w.near().Probes = nil
			delete(w.e.Nodes, west1)
		},
	} {
		w := sound()
		wreck(w)
		r := Way(w.e, w.q)
		if r.First == nil || r.First.Step != "pods" || len(r.Others) > 0 || r.Blind {
			t.Errorf("%s: blind %v, %+v, others %+v", name, r.Blind, r.First, r.Others)
		}
		for _, s := range r.Steps {
			if strings.Contains(s.Detail, "could not be asked") || strings.Contains(s.Detail, ". ") || s.Outcome == Unknown {
				t.Errorf("%s: %+v", name, s)
			}
		}
	}
}
