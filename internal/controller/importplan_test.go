package controller

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	mcsv1alpha1 "sigs.k8s.io/mcs-api/pkg/apis/v1alpha1"

	"github.com/sdn-tunnel/sdn-tunnel/internal/clusterset"
	"github.com/sdn-tunnel/sdn-tunnel/internal/remoteservice"
)

// exportTime is when the tests' own exports were made.
var exportTime = time.Unix(1_790_000_000, 0)

// bothExport: east and west export demo/web, west an hour later.
func bothExport() importFacts {
	s := ofWest()
	s.Exported = exportTime.Unix() + 3600
	may := networksOf(linked("west", "10.132.0.0/14", "172.31.0.0/16", "100.127.4.0/22"))
	return importFacts{
		namespace: true,
		export:    &mcsv1alpha1.ServiceExport{ObjectMeta: metav1.ObjectMeta{CreationTimestamp: metav1.NewTime(exportTime)}},
		service: &corev1.Service{Spec: corev1.ServiceSpec{ClusterIP: "172.30.0.5", SessionAffinity: corev1.ServiceAffinityNone,
			Ports: []corev1.ServicePort{{Name: "http", Protocol: corev1.ProtocolTCP, Port: 80, TargetPort: intstr.FromString("web")}}}},
		slices: []*discoveryv1.EndpointSlice{{ObjectMeta: metav1.ObjectMeta{Name: "web-x"}, AddressType: discoveryv1.AddressTypeIPv4,
			Ports:     []discoveryv1.EndpointPort{{Name: new("http"), Protocol: new(corev1.ProtocolTCP), Port: new(int32(8080))}},
			Endpoints: []discoveryv1.Endpoint{{Addresses: []string{"10.128.0.5"}}}}},
		mirrors: planMirror(webOfWest, s, may, "sdn-tunnel").slices,
	}
}

// TestPlanImport: want is the type, the ports, and each slice's endpoints; what the own
// export conflicts with stands after it.
func TestPlanImport(t *testing.T) {
	id := clusterset.ID{Namespace: "demo", Name: "web"}
	annotate := func(f *importFacts, change func(*remoteservice.Service)) {
		for _, m := range f.mirrors {
			s, err := remoteservice.Decode(m.Annotations[remoteservice.Annotation])
			if err != nil {
				t.Fatal(err)
			}
			change(&s)
			if m.Annotations[remoteservice.Annotation], err = s.Encode(); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, tt := range map[string]struct {
		change func(*importFacts)
		want   string
	}{
		"both":                   {func(*importFacts) {}, "ClusterSetIP http:80 (10.128.0.5) (10.132.0.5)"},
		"no namespace":           {func(f *importFacts) { f.namespace = false }, "-"},
		"west only":              {func(f *importFacts) { f.export = nil }, "ClusterSetIP http:80 (10.132.0.5)"},
		"an export that goes":    {func(f *importFacts) { f.export.DeletionTimestamp = &metav1.Time{} }, "ClusterSetIP http:80 (10.132.0.5)"},
		"no service":             {func(f *importFacts) { f.service = nil }, "ClusterSetIP http:80 (10.132.0.5)"},
		"a service that goes":    {func(f *importFacts) { f.service.DeletionTimestamp = &metav1.Time{} }, "ClusterSetIP http:80 (10.132.0.5)"},
		"no address yet":         {func(f *importFacts) { f.service.Spec.ClusterIP = "" }, "ClusterSetIP http:80 (10.132.0.5)"},
		"ExternalName":           {func(f *importFacts) { f.service.Spec.Type = corev1.ServiceTypeExternalName }, "ClusterSetIP http:80 (10.132.0.5)"},
		"east only":              {func(f *importFacts) { f.mirrors = nil }, "ClusterSetIP http:80 (10.128.0.5)"},
		"west has it unexported": {func(f *importFacts) { annotate(f, func(s *remoteservice.Service) { s.Exported = 0 }) }, "ClusterSetIP http:80 (10.128.0.5)"},
		"nobody":                 {func(f *importFacts) { f.mirrors, f.export = nil, nil }, "-"},
		"the older one is headless": {func(f *importFacts) {
			annotate(f, func(s *remoteservice.Service) { s.IPs, s.Exported = nil, 1 })
		}, "Headless http:80 (10.128.0.5) (10.132.0.5) !TypeConflict"},
		"the younger one is headless": {func(f *importFacts) { annotate(f, func(s *remoteservice.Service) { s.IPs = nil }) }, "ClusterSetIP http:80 (10.128.0.5) (10.132.0.5)"},
		"another port": {func(f *importFacts) {
			f.service.Spec.Ports[0].Name, f.slices[0].Ports[0].Name = "web", new("web")
			annotate(f, func(s *remoteservice.Service) { s.Exported = 1 })
		}, "ClusterSetIP http:80 (10.128.0.5) (10.132.0.5) !PortConflict"},
		"another protocol in the application": {func(f *importFacts) {
			annotate(f, func(s *remoteservice.Service) { s.Ports[0].App, s.Exported = "kubernetes.io/h2c", 1 })
		}, "ClusterSetIP http:80/kubernetes.io/h2c (10.128.0.5) (10.132.0.5) !PortConflict"},
		"affinity": {func(f *importFacts) {
			annotate(f, func(s *remoteservice.Service) { s.Affinity, s.Exported = 60, 1 })
		}, "ClusterSetIP http:80 60s (10.128.0.5) (10.132.0.5) !SessionAffinityConflict"},
	} {
		t.Run(name, func(t *testing.T) {
			f := bothExport()
			tt.change(&f)
			p, err := planImport(id, f, "east", "sdn-tunnel")
			if err != nil {
				t.Fatal(err)
			}
			if got := planned(p); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
	f := bothExport()
	f.mirrors[0].Annotations = nil
	if _, err := planImport(id, f, "east", "sdn-tunnel"); err == nil || !strings.Contains(err.Error(), f.mirrors[0].Name) {
		t.Errorf("a mirror that says nothing: %v", err)
	}
	if p, err := planImport(clusterset.ID{Namespace: "sdn-tunnel", Name: "web"}, bothExport(), "east", "sdn-tunnel"); err != nil || p.wanted {
		t.Errorf("an import in the namespace of sdn-tunnel: %+v, %v", p, err)
	}
}

func planned(p importPlan) string {
	if !p.wanted {
		return "-"
	}
	words := []string{string(p.made.Type)}
	for _, port := range p.made.Ports {
		word := fmt.Sprintf("%s:%d", port.Name, port.Port)
		if port.AppProtocol != nil {
			word += "/" + *port.AppProtocol
		}
		words = append(words, word)
	}
	if p.made.AffinitySeconds > 0 {
		words = append(words, fmt.Sprintf("%ds", p.made.AffinitySeconds))
	}
	for _, s := range p.slices {
		var all []string
		for _, e := range s.Endpoints {
			all = append(all, e.Addresses...)
		}
		words = append(words, "("+strings.Join(all, " ")+")")
	}
	for _, c := range p.conflicts {
		words = append(words, "!"+string(c.Reason))
	}
	return strings.Join(slices.Clip(words), " ")
}
