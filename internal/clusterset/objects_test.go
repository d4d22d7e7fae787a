package clusterset

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/yaml"

	"github.com/sdn-tunnel/sdn-tunnel/internal/golden"
)

func source(name string, addresses []string, hostname string, portsOf string) *discoveryv1.EndpointSlice {
	s := &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Name: name, Labels: map[string]string{"theirs": "1"}},
		AddressType: discoveryv1.AddressTypeIPv4,
	}
	for _, p := range ports(portsOf) {
		s.Ports = append(s.Ports, discoveryv1.EndpointPort{Name: new(p.Name), Protocol: new(protocol(p)), Port: new(p.Port + 8000)})
	}
	for _, a := range addresses {
		e := discoveryv1.Endpoint{Addresses: []string{a}, Conditions: discoveryv1.EndpointConditions{Ready: new(true)},
			NodeName: new("node"), TargetRef: &corev1.ObjectReference{Kind: "Pod", Name: "pod"}}
		if hostname != "" {
			e.Hostname = new(hostname)
		}
		s.Endpoints = append(s.Endpoints, e)
	}
	return s
}

func TestObjects(t *testing.T) {
	id := ID{"shop", "db"}
	for _, c := range []struct {
		golden    string
		exports   []Export
		addresses []string
		ports     map[string]string // of each cluster's endpoints
		hostname  bool
	}{
		{"clustersetip.yaml", []Export{
			{Cluster: "east", Created: at(1), Ports: ports("http:80"), Affinity: corev1.ServiceAffinityClientIP, AffinitySeconds: 60},
			{Cluster: "west", Created: at(2), Ports: ports("web:80 admin:81")},
		}, []string{"172.30.0.9"}, map[string]string{"east": "http:80", "west": "web:80 admin:81 other:82"}, false},
		{"headless.yaml", []Export{
			{Cluster: "east", Created: at(2), Ports: ports("sql:5432"), Headless: true},
			{Cluster: "west", Created: at(1), Ports: ports("sql:5432"), Headless: true},
		}, nil, map[string]string{"east": "sql:5432", "west": "sql:5432"}, true},
	} {
		t.Run(c.golden, func(t *testing.T) {
			made, _ := Merge(c.exports)
			objects := []any{made.ServiceImport(id, c.addresses)}
			if len(c.addresses) > 0 {
				objects = append(objects, made.DerivedService(id, "sdn-tunnel"))
			}
			for _, e := range c.exports {
				hostname := ""
				if c.hostname {
					hostname = e.Cluster + "-0"
				}
				for _, s := range made.DerivedSlices(id, "sdn-tunnel", e.Cluster, []*discoveryv1.EndpointSlice{
					source("db-x", []string{"10.0.0.1", "10.0.0.2"}, hostname, c.ports[e.Cluster]), source("db-y", nil, hostname, "unknown:1"),
				}) {
					objects = append(objects, s)
				}
			}
			checkGolden(t, c.golden, objects)
		})
	}
}

func checkGolden(t *testing.T, name string, objects []any) {
	t.Helper()
	var text strings.Builder
	for _, o := range objects {
		b, err := yaml.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		text.WriteString("---\n" + string(b))
	}
	golden.Check(t, name, text.String())
}

// TestDerivedNames: they are DNS labels however long the names are, and different services
// never share one.
func TestDerivedNames(t *testing.T) {
	long := strings.Repeat("x", 63)
	seen := map[string]ID{}
	for _, id := range []ID{{"a", "b"}, {"a-b", "c"}, {"a", "b-c"}, {long, long}, {long, "b"}} {
		name := id.DerivedName()
		if errs := validation.IsDNS1035Label(name); len(errs) > 0 {
			t.Errorf("%s: %s: %v", id, name, errs)
		}
		if other, twice := seen[name]; twice {
			t.Errorf("%s and %s share the name %s", id, other, name)
		}
		seen[name] = id
		for label, value := range id.Labels() {
			if errs := validation.IsValidLabelValue(value); len(errs) > 0 {
				t.Errorf("%s: label %s: %v", id, label, errs)
			}
		}
	}
}
