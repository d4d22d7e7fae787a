package playbook

import (
	"fmt"
	"os"
	osexec "os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestZeroIsAValue: of variables that may be 0 the role does not take it for one that is
// not set.
func TestZeroIsAValue(t *testing.T) {
	if _, err := osexec.LookPath("ansible-playbook"); err != nil {
		t.Skip("needs ansible-playbook in PATH")
	}
	defaults, err := filepath.Abs(filepath.Join("..", "..", "roles", "tunnel", "defaults", "main.yml"))
	if err != nil {
		t.Fatal(err)
	}
	play := filepath.Join(t.TempDir(), "play.yml")
	text := fmt.Sprintf(`
- hosts: localhost
  connection: local
  gather_facts: false
  vars_files: [%q]
  tasks:
    - ansible.builtin.debug: {msg: "peers {{ tunnel_agent_peer_metrics }};"}
`, defaults)
	if err := os.WriteFile(play, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for given, want := range map[string]string{`{"agent_peer_metrics": 0}`: "peers 0;", `{"agent_peer_metrics": 7}`: "peers 7;", `{"agent_peer_metrics": ""}`: "peers 200;", `{}`: "peers 200;"} {
		out, err := osexec.CommandContext(t.Context(), "ansible-playbook", "-i", "localhost,", "-e", given, play).CombinedOutput()
		if err != nil || !strings.Contains(string(out), want) {
			t.Errorf("%s: want %q: %v\n%s", given, want, err, out)
		}
	}
}
