package e2e

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"text/template"
)

// TestWireGuardRole runs the play that puts WireGuard into the kernels of nodes on a
// Debian tree, this machine's own under an overlay, and teardown's play after it. The
// kernel has no module there until a package of a repository of the test's brings it.
func TestWireGuardRole(t *testing.T) {
	if os.Getenv("SDN_TUNNEL_LAB_TESTS") == "" {
		t.Skip("a node's tree is changed with SDN_TUNNEL_LAB_TESTS=1 (make test-lab)")
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root: mounts an overlay and changes its root")
	}
	if _, err := os.Stat("/etc/debian_version"); err != nil {
		t.Skip("needs Debian: the tree is this machine's own")
	}
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	writeRepository(t, filepath.Join(dir, "module"), true)
	writeRepository(t, filepath.Join(dir, "tools"), false)
	writeText(t, filepath.Join(dir, "hosts.yml"), `
clusters: {hosts: {east: {ansible_connection: local}}}
east_nodes:
  vars: {ansible_connection: community.general.chroot, ansible_become: false, ansible_python_interpreter: /usr/bin/python3}
  hosts: {node: {ansible_host: `+filepath.Join(dir, "tree")+`}}
`)
	var script bytes.Buffer
	err = template.Must(template.ParseFiles("testdata/wireguard.sh")).Execute(&script, map[string]string{"Dir": dir, "Root": root})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("unshare", "--mount", "--propagation", "private", "bash", "-euo", "pipefail", "-c", script.String())
	cmd.Env = append(os.Environ(), "ANSIBLE_NOCOLOR=1", "ANSIBLE_CONFIG="+filepath.Join(root, "ansible.cfg"))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, tail(string(out), 60))
	}
	const file, packed = "/etc/modules-load.d/sdn-tunnel.conf", "/etc/wireguard-test"
	for _, c := range []struct {
		step, recap string
		changes     []string // of the tree, against the step before
		said        string
	}{
		{step: "check", recap: "changed=1"},
		{step: "first", recap: "changed=2", changes: []string{"+" + file, "+" + packed}},
		{step: "second", recap: "changed=0"},
		{step: "teardown-check", recap: "changed=1"},
		{step: "teardown", recap: "changed=1", changes: []string{"-" + file}},
		{step: "teardown-again", recap: "changed=0"},
		{step: "foreign", recap: "changed=0"},
		{step: "never", recap: "failed=1", changes: []string{"+" + packed}, said: "has no WireGuard"},
		{step: "allowed", recap: "failed=0", said: "in userspace"},
	} {
		t.Run(c.step, func(t *testing.T) {
			text := readText(t, filepath.Join(dir, c.step+".out"))
			if got := cmp.Or(linesWith(linesWith(text, "node "), "ok="), "(no recap)"); !strings.Contains(got, c.recap) || !strings.Contains(text, c.said) {
				t.Errorf("recap %s, want %s, and %q said:\n%s", got, c.recap, c.said, tail(text, 60))
			}
			var changes []string
			for line := range strings.Lines(readText(t, filepath.Join(dir, c.step+".diff"))) {
				changes = append(changes, strings.TrimSpace(line))
			}
			if got, want := strings.Join(changes, " "), strings.Join(c.changes, " "); got != want {
				t.Errorf("changed in the tree: %s, want %s:\n%s", got, want, tail(text, 60))
			}
		})
	}
}

// writeRepository makes a package repository with a package "wireguard". With the module it
// is one as far as modprobe can tell: the kernel says that it is built in.
func writeRepository(t *testing.T, dir string, module bool) {
	t.Helper()
	kernel, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	control := "Package: wireguard\nVersion: 99\nArchitecture: all\nMaintainer: nobody <nobody@example.com>\nDescription: a kernel's module\n"
	pkg := t.TempDir()
	writeText(t, filepath.Join(pkg, "DEBIAN", "control"), control)
	writeText(t, filepath.Join(pkg, "etc", "wireguard-test"), "installed\n")
	if module {
		writeModule(t, pkg, strings.TrimSpace(string(kernel)))
	}
	build(t, "dpkg-deb", "--root-owner-group", "-b", pkg, filepath.Join(dir, "wireguard.deb"))
	deb := readText(t, filepath.Join(dir, "wireguard.deb"))
	sum := sha256.Sum256([]byte(deb))
	writeText(t, filepath.Join(dir, "Packages"), fmt.Sprintf("%sFilename: ./wireguard.deb\nSize: %d\nSHA256: %s\n", control, len(deb), hex.EncodeToString(sum[:])))
}

func writeModule(t *testing.T, pkg, kernel string) {
	t.Helper()
	modules := filepath.Join(pkg, "lib", "modules", kernel)
	writeText(t, filepath.Join(modules, "modules.builtin"), "kernel/drivers/net/wireguard/wireguard.ko\n")
	writeText(t, filepath.Join(modules, "modules.order"), "")
	writeText(t, filepath.Join(modules, "modules.builtin.modinfo"), "wireguard.license=GPL v2\x00")
	build(t, "depmod", "-b", pkg, kernel)
}

func build(t *testing.T, program string, args ...string) {
	t.Helper()
	if out, err := exec.Command(program, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %v: %v\n%s", program, args, err, out)
	}
}

func writeText(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func readText(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
