package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// vaultedPasswords: the list form with passwords that only the vault's opens is good for
// every command, and the passwords are in nobody's output.
func vaultedPasswords(t *testing.T, l *lab) {
	dir := t.TempDir()
	key := filepath.Join(dir, "vault-password")
	if err := os.WriteFile(key, []byte("open sesame\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	access := l.access(t)
	var list strings.Builder
	list.WriteString("all:\n  vars:\n    clusters:\n")
	for _, name := range clusters {
		c := access[name]
		out, err := exec.Command("ansible-vault", "encrypt_string", "--vault-password-file", key, c.Password).Output()
		if err != nil {
			t.Fatalf("ansible-vault: %v", err)
		}
		list.WriteString("      - name: " + name + "\n        url: " + c.OAuth + "\n        username: admin\n        ca_file: " + c.CAFile +
			"\n        password: " + strings.ReplaceAll(strings.TrimSpace(string(out)), "\n", "\n  ") + "\n")
	}
	inventory := filepath.Join(dir, "hosts.yml")
	if err := os.WriteFile(inventory, []byte(list.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	said := func(r result) {
		for name, c := range access {
			if strings.Contains(r.out+r.diag, c.Password) {
				t.Errorf("the password of %s is in the output", name)
			}
		}
	}
	// The API's address is another one than in the inventory before.
	deploy := []string{"deploy", "--verbose", "--tags", "objects,peers"}
	for i, args := range [][]string{
		{"plan"},
		deploy,
		deploy,
		{"status"},
		{"verify", "--skip-nodes"},
		{"teardown", "--check", "--verbose"},
	} {
		var r result
		from := []string{"-i", inventory, "--vault-password-file", key}
		if args[0] == "status" {
			r = l.soonWell(t, from...)
		} else {
			r = l.tunnel(t, 5*time.Minute, append(args, from...)...)
			r.must(t)
		}
		said(r)
		if i == 2 {
			changesNothing(t, r.out)
		}
	}
	closed := l.tunnel(t, time.Minute, "plan", "-i", inventory)
	said(closed)
	if closed.code == 0 || !strings.Contains(closed.out, "vault") {
		t.Errorf("plan without the vault's password: exit %d:\n%s", closed.code, closed.out)
	}
}
