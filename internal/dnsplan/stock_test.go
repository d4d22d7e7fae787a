package dnsplan

import (
	"bytes"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sdn-tunnel/sdn-tunnel/internal/apitest"
	"github.com/sdn-tunnel/sdn-tunnel/samples/test-app/resolve"
)

// westOnly is a folder with the planned configuration of west's zone, and a free port for
// the server; west's API does not answer.
func westOnly(t *testing.T) (dir string, server netip.AddrPort) {
	t.Helper()
	dir = t.TempDir()
	ports, err := apitest.FreePorts(1)
	if err != nil {
		t.Fatal(err)
	}
	server = netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), ports[0])
	plan, err := Make(pair(), Options{Self: "east", Port: server.Port(), Peers: dir})
	if err != nil {
		t.Fatal(err)
	}
	_, block, found := strings.Cut(plan.Corefile, "\ncluster.west:")
	block, _, closed := strings.Cut(block, "\n}\n")
	if !found || !closed {
		t.Fatalf("no block of west in\n%s", plan.Corefile)
	}
	put(t, filepath.Join(dir, "Corefile"), "cluster.west:"+block+"\n}\n")
	return dir, server
}

func put(t *testing.T, file, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// stock is the path of CoreDNS as its project releases it.
func stock(t *testing.T) string {
	t.Helper()
	program := filepath.Join(os.Getenv(apitest.ToolsEnv), "coredns")
	if _, err := os.Stat(program); err != nil {
		t.Skipf("SKIPPED: %v", err)
	}
	return program
}

// serve runs it with the folder's Corefile until the test ends.
func serve(t *testing.T, program, dir string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, "-conf", filepath.Join(dir, "Corefile"))
	cmd.Stdout, cmd.Stderr = t.Output(), t.Output()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
}

// answers waits until the server answers so.
func answers(t *testing.T, server netip.AddrPort, name, want string) {
	t.Helper()
	for began := time.Now(); ; time.Sleep(100 * time.Millisecond) {
		got := resolve.Ask(t.Context(), server, "A", name)
		if got.RCode == want {
			return
		}
		if time.Since(began) > 20*time.Second {
			t.Fatalf("%s: %+v, want %s", name, got, want)
		}
	}
}

const westKubeconfig = `apiVersion: v1
kind: Config
current-context: west
clusters: [{name: west, cluster: {server: "https://127.0.0.1:1"}}]
users: [{name: east, user: {tokenFile: token}}]
contexts: [{name: west, context: {cluster: west, user: east}}]
`

// TestStockCoreDNSNeedsItsFiles: without a member's files CoreDNS serves no zone at all, so
// a pod must not start before they are there. A member whose API is away costs its own zone.
func TestStockCoreDNSNeedsItsFiles(t *testing.T) {
	program := stock(t)
	dir, server := westOnly(t)
	kubeconfig, token := filepath.Join(dir, "west/kubeconfig"), filepath.Join(dir, "west/token")
	for _, missing := range []string{kubeconfig, token} {
		out, err := exec.CommandContext(t.Context(), program, "-conf", filepath.Join(dir, "Corefile")).CombinedOutput()
		if err == nil || !bytes.Contains(out, []byte(missing)) {
			t.Errorf("without %s: %v: %s", missing, err, out)
		}
		put(t, kubeconfig, westKubeconfig)
	}
	put(t, token, "secret")
	serve(t, program, dir)
	answers(t, server, "web.demo.svc.cluster.west", "SERVFAIL") // west's API is away
}

// TestOthersAreRefused: pods of other clusters get no answers for what is in no zone of the
// mesh; those of the own cluster do.
func TestOthersAreRefused(t *testing.T) {
	program := stock(t)
	for asker, want := range map[string]string{"west": "REFUSED", "east": "SERVFAIL"} { // there is nobody to ask
		dir := t.TempDir()
		ports, err := apitest.FreePorts(1)
		if err != nil {
			t.Fatal(err)
		}
		server := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), ports[0])
		clusters := pair()
		for i := range clusters {
			if clusters[i].Name == asker {
				clusters[i].Networks = prefixes("127.0.0.0/8")
			}
		}
		plan, err := Make(clusters, Options{Self: "east", Port: server.Port()})
		if err != nil {
			t.Fatal(err)
		}
		_, rest, _ := strings.Cut(plan.Corefile, "\n.:")
		rest = strings.NewReplacer("forward . /etc/resolv.conf", "forward . 127.0.0.1:1", "prometheus :9153", "", "ready", "", "health", "health 127.0.0.1:0").Replace(rest)
		put(t, filepath.Join(dir, "Corefile"), ".:"+rest)
		serve(t, program, dir)
		answers(t, server, "www.example.org", want)
	}
}

// TestPodsWaitForFiles: the pods' volume of them is not optional.
func TestPodsWaitForFiles(t *testing.T) {
	text, err := os.ReadFile("../../roles/dns/templates/dns.yml.j2")
	if err != nil {
		t.Fatal(err)
	}
	_, volume, found := bytes.Cut(text, []byte("- name: peers\n          projected:"))
	if !found || bytes.Contains(volume, []byte("optional")) || !bytes.Contains(volume, []byte("key: token")) {
		t.Errorf("the volume with the files of the members:\n%s", volume)
	}
}
