package playbook

import (
	"os"
	osexec "os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// standIn is a module that notes how it was called, fails for one cluster, and finds the
// mesh ill.
const standIn = `#!/bin/sh
# WANT_JSON
cat "$1" >> "$STAND_IN_CALLS"; echo >> "$STAND_IN_CALLS"
case "$(cat "$1")" in
*'"state": "settled"'*) echo '{"failed": true, "msg": "a node is ill"}' ;;
*'"cluster": "east"'*) echo '{"failed": true, "msg": "east cannot go back"}' ;;
*) echo '{"changed": false, "missing": []}' ;;
esac
`

// playbooks copies the playbooks to a folder, where the modules named are stood in for.
func playbooks(t *testing.T, dir string, modules ...string) {
	t.Helper()
	from := filepath.Join("..", "..", "playbooks")
	files, err := filepath.Glob(filepath.Join(from, "*.yml"))
	if err != nil {
		t.Fatal(err)
	}
	files = append(files, filepath.Join(from, "group_vars", "all.yml"))
	for _, folder := range []string{"group_vars", "library"} {
		if err := os.Mkdir(filepath.Join(dir, folder), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		name, err := filepath.Rel(from, file)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, module := range modules {
		if err := os.WriteFile(filepath.Join(dir, "library", module), []byte(standIn), 0o700); err != nil { //nolint:gosec // it is run
			t.Fatal(err)
		}
	}
}

func upgrade(t *testing.T, dir, inventory, calls string, args ...string) ([]byte, error) {
	t.Helper()
	cmd := osexec.CommandContext(t.Context(), "ansible-playbook", append([]string{"-i", inventory, filepath.Join(dir, "upgrade.yml")}, args...)...)
	cmd.Env = append(os.Environ(), "ANSIBLE_ROLES_PATH="+filepath.Join("..", "..", "roles"), "STAND_IN_CALLS="+calls)
	return cmd.CombinedOutput()
}

// TestWhyItFailed is said also where all is not well after the way back.
func TestWhyItFailed(t *testing.T) {
	if _, err := osexec.LookPath("ansible-playbook"); err != nil {
		t.Skip("needs ansible-playbook in PATH")
	}
	dir := t.TempDir()
	inventory := filepath.Join(dir, "hosts.yml")
	playbooks(t, dir, "sdn_lock", "sdn_upgrade", "sdn_cluster_facts", "sdn_mesh_plan", "sdn_peer_access")
	failed := "{clusters: {hosts: {west: {}}}, sdn_upgrade_failures: {hosts: {sdn-upgrade-failure: {sdn_upgrade_failure: the gate was shut}}}}"
	if err := os.WriteFile(inventory, []byte(failed), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := upgrade(t, dir, inventory, filepath.Join(dir, "calls"), "--start-at-task", "Go back to what was there before")
	for _, want := range []string{"is back at what was there before: the gate was shut", "not all is well again: a node is ill"} {
		if err == nil || !strings.Contains(string(out), want) {
			t.Errorf("%v: %q is not in\n%s", err, want, out)
		}
	}
}

// TestOneThatCannotGoBack keeps none of the other clusters from it, and is named.
func TestOneThatCannotGoBack(t *testing.T) {
	if _, err := osexec.LookPath("ansible-playbook"); err != nil {
		t.Skip("needs ansible-playbook in PATH")
	}
	dir := t.TempDir()
	calls, inventory := filepath.Join(dir, "calls"), filepath.Join(dir, "hosts.yml")
	playbooks(t, dir, "sdn_lock", "sdn_upgrade", "sdn_cluster_facts", "sdn_mesh_plan", "sdn_peer_access")
	if err := os.WriteFile(inventory, []byte("{clusters: {hosts: {east: {}, north: {}, west: {}}}}"), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := upgrade(t, dir, inventory, calls, "-e", "upgrade_rollback=true")
	if err == nil || !strings.Contains(string(out), "not every cluster is back at what was there before: east cannot go back") {
		t.Errorf("%v\n%s", err, out)
	}
	made, err := os.ReadFile(calls)
	if err != nil {
		t.Fatal(err)
	}
	for _, cluster := range []string{"east", "north", "west"} {
		if !strings.Contains(string(made), `"cluster": "`+cluster+`"`) {
			t.Errorf("%s was not taken back:\n%s", cluster, out)
		}
	}
}

// TestOneReasonIsSaidOnce: what ended the upgrade may keep clusters from going back, too.
func TestOneReasonIsSaidOnce(t *testing.T) {
	if _, err := osexec.LookPath("ansible-playbook"); err != nil {
		t.Skip("needs ansible-playbook in PATH")
	}
	dir := t.TempDir()
	inventory := filepath.Join(dir, "hosts.yml")
	playbooks(t, dir, "sdn_lock", "sdn_upgrade", "sdn_cluster_facts", "sdn_mesh_plan", "sdn_peer_access")
	failed := "{clusters: {hosts: {east: {}}}, sdn_upgrade_failures: {hosts: {sdn-upgrade-failure: {sdn_upgrade_failure: east cannot go back}}}}"
	if err := os.WriteFile(inventory, []byte(failed), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := upgrade(t, dir, inventory, filepath.Join(dir, "calls"), "--start-at-task", "Go back to what was there before")
	const want = "the upgrade failed: east cannot go back; and not every cluster is back at what was there before: for the same reason"
	if err == nil || !strings.Contains(string(out), want) {
		t.Errorf("%v: %q is not in\n%s", err, want, out)
	}
}
