package inventory

import (
	"bytes"
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

//go:embed read
var reader embed.FS

// Limits of a run of Ansible: vault clients and inventory scripts may take their time.
const (
	loadTimeout = time.Minute
	killDelay   = 5 * time.Second
)

// localhost is the host that the list of clusters is evaluated on.
const localhost = "localhost"

// Load reads the inventory.
func Load(ctx context.Context, s Source) (Inventory, error) {
	inv, err := load(ctx, s)
	if err != nil {
		return Inventory{}, fmt.Errorf("inventory %s: %w", s.Path, err)
	}
	return inv, nil
}

func load(ctx context.Context, s Source) (inv Inventory, err error) {
	private, err := os.MkdirTemp("", "sdn-tunnel-inventory-")
	if err != nil {
		return inv, fmt.Errorf("make a private folder: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(private)) }()
	if err := s.prepare(private); err != nil {
		return inv, err
	}
	said, runErr := s.run(ctx, private)
	if errors.Is(runErr, exec.ErrNotFound) {
		return inv, errors.New("ansible-playbook is not installed: install ansible-core 2.14 or later")
	}
	hosts, err := readHosts(filepath.Join(private, "out"))
	if err != nil {
		return inv, err
	}
	// What is wrong with the list is said better here than by the task that takes it.
	if err := checkList(hosts[localhost]); err != nil {
		return inv, err
	}
	named := len(hosts[localhost].Order) > 0 || hosts[localhost].Values["clusters"] != nil
	if _, began := hosts[localhost]; runErr != nil && (named || !began) {
		return inv, fmt.Errorf("ansible-playbook: %w: %s", runErr, said)
	}
	if !slices.Contains(hosts[localhost].Order, localhost) {
		delete(hosts, localhost)
	}
	if inv, err = assemble(hosts); err != nil && len(hosts) == 0 && said != "" {
		err = fmt.Errorf("%w; Ansible says: %s", err, said)
	}
	return inv, err
}

// prepare fills the private folder with the playbook and what it needs.
func (s Source) prepare(private string) error {
	own, err := fs.Sub(reader, "read")
	if err != nil {
		return err
	}
	playbooks, err := fs.Sub(s.Playbooks, "playbooks")
	if err != nil {
		return err
	}
	for _, copied := range []struct {
		from fs.FS
		path string
	}{{own, "."}, {playbooks, "members.yml"}, {playbooks, "group_vars"}} {
		if err := copyTree(copied.from, copied.path, private); err != nil {
			return fmt.Errorf("prepare the playbook that reads it: %w", err)
		}
	}
	if err := os.Mkdir(filepath.Join(private, "out"), 0o700); err != nil {
		return err
	}
	vars := map[string]any{}
	maps.Copy(vars, s.Vars)
	vars["sdn_evaluate"] = slices.Concat(accessVariables, networkVariables, []string{policyVariable}, optionVariables)
	content, err := json.Marshal(vars)
	if err != nil {
		return fmt.Errorf("write the variables: %w", err)
	}
	return os.WriteFile(filepath.Join(private, "vars.json"), content, 0o600)
}

func copyTree(from fs.FS, root, to string) error {
	return fs.WalkDir(from, root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		target := filepath.Join(to, filepath.FromSlash(path))
		if d.IsDir() {
			return os.MkdirAll(target, 0o700)
		}
		content, err := fs.ReadFile(from, path)
		if err != nil {
			return err
		}
		return os.WriteFile(target, content, 0o600)
	})
}

// run runs the playbook. It returns what Ansible complained of.
func (s Source) run(ctx context.Context, private string) (said string, err error) {
	ctx, cancel := context.WithTimeout(ctx, loadTimeout)
	defer cancel()
	args := []string{"--inventory", s.Path}
	if s.VaultPasswordFile != "" {
		args = append(args, "--vault-password-file", s.VaultPasswordFile)
	}
	for _, f := range append(slices.Clone(s.VarsFiles), filepath.Join(private, "vars.json")) {
		args = append(args, "--extra-vars", "@"+f)
	}
	cmd := exec.CommandContext(ctx, "ansible-playbook", append(args, filepath.Join(private, "read.yml"))...)
	cmd.Env = append(os.Environ(), "ANSIBLE_NOCOLOR=1", "ANSIBLE_FORCE_COLOR=0", "ANSIBLE_VERBOSITY=0",
		"ANSIBLE_STDOUT_CALLBACK=default", "ANSIBLE_STRATEGY=linear", "ANSIBLE_RETRY_FILES_ENABLED=0",
		"ANSIBLE_LOCALHOST_WARNING=0", "ANSIBLE_DEPRECATION_WARNINGS=0")
	// A session of its own: nothing asks the terminal, and a cancel reaches children.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = killDelay
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err = cmd.Run(); ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return complaints(stderr.String(), stdout.String()), err
}

// complaints are Ansible's warnings and errors, and why tasks failed.
func complaints(stderr, stdout string) string {
	lines := []string{strings.TrimSpace(stderr)}
	for line := range strings.Lines(stdout) {
		if strings.HasPrefix(line, "fatal:") {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return strings.TrimSpace(strings.Join(lines, "\n"))
}

func readHosts(folder string) (map[string]evaluated, error) {
	files, err := filepath.Glob(filepath.Join(folder, "*.json"))
	if err != nil {
		return nil, err
	}
	hosts := map[string]evaluated{}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("read the evaluated variables: %w", err)
		}
		name := strings.TrimSuffix(filepath.Base(file), ".json")
		if hosts[name], err = parseHost(content); err != nil {
			return nil, err
		}
	}
	return hosts, nil
}
