package controller

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/sdn-tunnel/sdn-tunnel/api/v1alpha1"
	"github.com/sdn-tunnel/sdn-tunnel/internal/catalog"
	"github.com/sdn-tunnel/sdn-tunnel/internal/remoteservice"
)

var webOfWest = remoteservice.Identity{Cluster: "west", Namespace: "demo", Name: "web"}

func ofWest(change ...func(*catalog.Service)) *catalog.Service {
	s := &catalog.Service{
		Service: remoteservice.Service{IPs: []netip.Addr{netip.MustParseAddr("172.31.0.5")},
			Ports: []remoteservice.Port{{Name: "http", Protocol: corev1.ProtocolTCP, Port: 80}}},
		Slices: []catalog.Slice{{Name: "web-1", Addresses: discoveryv1.AddressTypeIPv4,
			Ports:     []remoteservice.Port{{Name: "http", Protocol: corev1.ProtocolTCP, Port: 8080}},
			Endpoints: []remoteservice.Endpoint{{Address: netip.MustParseAddr("10.132.0.5"), Ready: true, Serving: true}}}},
	}
	for _, f := range change {
		f(s)
	}
	return s
}

// TestPlanMirror: want is one word a slice: its endpoints; what is left out and refused
// stands after it.
func TestPlanMirror(t *testing.T) {
	may := networksOf(linked("west", "10.132.0.0/14", "172.31.0.0/16", "100.127.4.0/22"))
	endpoint := func(a string) remoteservice.Endpoint { return remoteservice.Endpoint{Address: netip.MustParseAddr(a)} }
	for name, tt := range map[string]struct {
		change func(*catalog.Service)
		want   string
	}{
		"usual":     {func(*catalog.Service) {}, "(10.132.0.5)"},
		"no slices": {func(s *catalog.Service) { s.Slices = nil }, "()"},
		"two slices": {func(s *catalog.Service) {
			s.Slices = append(s.Slices, catalog.Slice{Name: "web-2", Addresses: discoveryv1.AddressTypeIPv4})
		}, "(10.132.0.5)()"},
		"a slice of the other family": {func(s *catalog.Service) { s.Slices[0].Addresses = discoveryv1.AddressTypeIPv6 }, "()"},
		"a node, and another's pod": {func(s *catalog.Service) {
			s.Slices[0].Endpoints = append(s.Slices[0].Endpoints, endpoint("192.168.60.11"), endpoint("10.128.0.5"))
		}, "(10.132.0.5)-2"},
		"nothing but nodes":           {func(s *catalog.Service) { s.Slices[0].Endpoints[0] = endpoint("192.168.60.11") }, "()-1"},
		"an address of east":          {func(s *catalog.Service) { s.IPs[0] = netip.MustParseAddr("172.30.0.1") }, "! service networks"},
		"IPv6 that is not declared":   {func(s *catalog.Service) { s.IPs = append(s.IPs, netip.MustParseAddr("fd01::5")) }, "(10.132.0.5)"},
		"what the catalog refuses":    {func(s *catalog.Service) { s.Refused = "bad" }, "!bad"},
		"affinity beyond all bounds":  {func(s *catalog.Service) { s.Affinity = 1e9 }, "!affinity"},
		"headless":                    {func(s *catalog.Service) { s.IPs, s.Slices[0].Endpoints[0].Hostname = nil, "web-0" }, "(10.132.0.5 web-0)"},
		"headless, without endpoints": {func(s *catalog.Service) { s.IPs, s.Slices = nil, nil }, "()"},
		"the same slice twice":        {func(s *catalog.Service) { s.Slices = append(s.Slices, s.Slices[0]) }, "(10.132.0.5)"},
	} {
		t.Run(name, func(t *testing.T) {
			p := planMirror(webOfWest, ofWest(tt.change), may, "sdn-tunnel")
			if refused, ok := strings.CutPrefix(tt.want, "!"); ok {
				if len(p.slices) > 0 || !strings.Contains(p.refused, strings.TrimSpace(refused)) {
					t.Errorf("got %+v, want refusal %q", p, refused)
				}
				return
			}
			got := ""
			for _, s := range p.slices {
				read, err := remoteservice.Read(s)
				want := "[172.31.0.5]"
				if strings.HasPrefix(name, "headless") {
					want = "[]"
				}
				if err != nil || fmt.Sprint(read.Service.IPs) != want || read.Identity != webOfWest {
					t.Errorf("read as %+v, %v", read, err)
				}
				var all []string
				for i, e := range read.Endpoints {
					all = append(all, e.Address.String())
					if h := s.Endpoints[i].Hostname; h != nil {
						all = append(all, *h)
					}
				}
				got += "(" + strings.Join(all, " ") + ")"
				again := planMirror(webOfWest, ofWest(tt.change), may, "sdn-tunnel")
				if !sameMirror(s, find(again.slices, s.Name)) {
					t.Error("planned again it is another")
				}
			}
			if p.leftOut > 0 {
				got += fmt.Sprintf("-%d", p.leftOut)
			}
			if got != tt.want || p.refused != "" {
				t.Errorf("got %s %s, want %s", got, p.refused, tt.want)
			}
		})
	}
}

func find(all []*discoveryv1.EndpointSlice, name string) *discoveryv1.EndpointSlice {
	for _, s := range all {
		if s.Name == name {
			return s
		}
	}
	return &discoveryv1.EndpointSlice{}
}

func TestDerivedName(t *testing.T) {
	seen := map[string]bool{}
	for _, cluster := range []string{"a", "west", strings.Repeat("w", 63), strings.Repeat("w-", 31) + "w"} {
		for _, id := range []remoteservice.Identity{{Cluster: cluster, Namespace: "a", Name: "b-c"}, {Cluster: cluster, Namespace: "a-b", Name: "c"}} {
			name := derivedName(id)
			if errs := validation.IsDNS1035Label(name); len(errs) > 0 || seen[name] {
				t.Errorf("%v: %q: %v, seen %v", id, name, errs, seen[name])
			}
			seen[name] = true
		}
	}
}

func TestServicesSynced(t *testing.T) {
	reached := condition(v1alpha1.ConditionReachable, true, "Answers", "m")
	away := condition(v1alpha1.ConditionReachable, false, "Unreachable", "m")
	connecting := metav1.Condition{Type: v1alpha1.ConditionReachable, Status: metav1.ConditionUnknown}
	all := catalog.State{Complete: true, Synced: true, Declared: true, Policy: v1alpha1.ExportAll, Shared: 3}
	with := func(change func(*catalog.State)) catalog.State { s := all; change(&s); return s }
	for name, tt := range map[string]struct {
		sum
		catalog.State
		reachable metav1.Condition
		want      string // status, reason, a part of the message
		stale     bool
	}{
		"synced":      {sum{mirrored: 3}, all, reached, "True Synced all services", false},
		"exported":    {sum{mirrored: 3}, with(func(s *catalog.State) { s.Policy = v1alpha1.ExportExported }), reached, "True Synced ServiceExport", false},
		"no proxy":    {sum{mirrored: 3}, with(func(s *catalog.State) { s.ExportedOnly = true }), reached, "True Synced nothing here balances", false},
		"left out":    {sum{mirrored: 3, leftOut: 2}, all, reached, "True Synced 2 endpoints", false},
		"copying":     {sum{mirrored: 2}, all, reached, "False Copying being written", false},
		"refused":     {sum{mirrored: 2, refused: []string{"demo/web: bad"}}, all, reached, "False Refused demo/web: bad", false},
		"too many":    {sum{mirrored: 3}, with(func(s *catalog.State) { s.TooMany = 7 }), reached, "False TooMany 7 objects", false},
		"away":        {sum{mirrored: 3}, all, away, "False Unreachable kept", true},
		"half away":   {sum{mirrored: 3}, with(func(s *catalog.State) { s.Err = fmt.Errorf("no\trights") }), reached, "False Stale no rights", true},
		"connecting":  {sum{}, catalog.State{}, connecting, "Unknown Connecting", true},
		"half read":   {sum{}, catalog.State{}, reached, "Unknown Connecting", true},
		"no deploy":   {sum{mirrored: 3}, catalog.State{Complete: true}, reached, "False NotDeclared run the deploy", true},
		"none at all": {sum{}, with(func(s *catalog.State) { s.Shared = 0 }), reached, "True Synced all services", false},
	} {
		t.Run(name, func(t *testing.T) {
			c, stale := servicesSynced("west", tt.sum, tt.State, tt.reachable)
			status, rest, _ := strings.Cut(tt.want, " ")
			reason, part, _ := strings.Cut(rest, " ")
			if string(c.Status) != status || c.Reason != reason || !strings.Contains(c.Message, part) || stale != tt.stale || strings.Contains(c.Message, "\t") {
				t.Errorf("got %s %s %q, stale %t", c.Status, c.Reason, c.Message, stale)
			}
		})
	}
}
