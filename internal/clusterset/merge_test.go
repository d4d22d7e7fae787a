package clusterset

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	mcsv1alpha1 "sigs.k8s.io/mcs-api/pkg/apis/v1alpha1"
)

// at is a time by its day.
func at(day int) time.Time { return time.Date(2026, 1, day, 0, 0, 0, 0, time.UTC) }

// ports reads "http:80 dns:53/UDP :81".
func ports(text string) (all []mcsv1alpha1.ServicePort) {
	for _, word := range strings.Fields(text) {
		name, number, _ := strings.Cut(word, ":")
		number, protocol, _ := strings.Cut(number, "/")
		port := mcsv1alpha1.ServicePort{Name: name, Protocol: corev1.Protocol(protocol)}
		for _, digit := range number {
			port.Port = port.Port*10 + digit - '0'
		}
		all = append(all, port)
	}
	return all
}

func TestMerge(t *testing.T) {
	http2 := "kubernetes.io/h2c"
	for _, c := range []struct {
		name      string
		exports   []Export
		kind      mcsv1alpha1.ServiceImportType
		ports     string
		affinity  int32
		conflicts map[string]string // cluster: reason and a piece of the message
	}{
		{
			name:    "one export is the service",
			exports: []Export{{Cluster: "east", Created: at(1), Ports: ports("http:80 dns:53/UDP"), Affinity: corev1.ServiceAffinityClientIP, AffinitySeconds: 60}},
			kind:    mcsv1alpha1.ClusterSetIP, ports: "http:80 dns:53/UDP", affinity: 60,
		},
		{
			name: "equal exports agree, whatever their age",
			exports: []Export{
				{Cluster: "west", Created: at(2), Ports: ports("http:80/TCP dns:53/UDP")},
				{Cluster: "east", Created: at(1), Ports: ports("dns:53/UDP http:80")},
			},
			kind: mcsv1alpha1.ClusterSetIP, ports: "dns:53/UDP http:80",
		},
		{
			name: "the oldest export decides whether the service has an address",
			exports: []Export{
				{Cluster: "east", Created: at(2), Ports: ports("db:5432")},
				{Cluster: "west", Created: at(1), Ports: ports("db:5432"), Headless: true, Affinity: corev1.ServiceAffinityClientIP, AffinitySeconds: 5},
			},
			kind: mcsv1alpha1.Headless, ports: "db:5432",
			conflicts: map[string]string{"east": "TypeConflict: the service is of type ClusterSetIP, but headless in cluster west, whose export is the oldest"},
		},
		{
			name: "of equally old exports the first cluster's decides",
			exports: []Export{
				{Cluster: "west", Created: at(1), Affinity: corev1.ServiceAffinityNone, Ports: ports("http:80")},
				{Cluster: "east", Created: at(1), Affinity: corev1.ServiceAffinityClientIP, AffinitySeconds: 9, Ports: ports("http:80")},
			},
			kind: mcsv1alpha1.ClusterSetIP, ports: "http:80", affinity: 9,
			conflicts: map[string]string{"west": "SessionAffinityConflict: sessionAffinity is None, but ClientIP in cluster east"},
		},
		{
			name: "affinity that lasts differently",
			exports: []Export{
				{Cluster: "east", Created: at(1), Affinity: corev1.ServiceAffinityClientIP, AffinitySeconds: 9, Ports: ports("http:80")},
				{Cluster: "west", Created: at(2), Affinity: corev1.ServiceAffinityClientIP, AffinitySeconds: 8, Ports: ports("http:80")},
			},
			kind: mcsv1alpha1.ClusterSetIP, ports: "http:80", affinity: 9,
			conflicts: map[string]string{"west": "SessionAffinityConfigConflict: sessionAffinity lasts 8 s, but 9 s in cluster east"},
		},
		{
			name: "ports are united, and who differs from the oldest is told",
			exports: []Export{
				{Cluster: "east", Created: at(1), Ports: ports("http:80 metrics:9090")},
				{Cluster: "west", Created: at(2), Ports: ports("http:80 admin:81")},
			},
			kind: mcsv1alpha1.ClusterSetIP, ports: "http:80 metrics:9090 admin:81",
			conflicts: map[string]string{"west": "port admin (81/TCP) is missing in cluster east, and is imported; port metrics (9090/TCP) of cluster east is missing here"},
		},
		{
			name: "a name with two numbers is the oldest's",
			exports: []Export{
				{Cluster: "east", Created: at(2), Ports: ports("http:8080")},
				{Cluster: "west", Created: at(1), Ports: ports("http:80")},
			},
			kind: mcsv1alpha1.ClusterSetIP, ports: "http:80",
			conflicts: map[string]string{"east": "port http (8080/TCP) has another number or protocol in cluster west and is not imported"},
		},
		{
			name: "a number with two names keeps the oldest's name",
			exports: []Export{
				{Cluster: "east", Created: at(1), Ports: ports("http:80")},
				{Cluster: "west", Created: at(2), Ports: ports("web:80")},
			},
			kind: mcsv1alpha1.ClusterSetIP, ports: "http:80",
			conflicts: map[string]string{"west": `port web (80/TCP) is called "http" in cluster east`},
		},
		{
			name: "a port without a name stays the only one",
			exports: []Export{
				{Cluster: "east", Created: at(1), Ports: ports(":80")},
				{Cluster: "west", Created: at(2), Ports: ports("web:80 admin:81")},
			},
			kind: mcsv1alpha1.ClusterSetIP, ports: ":80",
			conflicts: map[string]string{"west": "port admin (81/TCP) is not imported: several ports need names, and one has none"},
		},
		{
			name: "a port that comes later needs a name",
			exports: []Export{
				{Cluster: "east", Created: at(1), Ports: ports("http:80")},
				{Cluster: "west", Created: at(2), Ports: ports(":81")},
			},
			kind: mcsv1alpha1.ClusterSetIP, ports: "http:80",
			conflicts: map[string]string{"west": "port 81/TCP is not imported: several ports need names, and one has none"},
		},
		{
			name: "what is spoken on a port",
			exports: []Export{
				{Cluster: "east", Created: at(1), Ports: ports("http:80")},
				{Cluster: "west", Created: at(2), Ports: []mcsv1alpha1.ServicePort{{Name: "http", Port: 80, AppProtocol: &http2}}},
			},
			kind: mcsv1alpha1.ClusterSetIP, ports: "http:80",
			conflicts: map[string]string{"west": `port http (80/TCP) speaks "kubernetes.io/h2c", but "" in cluster east`},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			made, conflicts := Merge(c.exports)
			if made.Type != c.kind || made.AffinitySeconds != c.affinity {
				t.Errorf("type %s, affinity %d s; want %s, %d s", made.Type, made.AffinitySeconds, c.kind, c.affinity)
			}
			if diff := cmp.Diff(ports(c.ports), made.Ports, cmp.Comparer(sameNumberAndName)); diff != "" {
				t.Errorf("ports (-want +made):\n%s", diff)
			}
			for _, e := range c.exports {
				got := ConflictCondition(conflicts[e.Cluster])
				want, conflicting := c.conflicts[e.Cluster]
				if text := got.Reason + ": " + got.Message; (got.Status == "True") != conflicting || !strings.Contains(text, want) {
					t.Errorf("cluster %s: condition %s %q, want %q", e.Cluster, got.Status, text, want)
				}
			}
		})
	}
}

func sameNumberAndName(p, q mcsv1alpha1.ServicePort) bool {
	return p.Name == q.Name && sameNumber(p, q)
}

func TestMergeOfNothing(t *testing.T) {
	if made, conflicts := Merge(nil); len(made.Clusters) > 0 || len(conflicts) > 0 {
		t.Errorf("made %+v with conflicts %v", made, conflicts)
	}
}

func TestPortNamesFollowTheOldest(t *testing.T) {
	made, _ := Merge([]Export{
		{Cluster: "east", Created: at(1), Ports: ports("http:80 db:5432")},
		{Cluster: "west", Created: at(2), Ports: ports("web:80 db:3306")},
	})
	for _, c := range []struct{ cluster, name, imported string }{
		{"east", "http", "http"}, {"east", "db", "db"}, {"west", "web", "http"}, {"west", "db", ""}, {"south", "http", ""},
	} {
		if got, ok := made.PortName(c.cluster, c.name); got != c.imported || ok != (c.imported != "") {
			t.Errorf("%s of %s: %q %v, want %q", c.name, c.cluster, got, ok, c.imported)
		}
	}
}

// TestMergeHoldsWhateverIsExported: the order of exports does not matter, no two ports
// collide, the oldest export is followed in everything, and it alone never conflicts.
func TestMergeHoldsWhateverIsExported(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		exports := arbitrary(random)
		made, conflicts := Merge(exports)
		shuffled := slices.Clone(exports)
		random.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		again, same := Merge(shuffled)
		if diff := cmp.Diff(made, again, cmp.AllowUnexported(Import{})) + cmp.Diff(conflicts, same); diff != "" {
			t.Fatalf("another order makes another service of %+v:\n%s", exports, diff)
		}
		checkPorts(t, made.Ports)
		oldest := slices.MinFunc(exports, func(a, b Export) int { return a.Created.Compare(b.Created) })
		if len(conflicts[oldest.Cluster]) > 0 || len(made.Ports) < len(oldest.Ports) {
			t.Fatalf("the oldest export is not followed: %+v %v of %+v", made, conflicts, exports)
		}
		for i, p := range oldest.Ports {
			if !sameNumberAndName(p, made.Ports[i]) {
				t.Fatalf("port %d of the oldest is %+v, imported %+v", i, p, made.Ports[i])
			}
		}
	}
}

// arbitrary exports, each of another age, each a valid service.
func arbitrary(random *rand.Rand) (exports []Export) {
	for day, cluster := range []string{"east", "north", "south", "west"}[:1+random.IntN(4)] {
		e := Export{Cluster: cluster, Created: at(1 + (day*7)%5), Headless: random.IntN(4) == 0, Affinity: corev1.ServiceAffinityNone}
		if random.IntN(3) == 0 {
			e.Affinity, e.AffinitySeconds = corev1.ServiceAffinityClientIP, 1+random.Int32N(2)
		}
		e.Ports = slices.Clone([][]mcsv1alpha1.ServicePort{
			ports(":80"), ports("a:80"), ports("a:80 b:81"), ports("b:80 a:81"), ports("c:80/UDP b:80"), ports(":82"), ports("d:83"),
		}[random.IntN(7)])
		exports = append(exports, e)
	}
	return exports
}

// checkPorts: an API server takes a Service with these ports.
func checkPorts(t *testing.T, all []mcsv1alpha1.ServicePort) {
	t.Helper()
	for i, p := range all {
		if p.Name == "" && len(all) > 1 {
			t.Fatalf("one of several ports has no name: %+v", all)
		}
		for _, q := range all[i+1:] {
			if sameNumber(p, q) || p.Name == q.Name {
				t.Fatalf("ports collide: %+v", all)
			}
		}
	}
}
