package tunnelns

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

func sh(t *testing.T, format string, args ...any) string {
	t.Helper()
	out, err := exec.Command("sh", "-c", fmt.Sprintf(format, args...)).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", fmt.Sprintf(format, args...), err, out)
	}
	return string(out)
}

func name(n Namespace) string { return filepath.Base(n.path) }

// unnamed is a namespace's place that no other run has; nothing is there yet.
func unnamed(t *testing.T, suffix string) Namespace {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: makes network namespaces")
	}
	return At(fmt.Sprintf("/run/netns/sdntest-%dn%s", os.Getpid(), suffix))
}

func newNamespace(t *testing.T, suffix string) Namespace {
	t.Helper()
	n := unnamed(t, suffix)
	sh(t, "ip netns add %s", name(n))
	t.Cleanup(func() { sh(t, "ip netns del %s", name(n)) })
	sh(t, "ip -n %s link set lo up", name(n))
	return n
}
