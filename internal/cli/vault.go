package cli

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	ucli "github.com/urfave/cli/v2"
	"golang.org/x/term"
)

const (
	vaultFileFlag = "vault-password-file"
	askVaultFlag  = "ask-vault-pass"
)

// askingVault lets a command that reads an inventory ask for the password of its vaults,
// once, before it does anything. Ansible, which has no terminal, reads it from a file of
// mode 0600 in a folder that is gone when the command ends.
func askingVault(cmd *ucli.Command, ask func(*ucli.Context) (string, error)) *ucli.Command {
	var private string
	cmd.Before = func(c *ucli.Context) (err error) {
		if !c.Bool(askVaultFlag) {
			return nil
		}
		if c.IsSet(vaultFileFlag) {
			return usage("--%s and --%s: give one of them", askVaultFlag, vaultFileFlag)
		}
		password, err := ask(c)
		if err != nil {
			return fmt.Errorf("--%s: %w", askVaultFlag, err)
		}
		if private, err = os.MkdirTemp("", "sdn-tunnel-vault-"); err != nil {
			return fmt.Errorf("make a private folder: %w", err)
		}
		file := filepath.Join(private, "password")
		if err := os.WriteFile(file, []byte(password+"\n"), 0o600); err != nil {
			return fmt.Errorf("pass the vaults' password on: %w", err)
		}
		return c.Set(vaultFileFlag, file)
	}
	cmd.After = func(*ucli.Context) error {
		if private == "" {
			return nil
		}
		return os.RemoveAll(private)
	}
	return cmd
}

// askVaultPassword asks on the terminal, without showing what is typed.
func askVaultPassword(c *ucli.Context) (string, error) {
	stdin := int(os.Stdin.Fd())
	if !term.IsTerminal(stdin) {
		return "", errors.New("there is no terminal to ask on: give --" + vaultFileFlag)
	}
	fmt.Fprint(c.App.ErrWriter, "Vault password: ")
	password, err := term.ReadPassword(stdin)
	fmt.Fprintln(c.App.ErrWriter)
	if err != nil {
		return "", err
	}
	if len(password) == 0 {
		return "", errors.New("no password was given")
	}
	return string(password), nil
}
