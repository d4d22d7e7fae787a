package controller_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	mcsv1alpha1 "sigs.k8s.io/mcs-api/pkg/apis/v1alpha1"

	"github.com/sdn-tunnel/sdn-tunnel/api/v1alpha1"
	"github.com/sdn-tunnel/sdn-tunnel/internal/clusterset"
)

func (m *member) export(name string) *mcsv1alpha1.ServiceExport {
	m.t.Helper()
	e := &mcsv1alpha1.ServiceExport{ObjectMeta: metav1.ObjectMeta{Namespace: demo, Name: name}}
	m.create(e)
	return e
}

// imported puts what stands for imports here into words, each with what belongs to it:
// type, ports, clusters; that the Service of its address has it; slices with their
// namespace, labels of where they come from, ports and endpoints.
func (m *member) imported() string {
	m.t.Helper()
	ours := client.MatchingLabels{clusterset.LabelManagedBy: clusterset.ManagedBy}
	var imports mcsv1alpha1.ServiceImportList
	var services corev1.ServiceList
	var found discoveryv1.EndpointSliceList
	for _, list := range []client.ObjectList{&imports, &services, &found} {
		if err := m.List(m.t.Context(), list, ours); err != nil {
			m.t.Fatal(err)
		}
	}
	var lines []string
	for _, i := range imports.Items {
		line := fmt.Sprintf("%s/%s %s", i.Namespace, i.Name, i.Spec.Type)
		for _, p := range i.Spec.Ports {
			line += fmt.Sprintf(" %s:%d", p.Name, p.Port)
		}
		for _, c := range i.Status.Clusters {
			line += " " + c.Cluster
		}
		lines = append(lines, line)
		services.Items = slices.DeleteFunc(services.Items, func(s corev1.Service) bool {
			return len(i.Spec.IPs) == 1 && s.Namespace == namespace && s.Spec.ClusterIP == i.Spec.IPs[0] && len(s.Spec.Selector) == 0
		})
	}
	for _, s := range services.Items {
		lines = append(lines, "Service "+s.Labels[clusterset.LabelName]+" of no import")
	}
	for _, s := range found.Items {
		line := fmt.Sprintf("%s %s of %s", s.Namespace, s.Labels[clusterset.LabelName], s.Labels[mcsv1alpha1.LabelSourceCluster])
		if name := s.Labels[mcsv1alpha1.LabelServiceName]; name != "" {
			line += " for DNS as " + name
		}
		for _, p := range s.Ports {
			line += fmt.Sprintf(" %s:%d", *p.Name, *p.Port)
		}
		for _, e := range s.Endpoints {
			line += " " + e.Addresses[0]
			if e.Hostname != nil {
				line += "=" + *e.Hostname
			}
		}
		lines = append(lines, line)
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

func (m *member) importing(want ...string) func() string {
	slices.Sort(want)
	return func() string {
		if got := m.imported(); got != strings.Join(want, "\n") {
			return fmt.Sprintf("imported is\n%s\nwant\n%s", got, strings.Join(want, "\n"))
		}
		return ""
	}
}

// exportSays waits for a condition of demo/name.
func (m *member) exportSays(name, kind string, status metav1.ConditionStatus, reason, text string) {
	m.t.Helper()
	eventually(m.t, kind+" of the export", func() string {
		var e mcsv1alpha1.ServiceExport
		if err := m.Get(m.t.Context(), client.ObjectKey{Namespace: demo, Name: name}, &e); err != nil {
			return err.Error()
		}
		c := meta.FindStatusCondition(e.Status.Conditions, kind)
		if c == nil || c.Status != status || c.Reason != reason || !strings.Contains(c.Message, text) {
			return fmt.Sprintf("%+v", c)
		}
		return ""
	})
}

// TestImports: what both members export is one service in each of them.
func TestImports(t *testing.T) {
	east, west := twoMembers(t)
	for _, m := range []*member{east, west} {
		var lc v1alpha1.LinkedCluster
		if err := m.Get(t.Context(), client.ObjectKey{Name: "east"}, &lc); err != nil {
			t.Fatal(err)
		}
		lc.Spec.ServiceCIDRs = []v1alpha1.CIDR{"172.30.0.0/16"}
		m.update(&lc)
	}
	west.api.Namespaces(t, demo)
	stop := east.run()
	west.run()
	west.service(demo, "web")
	west.slice(demo, "web", "web-w", at("10.132.0.5", true))
	fromWest := west.export("web")
	line := func(clusters string) string { return "demo/web ClusterSetIP http:80 " + clusters }
	const ofEast, ofWest = "sdn-tunnel web of east http:8080 10.128.0.5", "sdn-tunnel web of west http:8080 10.132.0.5"
	step := func(name string, do func(), want ...string) {
		t.Run(name, func(t *testing.T) {
			do()
			start := time.Now()
			eventually(t, name, east.importing(want...))
			t.Logf("after %s", time.Since(start).Round(10*time.Millisecond))
		})
	}
	eventually(t, "the exporting member imports it, too", west.importing(line("west"), ofWest))
	west.exportSays("web", "Conflict", metav1.ConditionFalse, "NoConflicts", "")
	step("without the namespace nothing is imported", func() {
		eventually(t, "mirrored", func() string {
			if len(east.mirrors()) == 0 {
				return "no mirror"
			}
			return ""
		})
	})
	step("the namespace comes", func() { east.api.Namespaces(t, demo) }, line("west"), ofWest)
	t.Run("what it costs", func(t *testing.T) { weighed(t, east) })
	step("a service that is not exported", func() {
		east.service(demo, "web")
		east.slice(demo, "web", "web-e", at("10.128.0.5", true))
	}, line("west"), ofWest)
	time.Sleep(1100 * time.Millisecond) // exports' ages are in whole seconds
	step("both export it", func() { east.export("web") }, line("east west"), ofEast, ofWest)
	eventually(t, "in both", west.importing(line("east west"), ofEast, ofWest))
	east.exportSays("web", "Conflict", metav1.ConditionFalse, "NoConflicts", "")
	step("endpoints that go", func() {
		s := &discoveryv1.EndpointSlice{}
		if err := west.Get(t.Context(), client.ObjectKey{Namespace: demo, Name: "web-w"}, s); err != nil {
			t.Fatal(err)
		}
		s.Endpoints = []discoveryv1.Endpoint{at("10.132.0.9", true)}
		west.update(s)
	}, line("east west"), ofEast, strings.Replace(ofWest, ".5", ".9", 1))
	t.Run("drift", func(t *testing.T) {
		importDrift(t, east, line("east west"), ofEast, strings.Replace(ofWest, ".5", ".9", 1))
	})
	t.Run("a conflict", func(t *testing.T) { importConflict(t, east, west) })
	step("a service without an export any more", func() { west.delete(fromWest) }, line("east"), ofEast)
	east.exportSays("web", "Conflict", metav1.ConditionFalse, "NoConflicts", "")
	step("a service that goes", func() {
		stop()
		east.delete(&corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: demo, Name: "web"}})
		stop = east.run()
	})
	east.exportSays("web", "Valid", metav1.ConditionFalse, "NoService", "there is no Service demo/web")
	east.exportSays("web", "Ready", metav1.ConditionFalse, "Pending", "the condition Valid says why")
	t.Run("headless", func(t *testing.T) { importHeadless(t, east, west) })
	t.Run("somebody else's import", func(t *testing.T) { importForeign(t, east, west) })
}

// TestImportsOfAMemberThatIsAway: what it exported stays, also for a controller that
// starts meanwhile, and follows when it is back.
func TestImportsOfAMemberThatIsAway(t *testing.T) {
	east, west := twoMembers(t)
	for _, m := range []*member{east, west} {
		m.api.Namespaces(t, demo)
	}
	west.service(demo, "web")
	west.slice(demo, "web", "web-w", at("10.132.0.5", true))
	fromWest := west.export("web")
	stop := east.run()
	want := east.importing("demo/web ClusterSetIP http:80 west", "sdn-tunnel web of west http:8080 10.132.0.5")
	eventually(t, "imported", want)
	west.api.StopAPI()
	stop()
	east.run()
	east.service(demo, "own")
	east.export("own") // what is done meanwhile shows that the controller is at work
	own := "demo/own ClusterSetIP http:80 east"
	eventually(t, "away", east.importing(own, "demo/web ClusterSetIP http:80 west", "sdn-tunnel web of west http:8080 10.132.0.5"))
	time.Sleep(time.Second)
	eventually(t, "still", east.importing(own, "demo/web ClusterSetIP http:80 west", "sdn-tunnel web of west http:8080 10.132.0.5"))
	west.api.StartAPI(t)
	west.delete(fromWest)
	eventually(t, "back", east.importing(own))
}

// weighed: objects and bytes of an import of one service, as the API has them.
func weighed(t *testing.T, m *member) {
	ours := client.MatchingLabels{clusterset.LabelManagedBy: clusterset.ManagedBy}
	objects, bytes := 0, 0
	for _, list := range []client.ObjectList{&mcsv1alpha1.ServiceImportList{}, &corev1.ServiceList{}, &discoveryv1.EndpointSliceList{}} {
		if err := m.List(t.Context(), list, ours); err != nil {
			t.Fatal(err)
		}
		items, err := meta.ExtractList(list)
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range items {
			b, err := json.Marshal(o)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%T: %d bytes of JSON", o, len(b))
			objects, bytes = objects+1, bytes+len(b)
		}
	}
	t.Logf("an imported service of one cluster: %d objects, %d bytes of JSON", objects, bytes)
	if objects != 3 || bytes > 6000 {
		t.Errorf("%d objects of %d bytes", objects, bytes)
	}
}

// importDrift: what somebody changes or takes away is put right.
func importDrift(t *testing.T, m *member, want ...string) {
	id := clusterset.ID{Namespace: demo, Name: "web"}
	service := &corev1.Service{}
	if err := m.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: id.DerivedName()}, service); err != nil {
		t.Fatal(err)
	}
	service.Spec.Ports[0].Port, service.Spec.Selector = 81, map[string]string{"app": "evil"}
	m.update(service)
	var s discoveryv1.EndpointSliceList
	if err := m.List(t.Context(), &s, client.MatchingLabels{clusterset.LabelManagedBy: clusterset.ManagedBy}); err != nil || len(s.Items) != 2 {
		t.Fatalf("%d slices, %v", len(s.Items), err)
	}
	s.Items[0].Labels = nil
	m.update(&s.Items[0])
	s.Items[1].Endpoints = nil
	m.update(&s.Items[1])
	is := &mcsv1alpha1.ServiceImport{}
	if err := m.Get(t.Context(), client.ObjectKey{Namespace: demo, Name: "web"}, is); err != nil {
		t.Fatal(err)
	}
	is.Spec.IPs = []string{"172.30.9.9"}
	m.update(is)
	eventually(t, "changed", m.importing(want...))
	eventually(t, "the Service", func() string {
		if err := m.Get(t.Context(), client.ObjectKeyFromObject(service), service); err != nil || service.Spec.Ports[0].Port != 80 || len(service.Spec.Selector) > 0 {
			return fmt.Sprintf("%+v, %v", service.Spec, err)
		}
		return ""
	})
	m.delete(service)
	m.delete(is)
	m.delete(&s.Items[1])
	eventually(t, "taken away", m.importing(want...))
}

// importConflict: the youngest export, east's, differs from west's, which holds, and east is told.
func importConflict(t *testing.T, east, west *member) {
	var s corev1.Service
	if err := east.Get(t.Context(), client.ObjectKey{Namespace: demo, Name: "web"}, &s); err != nil {
		t.Fatal(err)
	}
	s.Spec.Ports = append(s.Spec.Ports, corev1.ServicePort{Name: "admin", Port: 81})
	s.Spec.SessionAffinity = corev1.ServiceAffinityClientIP
	east.update(&s)
	east.exportSays("web", "Conflict", metav1.ConditionTrue, "SessionAffinityConflict,PortConflict", "admin (81/TCP) is missing in cluster west")
	east.exportSays("web", "Valid", metav1.ConditionTrue, "Valid", "")
	west.exportSays("web", "Conflict", metav1.ConditionFalse, "NoConflicts", "")
	for _, m := range []*member{east, west} {
		eventually(t, "the union of the ports, and the oldest's affinity, in "+m.name, func() string {
			var i mcsv1alpha1.ServiceImport
			if err := m.Get(t.Context(), client.ObjectKey{Namespace: demo, Name: "web"}, &i); err != nil || len(i.Spec.Ports) != 2 || i.Spec.SessionAffinity != corev1.ServiceAffinityNone {
				return fmt.Sprintf("%+v, %v", i.Spec, err)
			}
			return ""
		})
	}
	s.Spec.Ports, s.Spec.SessionAffinity, s.Spec.SessionAffinityConfig = s.Spec.Ports[:1], corev1.ServiceAffinityNone, nil
	east.update(&s)
	east.exportSays("web", "Conflict", metav1.ConditionFalse, "NoConflicts", "")
}

// importHeadless: slices where the cluster's DNS looks for them, with the pods' own names.
func importHeadless(t *testing.T, east, west *member) {
	for _, m := range []*member{east, west} {
		m.service(demo, "db", func(s *corev1.Service) { s.Spec.ClusterIP = corev1.ClusterIPNone })
		m.export("db")
	}
	east.slice(demo, "db", "db-e", at("10.128.0.7", true))
	west.slice(demo, "db", "db-w", at("10.132.0.7", true))
	want := []string{"demo/db Headless http:80 east west", "demo db of east for DNS as db http:8080 10.128.0.7=pod", "demo db of west for DNS as db http:8080 10.132.0.7=pod"}
	eventually(t, "east", east.importing(want...))
	eventually(t, "west", west.importing(want...))
	for _, m := range []*member{east, west} {
		m.delete(&mcsv1alpha1.ServiceExport{ObjectMeta: metav1.ObjectMeta{Namespace: demo, Name: "db"}})
	}
	eventually(t, "gone from east", east.importing())
	eventually(t, "gone from west", west.importing())
}

// importForeign: another implementation's ServiceImport is left alone, and so are slices
// that bear our labels in other people's namespaces.
func importForeign(t *testing.T, east, west *member) {
	theirs := &mcsv1alpha1.ServiceImport{ObjectMeta: metav1.ObjectMeta{Namespace: demo, Name: "web"},
		Spec: mcsv1alpha1.ServiceImportSpec{Type: mcsv1alpha1.ClusterSetIP, Ports: []mcsv1alpha1.ServicePort{{Port: 1}}, IPs: []string{"10.9.9.9"}}}
	east.create(theirs)
	east.api.Namespaces(t, "evil")
	forged := east.mirrors()
	east.create(&discoveryv1.EndpointSlice{AddressType: discoveryv1.AddressTypeIPv4,
		ObjectMeta: metav1.ObjectMeta{Namespace: "evil", Name: "forged", Labels: clusterset.ID{Namespace: demo, Name: "web"}.Labels()}})
	for i := range forged {
		forged[i].ObjectMeta = metav1.ObjectMeta{Namespace: "evil", Name: forged[i].Name, Labels: forged[i].Labels, Annotations: map[string]string{
			"sdntunnel.io/service": `{"ips":["172.30.0.66"],"ports":[{"name":"evil","protocol":"TCP","port":66}],"exported":1}`}}
		forged[i].Labels["sdntunnel.io/service-name"] = "forged"
		east.create(&forged[i])
	}
	west.export("web")
	eventually(t, "west", west.importing("demo/web ClusterSetIP http:80 west", "sdn-tunnel web of west http:8080 10.132.0.9"))
	west.exportSays("web", "Ready", metav1.ConditionTrue, "Ready", "")
	eventually(t, "people are told", east.condition("east", v1alpha1.ConditionServicesImported, metav1.ConditionFalse, "have their names; delete these, or end the exports: demo/web"))
	east.service(demo, "web")
	east.exportSays("web", "Ready", metav1.ConditionFalse, "NameTaken", "did not make the ServiceImport demo/web")
	east.exportSays("web", "Conflict", metav1.ConditionFalse, "NoConflicts", "")
	var is mcsv1alpha1.ServiceImport
	if err := east.Get(t.Context(), client.ObjectKeyFromObject(theirs), &is); err != nil || is.ResourceVersion != theirs.ResourceVersion {
		t.Errorf("somebody else's ServiceImport is %+v, %v", is, err)
	}
	eventually(t, "nothing of ours", east.importing("evil web of "))

	east.delete(theirs)
	eventually(t, "what stood in the way is gone", east.condition("east", v1alpha1.ConditionServicesImported, metav1.ConditionTrue, ""))
	east.exportSays("web", "Ready", metav1.ConditionTrue, "Ready", "")
	eventually(t, "imported", func() string {
		if got := east.imported(); !strings.Contains(got, "demo/web ClusterSetIP http:80 east west") {
			return got
		}
		return ""
	})
}
