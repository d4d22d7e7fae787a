package cli

import (
	"io"
	"os"
	"strings"
	"testing"

	ucli "github.com/urfave/cli/v2"
)

// TestAskVault: the password that is asked for goes into a file that only its owner reads
// and that is gone in the end.
func TestAskVault(t *testing.T) {
	asked, file, content := 0, "", ""
	app := &ucli.App{Writer: io.Discard, ErrWriter: io.Discard, ExitErrHandler: func(*ucli.Context, error) {},
		Commands: []*ucli.Command{askingVault(&ucli.Command{
			Name: "see", Flags: inventoryFlags(),
			Action: func(c *ucli.Context) error {
				s, err := source(c)
				if err != nil || s.VaultPasswordFile == "" {
					return err
				}
				file = s.VaultPasswordFile
				st, err := os.Stat(file)
				if err != nil {
					return err
				}
				if st.Mode().Perm() != 0o600 {
					t.Errorf("mode %v", st.Mode())
				}
				b, err := os.ReadFile(file)
				content = string(b)
				return err
			},
		}, func(*ucli.Context) (string, error) { asked++; return "open sesame", nil })}}
	inv := hosts(t)
	if err := app.Run([]string{"x", "see", "-i", inv}); err != nil || asked != 0 || file != "" {
		t.Fatalf("without the flag: asked %d times, file %q, %v", asked, file, err)
	}
	if err := app.Run([]string{"x", "see", "-i", inv, "--ask-vault-pass"}); err != nil || asked != 1 || content != "open sesame\n" {
		t.Fatalf("asked %d times, file holds %q, %v", asked, content, err)
	}
	if _, err := os.Stat(file); !os.IsNotExist(err) {
		t.Errorf("%s is still there: %v", file, err)
	}
	err := app.Run([]string{"x", "see", "-i", inv, "--ask-vault-pass", "--vault-password-file", "/f"})
	if err == nil || !strings.Contains(err.Error(), "one of them") {
		t.Errorf("both flags: %v", err)
	}
}

// TestAskVaultWithoutTerminal: every command that reads an inventory has the flag, and
// says what to do where nobody can be asked.
func TestAskVaultWithoutTerminal(t *testing.T) {
	old := os.Stdin
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	os.Stdin = null
	t.Cleanup(func() { os.Stdin = old; _ = null.Close() })
	for _, cmd := range []string{"plan", "deploy", "verify", "status", "teardown"} {
		_, err := run(t, cmd, "-i", hosts(t), "--ask-vault-pass")
		if err == nil || !strings.Contains(err.Error(), "--vault-password-file") {
			t.Errorf("%s: %v, want the remedy", cmd, err)
		}
	}
}
