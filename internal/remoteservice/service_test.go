package remoteservice

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

func TestEncode(t *testing.T) {
	for want, s := range map[string]Service{
		`{"ips":["172.31.4.5"],"ports":[{"name":"http","protocol":"TCP","port":8080}],"affinity":10800}`: {
			IPs: addrs("172.31.4.5"), Ports: []Port{{Name: "http", Protocol: corev1.ProtocolTCP, Port: 8080}}, Affinity: 10800},
		`{"ips":["172.31.4.5","fd01::5"],"ports":[{"protocol":"UDP","port":53}]}`: {
			IPs: addrs("172.31.4.5", "fd01::5"), Ports: []Port{{Protocol: corev1.ProtocolUDP, Port: 53}}},
		`{"ips":[]}`: {IPs: []netip.Addr{}},
		`{"ips":[],"ports":[{"name":"db","protocol":"TCP","port":5432,"app":"kubernetes.io/h2c"}],"exported":1790000000}`: {
			IPs: []netip.Addr{}, Ports: []Port{{Name: "db", Protocol: corev1.ProtocolTCP, Port: 5432, App: "kubernetes.io/h2c"}}, Exported: 1_790_000_000},
	} {
		got, err := s.Encode()
		if err != nil || got != want {
			t.Errorf("encoded %s (%v), want %s", got, err, want)
		}
		back, err := Decode(got)
		if err != nil || !reflect.DeepEqual(back, s) {
			t.Errorf("%s came back as %+v (%v)", got, back, err)
		}
	}
	if got, err := (Service{}).Encode(); err != nil || got != `{"ips":[]}` {
		t.Errorf("a headless service without ports: %s (%v)", got, err)
	}
}

func TestDecodeRefuses(t *testing.T) {
	port := func(p string) string { return `{"ips":["172.31.4.5"],"ports":[` + p + `]}` }
	for text, want := range map[string]string{
		``:                                           "JSON",
		`{"ips":["172.31.4"]}`:                       "172.31.4",
		`{"ips":["127.0.0.1"]}`:                      "ips[0]",
		`{"ips":["0.0.0.0"]}`:                        "ips[0]",
		`{"ips":["224.0.0.1"]}`:                      "ips[0]",
		`{"ips":[""]}`:                               "ips[0]",
		`{"ips":["::ffff:172.31.4.5"]}`:              "ips[0]",
		`{"ips":["fd01::5%eth0"]}`:                   "ips[0]",
		`{"ips":["172.31.4.5","172.31.4.6"]}`:        "ips[1]",
		`{"ips":["172.31.4.5","fd01::1","fd01::2"]}`: "3 cluster IPs",
		`{"ips":["172.31.4.5"],"affinity":86401}`:    "affinity",
		`{"ips":["172.31.4.5"],"affinity":-1}`:       "affinity",
		`{"ips":["172.31.4.5"],"exported":-1}`:       "exported",
		`{"ips":["172.31.4.5"]} {}`:                  "after top-level",
		port(`{"protocol":"TCP","port":0}`):          "no number",
		port(`{"protocol":"TCP","port":65536}`):      "65536",
		port(`{"protocol":"tcp","port":80}`):         "protocol",
		port(`{"port":80}`):                          "protocol",
		port(`{"name":"a","protocol":"TCP","port":80},{"name":"b","protocol":"TCP","port":80}`):       "twice",
		port(`{"name":"a","protocol":"TCP","port":80},{"name":"a","protocol":"UDP","port":80}`):       "twice",
		port(`{"protocol":"TCP","port":80},{"name":"a","protocol":"UDP","port":80}`):                  "needs a name",
		port(`{"name":"` + strings.Repeat("x", 64) + `","protocol":"TCP","port":80}`):                 "64 bytes",
		port(`{"app":"` + strings.Repeat("x", 318) + `","protocol":"TCP","port":80}`):                 "318 bytes",
		port(strings.Repeat(`{"name":"x","protocol":"TCP","port":80},`, 1024) + `{"protocol":"UDP"}`): "1025 ports",
		strings.Repeat(" ", 200<<10): "bytes",
	} {
		if s, err := Decode(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.100s: read as %+v with error %v, want one about %q", text, s, err, want)
		}
	}
	if _, err := (Service{Affinity: -1}).Encode(); err == nil {
		t.Error("what cannot be read can be written")
	}
	if _, err := Decode(`{"ips":["172.31.4.5"],"later":{"version":2}}`); err != nil {
		t.Errorf("a later version's field is refused: %v", err)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(`{"ips":["172.31.4.5"],"ports":[{"name":"http","protocol":"TCP","port":8080}],"affinity":10800}`)
	f.Add(`{"ips":["fd01::1"],"ports":[{"protocol":"SCTP","port":1}]}`)
	f.Add(`{"ips":null}`)
	f.Fuzz(func(t *testing.T, text string) {
		s, err := Decode(text)
		if err != nil {
			return
		}
		again, err := s.Encode()
		if err != nil {
			t.Fatalf("%q was read as %+v, which cannot be written: %v", text, s, err)
		}
		back, err := Decode(again)
		if third, err2 := back.Encode(); err != nil || err2 != nil || third != again {
			t.Fatalf("%q became %q and then %q (%v, %v)", text, again, third, err, err2)
		}
	})
}

// slice is a mirror as the controller makes it.
func slice(name string, service string, endpoints ...discoveryv1.Endpoint) *discoveryv1.EndpointSlice {
	port, number, tcp := "http", int32(8080), corev1.ProtocolTCP
	return &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "sdn-tunnel",
			Labels:      Identity{"west", "shop", "web"}.Labels("derived-1"),
			Annotations: map[string]string{Annotation: service}},
		AddressType: discoveryv1.AddressTypeIPv4,
		Ports:       []discoveryv1.EndpointPort{{Name: &port, Protocol: &tcp, Port: &number}},
		Endpoints:   endpoints,
	}
}

const web = `{"ips":["172.31.4.5"],"ports":[{"name":"http","protocol":"TCP","port":80}]}`

func at(address string, conditions ...bool) discoveryv1.Endpoint {
	e := discoveryv1.Endpoint{Addresses: []string{address}}
	for i, into := range []**bool{&e.Conditions.Ready, &e.Conditions.Serving, &e.Conditions.Terminating} {
		if i < len(conditions) {
			*into = &conditions[i]
		}
	}
	return e
}

func TestRead(t *testing.T) {
	got, err := Read(slice("web-1", web, at("10.132.0.5"), at("10.132.0.6", false), at("10.132.0.7", false, true, true)))
	want := Slice{
		Identity:  Identity{"west", "shop", "web"},
		Service:   Service{IPs: addrs("172.31.4.5"), Ports: []Port{{Name: "http", Protocol: corev1.ProtocolTCP, Port: 80}}},
		Addresses: discoveryv1.AddressTypeIPv4,
		Ports:     map[string]SlicePort{"http": {corev1.ProtocolTCP, 8080}},
		Endpoints: []Endpoint{
			{Address: netip.MustParseAddr("10.132.0.5"), Ready: true, Serving: true},
			{Address: netip.MustParseAddr("10.132.0.6")},
			{Address: netip.MustParseAddr("10.132.0.7"), Serving: true, Terminating: true},
		},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("read %+v (%v), want %+v", got, err, want)
	}
	if s := got.String(); s != "web.shop.west" {
		t.Errorf("named %s", s)
	}
	selector, err := labels.Parse(Selector)
	if err != nil || !selector.Matches(labels.Set(slice("x", web).Labels)) {
		t.Errorf("the selector %q does not select a mirror (%v)", Selector, err)
	}
}

func TestReadEdges(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*discoveryv1.EndpointSlice)
		want   string // in the error; empty: none
	}{
		"no endpoints":       {func(o *discoveryv1.EndpointSlice) { o.Endpoints, o.Ports = nil, nil }, ""},
		"port means all":     {func(o *discoveryv1.EndpointSlice) { o.Ports[0].Port = nil }, ""},
		"names":              {func(o *discoveryv1.EndpointSlice) { o.AddressType, o.Endpoints[0].Addresses[0] = "FQDN", "a.b" }, ""},
		"no cluster":         {func(o *discoveryv1.EndpointSlice) { delete(o.Labels, "sdntunnel.io/cluster") }, "sdntunnel.io/cluster"},
		"no namespace":       {func(o *discoveryv1.EndpointSlice) { delete(o.Labels, LabelNamespace) }, LabelNamespace},
		"no name":            {func(o *discoveryv1.EndpointSlice) { delete(o.Labels, LabelName) }, LabelName},
		"no service":         {func(o *discoveryv1.EndpointSlice) { o.Annotations = nil }, Annotation},
		"port number":        {func(o *discoveryv1.EndpointSlice) { n := int32(70000); o.Ports[0].Port = &n }, "ports[0]"},
		"port twice":         {func(o *discoveryv1.EndpointSlice) { o.Ports = append(o.Ports, o.Ports[0]) }, "ports[1]"},
		"no address":         {func(o *discoveryv1.EndpointSlice) { o.Endpoints[0].Addresses = nil }, "endpoints[0]"},
		"not an address":     {func(o *discoveryv1.EndpointSlice) { o.Endpoints[0].Addresses[0] = "x" }, "endpoints[0]"},
		"of the other sort":  {func(o *discoveryv1.EndpointSlice) { o.Endpoints[0].Addresses[0] = "fd01::1" }, "endpoints[0]"},
		"loopback":           {func(o *discoveryv1.EndpointSlice) { o.Endpoints[0].Addresses[0] = "127.0.0.1" }, "endpoints[0]"},
		"link-local":         {func(o *discoveryv1.EndpointSlice) { o.Endpoints[0].Addresses[0] = "169.254.169.254" }, "endpoints[0]"},
		"too many endpoints": {func(o *discoveryv1.EndpointSlice) { o.Endpoints = make([]discoveryv1.Endpoint, 1001) }, "1001"},
	} {
		t.Run(name, func(t *testing.T) {
			o := slice("web-1", web, at("10.132.0.5"))
			tt.change(o)
			s, err := Read(o)
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("read %+v with error %v, want %q", s, err, tt.want)
			}
		})
	}
}

func addrs(all ...string) (out []netip.Addr) {
	for _, a := range all {
		out = append(out, netip.MustParseAddr(a))
	}
	return out
}
