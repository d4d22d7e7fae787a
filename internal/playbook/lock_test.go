package playbook

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// changes is what writes to a cluster, or brings in what does; locks is what takes the lock.
var (
	changes = regexp.MustCompile(`(?m)^\s+(sdn_apply|sdn_peer_access|sdn_node_services|sdn_upgrade|ansible\.builtin\.include_role):`)
	locks   = regexp.MustCompile(`(?m)^\s+(sdn_lock:|ansible\.builtin\.import_playbook: lock\.yml)`)
)

// TestRunsThatChangeAreAlone: what changes clusters takes their lock before.
func TestRunsThatChangeAreAlone(t *testing.T) {
	for _, name := range []string{"deploy", "upgrade", "teardown", "forget"} {
		text, err := os.ReadFile(filepath.Join("..", "..", "playbooks", name+".yml"))
		if err != nil {
			t.Fatal(err)
		}
		lock, change := locks.FindIndex(text), changes.FindIndex(text)
		if change == nil {
			t.Fatalf("%s changes nothing that this test knows of", name)
		}
		if lock == nil || lock[0] > change[0] {
			t.Errorf("%s changes clusters and does not lock them before", name)
		}
		if verb := "verb: " + name; !strings.Contains(string(text), verb) {
			t.Errorf("%s: others that wait for it are not told %q", name, verb)
		}
	}
}
