package catalog

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	mcsv1alpha1 "sigs.k8s.io/mcs-api/pkg/apis/v1alpha1"

	"github.com/sdn-tunnel/sdn-tunnel/api/v1alpha1"
)

// book is a catalog that a test fills in place of the watches.
type book struct {
	*Catalog
	told []string // what Changed, All and Moved said
}

func newBook(o Options) *book {
	b := &book{}
	o.Cluster, o.Namespace = "west", "sdn-tunnel"
	o.Changed = func(k Key) { b.told = append(b.told, k.String()) }
	o.All = func() { b.told = append(b.told, "all") }
	o.Moved = func() { b.told = append(b.told, "moved") }
	b.Catalog = New(o)
	return b
}

// table is where the reflector of that kind would write.
func (b *book) table(kind string) *table {
	for _, f := range b.feeds {
		if f.kind == kind {
			return &table{b.Catalog, f}
		}
	}
	panic(kind)
}

// lists says of each kind that this is all there is.
func (b *book) lists(objects ...client.Object) {
	for _, f := range b.feeds {
		var all []any
		for _, o := range objects {
			if reflect.TypeOf(o) == reflect.TypeOf(f.object) && slim(o) {
				all = append(all, o)
			}
		}
		_ = b.table(f.kind).Replace(all, "1")
	}
}

// heard is what was told since the last time, in order of the text.
func (b *book) heard() string {
	told := b.told
	b.told = nil
	slices.Sort(told)
	return strings.Join(told, " ")
}

func self(p v1alpha1.ExportPolicy) *v1alpha1.LinkedCluster {
	return &v1alpha1.LinkedCluster{ObjectMeta: metav1.ObjectMeta{Name: "west"}, Spec: v1alpha1.LinkedClusterSpec{ExportPolicy: p}}
}

func service(name string, n int) *corev1.Service {
	return &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: name, Annotations: map[string]string{"a": "b"}},
		Spec: corev1.ServiceSpec{ClusterIP: fmt.Sprintf("172.31.%d.%d", n/250, n%250+1), Selector: map[string]string{"app": name},
			Ports: []corev1.ServicePort{{Name: "http", Protocol: corev1.ProtocolTCP, Port: 80}}}}
}

func slice(name, of string, addresses ...string) *discoveryv1.EndpointSlice {
	s := &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: name, Labels: map[string]string{discoveryv1.LabelServiceName: of}},
		AddressType: discoveryv1.AddressTypeIPv4, Ports: []discoveryv1.EndpointPort{{Name: new("http"), Port: new(int32(8080))}}}
	for _, a := range addresses {
		s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{Addresses: []string{a}, NodeName: new("w1")})
	}
	return s
}

func export(name string) *mcsv1alpha1.ServiceExport {
	return &mcsv1alpha1.ServiceExport{ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: name}}
}

// words are what is shared, in words.
func (b *book) words() string {
	var out []string
	for _, k := range b.Keys() {
		s := b.Get(k)
		word := k.Name
		for _, one := range s.Slices {
			word += fmt.Sprintf("[%s", one.Name)
			for _, e := range one.Endpoints {
				word += " " + e.Address.String()
			}
			word += "]"
		}
		if s.Refused != "" {
			word += "!"
		}
		out = append(out, word)
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

// TestCatalog goes through what a member can do, step by step.
func TestCatalog(t *testing.T) {
	b := newBook(Options{})
	step := func(name string, do func(), heard, words string) {
		t.Helper()
		do()
		if got := b.heard(); got != heard {
			t.Errorf("%s: told %q, want %q", name, got, heard)
		}
		if got := b.words(); got != words {
			t.Errorf("%s: known is %q, want %q", name, got, words)
		}
	}
	services, slices, exports, clusters := b.table(kindService), b.table(kindSlice), b.table(kindExport), b.table(kindCluster)
	step("nothing is told before all is read", func() {
		_ = services.Replace([]any{service("web", 1), service("db", 2)}, "1")
		_ = slices.Replace([]any{slice("web-1", "web", "10.132.0.6", "10.132.0.5", "10.132.0.6")}, "1")
		_ = exports.Replace(nil, "1")
	}, "", "")
	step("nor without a declaration", func() { _ = clusters.Replace(nil, "1") }, "all moved", "")
	if s := b.State(); s.Synced || s.Declared {
		t.Errorf("state %+v", s)
	}
	step("the declaration", func() { _ = clusters.Add(self("")) }, "all moved", "db web[web-1 10.132.0.5 10.132.0.6]")
	if s := b.State(); !s.Synced || s.Policy != v1alpha1.ExportAll || s.Shared != 2 {
		t.Errorf("state %+v", s)
	}
	step("what does not matter", func() {
		same := service("web", 1)
		same.Annotations["a"], same.Status.Conditions = "c", []metav1.Condition{{Type: "x"}}
		_ = services.Update(same)
		_ = slices.Update(slice("web-1", "web", "10.132.0.5", "10.132.0.6"))
	}, "", "db web[web-1 10.132.0.5 10.132.0.6]")
	step("a slice moves to another service", func() { _ = slices.Update(slice("web-1", "db", "10.132.0.5")) },
		"demo/db demo/web", "db[web-1 10.132.0.5] web")
	step("a slice goes", func() { _ = slices.Delete(slice("web-1", "db")) }, "demo/db", "db web")
	step("a slice of no service", func() { _ = slices.Add(slice("x-1", "later", "10.132.0.9")) }, "", "db web")
	step("its service comes", func() { _ = services.Add(service("later", 3)) }, "demo/later", "db later[x-1 10.132.0.9] web")
	step("a service becomes headless", func() {
		s := service("db", 2)
		s.Spec.ClusterIP = corev1.ClusterIPNone
		_ = services.Update(s)
	}, "demo/db", "later[x-1 10.132.0.9] web")
	step("and is exported", func() { _ = exports.Add(export("db")) }, "demo/db", "db later[x-1 10.132.0.9] web")
	if s := b.Get(Key{"demo", "db"}); s.Exported == 0 || len(s.IPs) > 0 {
		t.Errorf("a headless service that is exported: %+v", s)
	}
	step("and no more", func() { _ = exports.Delete(export("db")) }, "demo/db", "later[x-1 10.132.0.9] web")
	step("the policy", func() { _ = clusters.Update(self(v1alpha1.ExportExported)) }, "all moved", "")
	step("a change of what is not shared", func() { _ = services.Update(service("web", 9)) }, "", "")
	step("an export", func() { _ = exports.Add(export("web")) }, "demo/web", "web")
	step("an export of nothing", func() { _ = exports.Add(export("nothing")) }, "", "web")
	step("an export that is being deleted", func() {
		e := export("web")
		e.DeletionTimestamp = &metav1.Time{}
		e.DeletionTimestamp.Time = metav1.Now().Time
		_ = exports.Update(e)
	}, "demo/web", "")
	step("another policy", func() { _ = clusters.Update(self("New")) }, "", "")
	step("the old one again", func() { _ = clusters.Update(self(v1alpha1.ExportAll)) }, "all moved", "later[x-1 10.132.0.9] web")
	step("all is listed anew", func() {
		b.lists(self(v1alpha1.ExportAll), service("web", 9), service("new", 4), slice("new-1", "new", "10.132.0.1"))
	},
		"demo/later demo/new demo/new", "new[new-1 10.132.0.1] web")
	step("the declaration goes", func() { _ = clusters.Delete(self("")) }, "all moved", "")
	if s := b.State(); s.Synced || s.Shared != 0 {
		t.Errorf("state %+v", s)
	}
	if b.services != 2 || len(b.entries) != 2 || len(b.owner) != 1 || b.exports != 0 {
		t.Errorf("left: %d services, %d entries, %d slices, %d exports", b.services, len(b.entries), len(b.owner), b.exports)
	}
}

// TestLimits: whatever a member has, only so much of it is kept, and room that is made is
// used when it is listed anew.
// TestExportedOnly: what has no export is not wanted, whatever the member's policy.
func TestExportedOnly(t *testing.T) {
	b := newBook(Options{ExportedOnly: true})
	b.lists(self(""))
	_ = b.table(kindService).Replace([]any{service("a", 1), service("b", 2)}, "1")
	if s := b.State(); s.Shared != 0 || !s.ExportedOnly || len(b.Keys()) > 0 {
		t.Errorf("nothing is exported: %+v, %v", s, b.Keys())
	}
	b.setExport(Key{"demo", "b"}, 1)
	if s := b.State(); s.Shared != 1 || b.Get(Key{"demo", "b"}) == nil || b.Get(Key{"demo", "a"}) != nil {
		t.Errorf("b is exported: %+v, %v", s, b.Keys())
	}
	b.setPolicy(true, v1alpha1.ExportExported)
	b.setPolicy(true, v1alpha1.ExportAll)
	if s := b.State(); s.Shared != 1 {
		t.Errorf("the policy changed: %+v", s)
	}
}

func TestLimits(t *testing.T) {
	all := []client.Object{self("")}
	for i := range 10 {
		all = append(all, service(fmt.Sprintf("s%d", i), i))
	}
	t.Run("services", func(t *testing.T) {
		b := newBook(Options{Services: 4})
		b.lists(all...)
		if s := b.State(); s.Shared != 4 || s.TooMany != 6 {
			t.Errorf("%+v", s)
		}
		_ = b.table(kindService).Update(service("s0", 99))
		if s := b.State(); s.Shared != 4 || s.TooMany != 6 {
			t.Errorf("after a change of one that is known: %+v", s)
		}
		b.heard()
		b.lists(all[:4]...)
		if s := b.State(); s.Shared != 3 || s.TooMany != 0 || !strings.Contains(b.heard(), "moved") {
			t.Errorf("after there are fewer: %+v", s)
		}
	})
	t.Run("size", func(t *testing.T) {
		b := newBook(Options{Bytes: 8000})
		b.lists(all...)
		before := b.State().Shared
		var many []string
		for i := range 1000 {
			many = append(many, fmt.Sprintf("10.132.%d.%d", i/250, i%250))
		}
		_ = b.table(kindSlice).Add(slice("huge", "s0", many...))
		if s := b.State(); s.TooMany != 1 || s.Shared != before || before != 10 || b.bytes > 8000 || len(b.Get(Key{"demo", "s0"}).Slices) > 0 {
			t.Errorf("%+v, %d bytes", s, b.bytes)
		}
		_ = b.table(kindSlice).Delete(slice("huge", "s0"))
		if s := b.State(); s.TooMany != 0 {
			t.Errorf("after it is gone: %+v", s)
		}
		// Little to say, much to hold: each endpoint is balanced to at each port.
		wide := slice("wide", "s0", many[:100]...)
		for i := range 100 {
			wide.Ports = append(wide.Ports, discoveryv1.EndpointPort{Name: new(fmt.Sprint("p", i)), Port: new(int32(i + 1))})
		}
		b = newBook(Options{Bytes: 100_000})
		b.lists(all...)
		_ = b.table(kindSlice).Add(wide)
		if s := b.State(); s.TooMany != 1 || len(b.Get(Key{"demo", "s0"}).Slices) > 0 {
			t.Errorf("of 100 endpoints with 100 ports: %+v, %d bytes", s, b.bytes)
		}
		b = newBook(Options{Bytes: 8000})
		b.lists(all...)
		for i := range 100 {
			_ = b.table(kindSlice).Add(slice(fmt.Sprint("n", i), fmt.Sprint("nobody", i)))
			_ = b.table(kindExport).Add(export(fmt.Sprint("nobody", i)))
		}
		if b.bytes > 8000 || len(b.entries) > 20 || len(b.owner) > 20 {
			t.Errorf("%d bytes, %d entries, %d slices", b.bytes, len(b.entries), len(b.owner))
		}
	})
}

// TestReadService: what no service can be is refused, what needs no mirror is left out.
func TestReadService(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*corev1.Service)
		want   string // "": nil, "!…": refused with that
	}{
		"usual":              {func(*corev1.Service) {}, "[172.31.0.2] 0"},
		"affinity":           {func(s *corev1.Service) { s.Spec.SessionAffinity = "ClientIP" }, "[172.31.0.2] 10800"},
		"both families":      {func(s *corev1.Service) { s.Spec.ClusterIPs = []string{"172.31.0.2", "fd01::2"} }, "[172.31.0.2 fd01::2] 0"},
		"headless":           {func(s *corev1.Service) { s.Spec.ClusterIP = "None" }, "[] 0"},
		"no address yet":     {func(s *corev1.Service) { s.Spec.ClusterIP = "" }, ""},
		"ExternalName":       {func(s *corev1.Service) { s.Spec.Type = "ExternalName" }, ""},
		"the API server":     {func(s *corev1.Service) { s.Namespace, s.Name = "default", "kubernetes" }, ""},
		"another kubernetes": {func(s *corev1.Service) { s.Name = "kubernetes" }, "[172.31.0.2] 0"},
		"bad address":        {func(s *corev1.Service) { s.Spec.ClusterIP = "x" }, "!not an address"},
		"loopback":           {func(s *corev1.Service) { s.Spec.ClusterIP = "127.0.0.1" }, "!127.0.0.1"},
		"bad port":           {func(s *corev1.Service) { s.Spec.Ports[0].Port = 70000 }, "!port"},
		"bad name":           {func(s *corev1.Service) { s.Name = "a/b" }, "!name"},
		"bad port name":      {func(s *corev1.Service) { s.Spec.Ports[0].Name = "Web_1" }, "!name of one of its ports"},
		"too many ports":     {func(s *corev1.Service) { s.Spec.Ports = make([]corev1.ServicePort, 2000) }, "!port"},
	} {
		t.Run(name, func(t *testing.T) {
			s := service("web", 1)
			tt.change(s)
			got := ""
			switch r := readService(s); {
			case r != nil && r.Refused != "":
				got = "!" + r.Refused
			case r != nil:
				got = fmt.Sprint(r.IPs, r.Affinity)
			}
			refused, ok := strings.CutPrefix(tt.want, "!")
			if ok && (got == "" || got[0] != '!' || !strings.Contains(got, refused)) || !ok && got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func FuzzReadSlice(f *testing.F) {
	f.Add("10.132.0.5", "http", int32(80), true)
	f.Add("fd01::1%eth0", "", int32(0), false)
	f.Fuzz(func(t *testing.T, address, port string, number int32, ready bool) {
		o := slice("web-1", "web", address, "10.132.0.6", address)
		o.Ports = append(o.Ports, discoveryv1.EndpointPort{Name: &port, Port: &number})
		o.Endpoints[0].Conditions.Ready = &ready
		s, ok := readSlice(o)
		if !ok {
			t.Fatal("left out")
		}
		for i, e := range s.Endpoints {
			if !e.Address.Is4() || i > 0 && !s.Endpoints[i-1].Address.Less(e.Address) {
				t.Errorf("endpoints %v", s.Endpoints)
			}
		}
		for i, p := range s.Ports {
			if p.Port == 0 || len(p.Name) > 63 || i > 0 && s.Ports[i-1].Name >= p.Name {
				t.Errorf("ports %v", s.Ports)
			}
		}
	})
}
