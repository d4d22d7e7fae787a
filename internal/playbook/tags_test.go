package playbook

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	sdntunnel "github.com/sdn-tunnel/sdn-tunnel"
)

// TestTagsAreAnsibles: what is read from the playbooks is what Ansible finds in them.
func TestTagsAreAnsibles(t *testing.T) {
	if _, err := exec.LookPath("ansible-playbook"); err != nil {
		t.Skip("needs ansible-playbook in PATH")
	}
	args := []string{"-i", "localhost,", "--list-tags"}
	for _, name := range []string{"deploy", "upgrade", "teardown", "forget"} {
		args = append(args, filepath.Join("playbooks", name+".yml"))
	}
	cmd := exec.CommandContext(t.Context(), "ansible-playbook", args...)
	cmd.Dir = filepath.Join("..", "..")
	cmd.Env = append(cmd.Environ(), "ANSIBLE_LIBRARY="+emptyModules(t))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	books := regexp.MustCompile(`(?m)^playbook: playbooks/(.*)\.yml$`).FindAllSubmatchIndex(out, -1)
	if len(books) != 4 {
		t.Fatalf("%d playbooks:\n%s", len(books), out)
	}
	for i, b := range books {
		end := len(out)
		if i+1 < len(books) {
			end = books[i+1][0]
		}
		name := string(out[b[2]:b[3]])
		got, err := Tags(sdntunnel.Files(), name)
		if want := listed(out[b[1]:end]); err != nil || len(want) == 0 || !slices.Equal(got, want) {
			t.Errorf("%s: %q, %v; Ansible has %q", name, got, err, want)
		}
	}
}

// listed are the tags in what Ansible prints of a playbook.
func listed(out []byte) (tags []string) {
	for _, m := range regexp.MustCompile(`TAGS: \[(.*)\]`).FindAllSubmatch(out, -1) {
		for tag := range bytes.SplitSeq(m[1], []byte(", ")) {
			if s := string(tag); s != "" && s != "always" {
				tags = append(tags, s)
			}
		}
	}
	slices.Sort(tags)
	return slices.Compact(tags)
}

// emptyModules are by the names of those that the playbooks use: to list tags, Ansible wants to
// know where they are, and does not run them.
func emptyModules(t *testing.T) string {
	t.Helper()
	library := t.TempDir()
	modules, err := filepath.Glob(filepath.Join("..", "..", "ansible-modules", "sdn_*"))
	if err != nil || len(modules) == 0 {
		t.Fatalf("no modules: %v", err)
	}
	for _, m := range modules {
		if err := os.WriteFile(filepath.Join(library, filepath.Base(m)), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return library
}

func TestCheckTags(t *testing.T) {
	files := fstest.MapFS{
		"playbooks/deploy.yml": {Data: []byte(`
- {name: Members, ansible.builtin.import_playbook: members.yml}
- {hosts: all, tags: objects, tasks: [{block: [{debug:, tags: [peers, always]}], rescue: [{debug:, tags: "a,b"}]}]}
`)},
		"playbooks/members.yml": {Data: []byte("- {hosts: all, tags: [always, dns]}")},
		"playbooks/broken.yml":  {Data: []byte("- {hosts: ")},
	}
	for _, tt := range []struct{ playbook, tags, want string }{
		{"deploy", "", ""},
		{"deploy", "objects", ""},
		{"deploy", "dns, peers,b", ""},
		{"deploy", "all", ""},
		{"deploy", "foo", `--tags foo: deploy has no tag "foo"; it has a, b, dns, objects, peers`},
		{"deploy", "dns,foo", `--tags dns,foo: deploy has no tag "foo"; it has`},
		{"deploy", "dns,", `deploy has no tag ""`},
		{"deploy", "always", `deploy has no tag "always"`},
		{"broken", "a", "playbook playbooks/broken.yml"},
		{"nosuch", "a", "nosuch.yml"},
	} {
		err := CheckTags(files, tt.playbook, tt.tags)
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s --tags %q: %v, want %q", tt.playbook, tt.tags, err, tt.want)
		}
	}
}
