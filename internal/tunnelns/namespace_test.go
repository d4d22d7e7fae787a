package tunnelns

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/sdn-tunnel/sdn-tunnel/internal/nettest"
)

func name(n Namespace) string { return filepath.Base(n.path) }

// unnamed is a namespace's place that no other run has; nothing is there yet.
func unnamed(t testing.TB, suffix string) Namespace {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: makes network namespaces")
	}
	return At(fmt.Sprintf("/run/netns/sdntest-%dn%s", os.Getpid(), suffix))
}

func newNamespace(t testing.TB, suffix string) Namespace {
	t.Helper()
	n := unnamed(t, suffix)
	nettest.Sh(t, "ip netns add %s", name(n))
	t.Cleanup(func() { nettest.Sh(t, "ip netns del %s", name(n)) })
	nettest.Sh(t, "ip -n %s link set lo up", name(n))
	return n
}
