// Package kerneltest marks tests that need parts of the kernel that a machine may lack:
// WireGuard, the datapath of Open vSwitch, IPVS. `make test-kernel` finds the packages
// whose tests import it and runs those tests where the kernel has all of it, in a guest if
// need be (packages kernelsuite and guest); elsewhere they say that they are skipped.
package kerneltest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// What kernelsuite says to the tests that it runs.
const (
	// Variable is set where the kernel is expected to have everything.
	Variable = "SDN_TUNNEL_KERNEL_TESTS"
	// ArtifactsVariable is the folder for files that are to be kept.
	ArtifactsVariable = "SDN_TUNNEL_ARTIFACTS"
	// KubeRouterVariable is the path of kube-router, for packages whose tests import
	// package kuberouter.
	KubeRouterVariable = "SDN_TUNNEL_KUBE_ROUTER"
	// LongVariable is set where tests that take minutes run, too.
	LongVariable = "SDN_TUNNEL_KERNEL_LONG"
	// GuestVariable is set where the machine is a guest that is thrown away afterwards.
	GuestVariable = "SDN_TUNNEL_KERNEL_GUEST"
	// Prefix begins the names of these tests, so that nothing else of their packages
	// is run a second time, on a slow machine.
	Prefix = "TestKernel"
	// BenchPrefix begins those of benchmarks.
	BenchPrefix = "BenchmarkKernel"
)

// Modules are all that tests may ask for.
var Modules = []string{"wireguard", "openvswitch", "vport_vxlan", "ip_vs", "sch_netem", "sctp"}

// Need loads the kernel modules that the test needs. Outside of `make test-kernel` and
// `make bench` it skips the test; inside, a module that is missing fails it.
func Need(t testing.TB, modules ...string) {
	t.Helper()
	if !strings.HasPrefix(t.Name(), Prefix) && !strings.HasPrefix(t.Name(), BenchPrefix) {
		t.Fatalf("%s needs the kernel's %s, so its name must begin with %s or %s, or it is never run where they are", t.Name(), strings.Join(modules, ", "), Prefix, BenchPrefix)
	}
	if os.Getenv(Variable) == "" {
		t.Skipf("needs the kernel's %s: make test-kernel runs it", strings.Join(modules, ", "))
	}
	for _, m := range modules {
		if out, err := exec.Command("modprobe", m).CombinedOutput(); err != nil {
			t.Fatalf("load kernel module %s: %v: %s", m, err, out)
		}
	}
}

// KubeRouter is the path of kube-router, for a test that has called Need.
func KubeRouter(t *testing.T) string {
	t.Helper()
	path := os.Getenv(KubeRouterVariable)
	if path == "" {
		t.Fatalf("%s is not set: make test-kernel builds kube-router and says where it is", KubeRouterVariable)
	}
	return path
}

// Long skips a test that takes minutes, unless it was asked for such.
func Long(t *testing.T) {
	t.Helper()
	if os.Getenv(LongVariable) == "" {
		t.Skip("takes minutes: sdn-tunnel lab kernel --long runs it, as make bench does")
	}
}

// Guest skips a test that does to the whole machine what only a guest may suffer.
func Guest(t *testing.T) {
	t.Helper()
	if os.Getenv(GuestVariable) == "" {
		t.Skip("changes the whole machine: sdn-tunnel lab kernel --in guest runs it in a guest")
	}
}

// Artifacts is a folder for files of the test that are to be kept, such as logs of one that
// failed; empty if nobody wants any.
func Artifacts(t testing.TB) string {
	t.Helper()
	parent := os.Getenv(ArtifactsVariable)
	if parent == "" {
		return ""
	}
	dir := filepath.Join(parent, strings.ReplaceAll(t.Name(), "/", "_"))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}
