package inventory

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// load reads testdata/NAME with the playbooks of this repository.
func loadTestdata(t *testing.T, s Source) (Inventory, error) {
	t.Helper()
	if _, err := exec.LookPath("ansible-playbook"); err != nil {
		t.Skip("needs ansible-playbook in PATH")
	}
	t.Setenv("ANSIBLE_CONFIG", filepath.Join(write(t, map[string]string{"ansible.cfg": "[defaults]\n"}), "ansible.cfg"))
	t.Setenv("TMPDIR", t.TempDir())
	s.Playbooks = os.DirFS(filepath.Join("..", ".."))
	inv, err := Load(t.Context(), s)
	if left, globErr := filepath.Glob(filepath.Join(os.Getenv("TMPDIR"), "sdn-tunnel-*")); globErr != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, globErr)
	}
	return inv, err
}

func write(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

const groupForm = `
all:
  children:
    clusters:
      hosts:
        west:
          url: https://api.west.example.org:6443
          username: kubeadmin
          password: "{{ vault_password }}"
          ca_file: files/{{ inventory_hostname }}.crt
        east:
          kubeconfig: "{{ home }}/{{ inventory_hostname }}.kubeconfig"
          kube_context: "{{ inventory_hostname | upper }}"
          pod_cidrs: ["10.{{ 100 + 28 }}.0.0/14", "fd01::/48"]
          service_cidrs: 172.30.0.0/16
          export_policy: "{{ 'exported' if home else 'all' }}"
      vars:
        home: /srv
        base_port: 5000
        tunnel_port: "{{ base_port + 600 }}"
`

func TestLoadEvaluatesTemplates(t *testing.T) {
	dir := write(t, map[string]string{"hosts.yml": groupForm, "group_vars/all.yml": "vault_password: s3cret\nservice_type: NodePort\nservice_proxy: none\ndns_enabled: false\n"})
	inv, err := loadTestdata(t, Source{Path: dir, Vars: map[string]any{"home": "/elsewhere"}})
	if err != nil {
		t.Fatal(err)
	}
	if len(inv.Clusters) != 2 {
		t.Fatalf("clusters %v", inv.Clusters)
	}
	east, west := inv.Clusters[0].Access, inv.Clusters[1].Access
	if east.Kubeconfig != "/elsewhere/east.kubeconfig" || east.Context != "EAST" {
		t.Errorf("east: %#v, kubeconfig %q", east, east.Kubeconfig)
	}
	if got := fmt.Sprint(inv.Clusters[0].PodCIDRs, inv.Clusters[0].ServiceCIDRs); got != "[10.128.0.0/14 fd01::/48] [172.30.0.0/16]" {
		t.Errorf("networks of east: %s", got)
	}
	if got := inv.Clusters[0].ExportPolicy + "," + inv.Clusters[1].ExportPolicy; got != "exported," {
		t.Errorf("export policies: %s", got)
	}
	if got := fmt.Sprint(inv.Clusters[1].PodCIDRs, inv.Clusters[1].ServiceCIDRs); got != "[] []" {
		t.Errorf("networks of west: %s", got)
	}
	if west.Password != "s3cret" || west.CAFile != filepath.Join(dir, "files/west.crt") || west.Username != "kubeadmin" {
		t.Errorf("west: %#v, CA %q", west, west.CAFile)
	}
	if got := inv.String("tunnel_port", ""); got != "5600" {
		t.Errorf("tunnel_port %q, want 5600", got)
	}
	if inv.String("service_proxy", "") != "none" || inv.Bool("dns_enabled", true) {
		t.Errorf("service_proxy %q, dns_enabled %v", inv.Vars["service_proxy"], inv.Vars["dns_enabled"])
	}
	if got := inv.String("service_type", ""); got != "NodePort" {
		t.Errorf("service_type %q", got)
	}
}

func TestLoadListForm(t *testing.T) {
	list := `
clusters:
  - {name: east, kubeconfig: /k, context: e, pod_cidrs: [10.128.0.0/14], export_policy: exported}
  - {name: west, url: "https://w:6443", username: u, password: "{{ vault_password }}"}
vault_password: p
`
	dir := write(t, map[string]string{
		"inv/hosts.yml": "all:\n  vars:\n    tunnel_pool: 100.96.0.0/16\n", "list.yml": list, "inv2/hosts.yml": "all: {}\n", "inv2/group_vars/all.yml": list,
	})
	for name, s := range map[string]Source{
		"in a file of variables": {Path: filepath.Join(dir, "inv"), VarsFiles: []string{filepath.Join(dir, "list.yml")}},
		"in group_vars":          {Path: filepath.Join(dir, "inv2")},
	} {
		t.Run(name, func(t *testing.T) {
			inv, err := loadTestdata(t, s)
			if err != nil {
				t.Fatal(err)
			}
			if len(inv.Clusters) != 2 || inv.Clusters[0].Access.Context != "e" || len(inv.Clusters[0].PodCIDRs) != 1 || inv.Clusters[0].ExportPolicy != "exported" || inv.Clusters[1].Access.Password != "p" {
				t.Errorf("clusters %#v", inv.Clusters)
			}
		})
	}
}

func TestLoadVault(t *testing.T) {
	dir := write(t, map[string]string{"inv/hosts.yml": groupForm, "password": "open sesame\n", "inv/group_vars/all.yml": "vault_password: from-the-vault\n"})
	password := filepath.Join(dir, "password")
	encrypt := exec.Command("ansible-vault", "encrypt", "--vault-password-file", password, filepath.Join(dir, "inv/group_vars/all.yml"))
	if out, err := encrypt.CombinedOutput(); errors.Is(err, exec.ErrNotFound) {
		t.Skip("needs ansible-vault in PATH")
	} else if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	inv, err := loadTestdata(t, Source{Path: filepath.Join(dir, "inv"), VaultPasswordFile: password})
	if err != nil {
		t.Fatal(err)
	}
	if got := inv.Clusters[1].Access.Password; got != "from-the-vault" {
		t.Errorf("password %q", got)
	}
	_, err = loadTestdata(t, Source{Path: filepath.Join(dir, "inv")})
	if err == nil || !strings.Contains(err.Error(), "vault") {
		t.Errorf("without the password: %v", err)
	}
}

func TestLoadRefuses(t *testing.T) {
	group := func(hosts string) string { return "clusters:\n  hosts:\n" + hosts }
	list := func(entries string) string { return "all:\n  vars:\n    clusters:\n" + entries }
	for name, c := range map[string]struct{ hosts, want string }{
		"undefined variable":   {group("    east: {password: '{{ vault_east }}'}\n"), "cluster east: password: 'vault_east' is undefined"},
		"undefined option":     {group("    east: {tunnel_port: '{{ p }}'}\n"), "tunnel_port: 'p' is undefined"},
		"bad template":         {group("    east: {kubeconfig: '{{ x'}\n"), "cluster east: kubeconfig:"},
		"name is no label":     {group("    East_1: {}\n"), `cluster "East_1": its name must be a DNS label`},
		"mapping for a string": {group("    east: {url: {a: 1}}\n"), "cluster east: url: want a string"},
		"no address prefix":    {group("    east: {pod_cidrs: [10.128.0.0]}\n"), "cluster east: pod_cidrs: "},
		"no list of prefixes":  {group("    east: {service_cidrs: {a: 1}}\n"), "cluster east: service_cidrs: want a list"},
		"undefined network":    {group("    east: {pod_cidrs: '{{ nope }}'}\n"), "cluster east: pod_cidrs: 'nope' is undefined"},
		"no clusters":          {"all:\n  hosts:\n    node1: {}\n", "no clusters"},
		"not YAML":             {"all: [\n", "no clusters"},
		"list of strings":      {list("      - east\n"), "clusters[0]: want a mapping"},
		"list is a mapping":    {list("      east: {}\n"), "clusters: want a list"},
		"nameless":             {list("      - {url: 'https://a'}\n"), "clusters[0].name: missing"},
		"twice in the list":    {list("      - {name: a}\n      - {name: a}\n"), "cluster a: named twice"},
		"in list and group":    {list("      - {name: a}\n") + "clusters:\n  hosts:\n    a: {}\n", "cluster a: named twice"},
		"undefined in list":    {list("      - {name: a, password: '{{ nope }}'}\n"), "'nope' is undefined"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := write(t, map[string]string{"hosts.yml": c.hosts})
			_, err := loadTestdata(t, Source{Path: filepath.Join(dir, "hosts.yml")})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v\nwant %q", err, c.want)
			}
		})
	}
}

func TestLoadEndsWithItsContext(t *testing.T) {
	dir := write(t, map[string]string{"hosts.yml": "#!/bin/sh\nsleep 30\n"})
	script := filepath.Join(dir, "hosts.yml")
	if err := os.Chmod(script, 0o700); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	start := time.Now()
	_, err := Load(ctx, Source{Path: script, Playbooks: os.DirFS(filepath.Join("..", ".."))})
	if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) > 10*time.Second {
		t.Errorf("error %v after %s", err, time.Since(start))
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"values":{"kubeconfig":"~/k","password":12,"clusters":[{"name":"a"}]},"errors":{},"folder":"/x","order":["east"]}`))
	f.Add([]byte(`{"values":{"clusters":[1]},"errors":{"url":"'x' is undefined"}}`))
	f.Add([]byte(`{"values":null}`))
	f.Fuzz(func(t *testing.T, content []byte) {
		e, err := parseHost(content)
		if err != nil {
			return
		}
		if err := checkList(e); err != nil && err.Error() == "" {
			t.Error("an error without text")
		}
		inv, err := assemble(map[string]evaluated{"east": e})
		if err != nil {
			return
		}
		if len(inv.Clusters) != 1 || inv.Clusters[0].Name != "east" {
			t.Errorf("clusters %v", inv.Clusters)
		}
		if a := inv.Clusters[0].Access; strings.Contains(a.String(), a.Password) && len(a.Password) > 20 {
			t.Error("the password shows")
		}
	})
}

func TestBool(t *testing.T) {
	for value, want := range map[any]bool{true: true, "yes": true, "On": true, 1: true, false: false, "no": false, "off": false, 0: false, "x": false} {
		inv := Inventory{Vars: map[string]any{"v": value}}
		if got := inv.Bool("v", !want); got != want {
			t.Errorf("%v is %v, want %v", value, got, want)
		}
	}
	if !(Inventory{}).Bool("v", true) || (Inventory{}).Bool("v", false) {
		t.Error("a variable that is not there is not the default")
	}
}
