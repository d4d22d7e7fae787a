package controller_test

import (
	"context"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	mcsv1alpha1 "sigs.k8s.io/mcs-api/pkg/apis/v1alpha1"

	"github.com/sdn-tunnel/sdn-tunnel/internal/apitest"
	"github.com/sdn-tunnel/sdn-tunnel/internal/clusterset"
	"github.com/sdn-tunnel/sdn-tunnel/internal/dnsplan"
	"github.com/sdn-tunnel/sdn-tunnel/internal/rights"
	"github.com/sdn-tunnel/sdn-tunnel/samples/test-app/resolve"
)

// TestImportsByName: stock CoreDNS, with the zone's planned configuration and the rights
// that the role gives it, finds what the controller made of exports.
func TestImportsByName(t *testing.T) {
	m := newMember(t, "east")
	ask := m.coredns()
	m.api.Namespaces(t, demo)
	m.run()
	own := m.service(demo, "web")
	db := clusterset.ID{Namespace: demo, Name: "db"}
	m.slice(demo, "web", "web-e", at("10.128.0.5", true))
	m.service(demo, "db", func(s *corev1.Service) { s.Spec.ClusterIP = corev1.ClusterIPNone })
	m.slice(demo, "db", "db-e", at("10.128.0.7", true))
	m.service(demo, "private")
	m.export("web")
	m.export("db")
	eventually(t, "imported", m.importing("demo/web ClusterSetIP http:80 east", "sdn-tunnel web of east http:8080 10.128.0.5",
		"demo/db Headless http:80 east", "demo db of east for DNS as db http:8080 10.128.0.7=pod"))
	var web mcsv1alpha1.ServiceImport
	if err := m.Get(t.Context(), client.ObjectKey{Namespace: demo, Name: "web"}, &web); err != nil {
		t.Fatal(err)
	}
	const zone = ".demo.svc.clusterset.local"
	for _, q := range []struct{ kind, name, want string }{
		{"A", "web" + zone, "NOERROR A " + web.Spec.IPs[0]},
		{"AAAA", "web" + zone, "NOERROR"},
		{"SRV", "_http._tcp.web" + zone, "NOERROR SRV 0 100 80 web" + zone + "."},
		{"A", "db" + zone, "NOERROR A 10.128.0.7"},
		{"A", "pod.east.db" + zone, "NOERROR A 10.128.0.7"},
		{"A", "pod.west.db" + zone, "NXDOMAIN"},
		{"A", "private" + zone, "NXDOMAIN"},
		{"A", "web.none.svc.clusterset.local", "NXDOMAIN"},
		// The cluster's own names stay, and reverse lookups do not hang. As behind any further
		// service, an address has one more name behind an import.
		{"PTR", "10.128.0.7", "NOERROR PTR pod.db.demo.svc.cluster.local., PTR pod." + db.DerivedName() + ".demo.svc.cluster.local."},
		{"A", "db.demo.svc.cluster.local", "NOERROR A 10.128.0.7"},
		{"A", "web.demo.svc.cluster.local", "NOERROR A " + own},
	} {
		eventually(t, q.kind+" "+q.name, func() string {
			if got := ask(q.kind, q.name); got != q.want {
				return got + ", want " + q.want
			}
			return ""
		})
	}
}

// coredns runs CoreDNS on the member's API until the test ends, and gives a way to ask it.
func (m *member) coredns() (ask func(kind, name string) string) {
	m.t.Helper()
	program := filepath.Join(os.Getenv(apitest.ToolsEnv), "coredns")
	if _, err := os.Stat(program); err != nil {
		m.t.Skipf("SKIPPED: %v", err)
	}
	given, err := rights.Given("../../roles/dns/templates/dns.yml.j2")
	if err != nil {
		m.t.Fatal(err)
	}
	for _, o := range given.Objects("coredns", namespace) {
		m.create(o)
	}
	ports, err := apitest.FreePorts(1)
	if err != nil {
		m.t.Fatal(err)
	}
	server := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), ports[0])
	file := filepath.Join(m.t.TempDir(), "Corefile")
	if err := os.WriteFile(file, []byte(m.corefile(server.Port())), 0o600); err != nil {
		m.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, program, "-conf", file)
	cmd.Stdout, cmd.Stderr = m.t.Output(), m.t.Output()
	if err := cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() { cancel(); _ = cmd.Wait() })
	return func(kind, name string) string {
		ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
		defer cancel()
		a := resolve.Ask(ctx, server, kind, name)
		return strings.TrimSpace(a.RCode + " " + strings.Join(a.Records, ", ") + a.Error)
	}
}

// corefile has the zone as it is planned, but for the way to the API, and the cluster's
// own names as its own DNS has them.
func (m *member) corefile(port uint16) string {
	m.t.Helper()
	plan, err := dnsplan.Make([]dnsplan.Cluster{{Name: "east", Zone: "cluster.east"}}, dnsplan.Options{Self: "east", Port: port, ClusterSet: true})
	if err != nil {
		m.t.Fatal(err)
	}
	_, rest, found := strings.Cut(plan.Corefile, "\n"+dnsplan.ClusterSetZone+":")
	block, _, closed := strings.Cut(rest, "\n}\n")
	if !found || !closed {
		m.t.Fatalf("no block of the zone in\n%s", plan.Corefile)
	}
	kubeconfig := "    kubeconfig " + m.api.Kubeconfig(m.t, m.api.User(m.t, "coredns")) + "\n"
	text := strings.Replace(dnsplan.ClusterSetZone+":"+block, "{\n        multicluster", "{\n    "+kubeconfig+"        multicluster", 1)
	if !strings.Contains(text, kubeconfig) {
		m.t.Fatalf("no place for the way to the API in\n%s", block)
	}
	own := ":" + strconv.Itoa(int(port))
	return text + "\n}\ncluster.local" + own + " in-addr.arpa" + own + " {\n    errors\n    kubernetes cluster.local in-addr.arpa {\n    " + kubeconfig + "    }\n}\n"
}
