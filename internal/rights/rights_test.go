package rights

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestManifests: each program's manifest gives the rights that its package documents,
// all of them and no more.
func TestManifests(t *testing.T) {
	for template, doc := range map[string]string{
		"agent-rbac.yml.j2": "../agent/doc.go",
		"controller.yml.j2": "../controller/doc.go",
	} {
		t.Run(template, func(t *testing.T) {
			documented, err := Documented(doc)
			if err != nil {
				t.Fatal(err)
			}
			path, err := Template(template)
			if err != nil {
				t.Fatal(err)
			}
			given, err := Given(path)
			if err != nil {
				t.Fatal(err)
			}
			for _, line := range Differ(documented, given) {
				t.Error(line)
			}
		})
	}
}

func TestRead(t *testing.T) {
	write := func(content string) string {
		path := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	documented, err := Documented(write("// Package x.\n//\n//\t+kubebuilder:rbac:groups=\"\";a,resources=b,verbs=get;list\n" +
		"//\t+kubebuilder:rbac:groups=a,namespace=sdn-tunnel,resources=b,verbs=get\npackage x\n"))
	if err != nil || len(documented) != 5 {
		t.Fatalf("documented: %v, %v", documented, err)
	}
	given, err := Given(write("---\nnot: [yaml {% x %}\n---\napiVersion: v1\nkind: Role\nmetadata:\n  name: \"{{ a.b }}\"\nrules:\n" +
		"  - apiGroups: [a]\n    resources: [b]\n{% if x == 'y' %}\n    verbs: [get, delete]\n{% endif %}\n"))
	if err != nil || len(given) != 2 {
		t.Fatalf("given: %v, %v", given, err)
	}
	lines := strings.Join(Differ(documented, given), "\n")
	if strings.Count(lines, "documented, not given") != 4 || !strings.Contains(lines, `given, not documented: namespace sdn-tunnel: delete b "a"`) {
		t.Errorf("the differences:\n%s", lines)
	}
	for _, bad := range []string{"package x", "//\t+kubebuilder:rbac:groups\npackage x"} {
		if _, err := Documented(write(bad)); err == nil {
			t.Errorf("%q is understood", bad)
		}
	}
	if _, err := Given(write("---\nkind: Role\nrules:\n  - {nonResourceURLs: [/a]}\n")); err == nil {
		t.Error("a rule with URLs is understood")
	}
	named, err := Given(write("---\nkind: Role\nrules:\n  - {apiGroups: [a], resources: [b], verbs: [get], resourceNames: [\"{{ tunnel_appname }}-c\"]}\n"))
	if want := (Right{"sdn-tunnel", "a", "b", "get", "sdn-tunnel-c"}); err != nil || len(named) != 1 || named[0] != want {
		t.Errorf("a rule with a name: %v, %v", named, err)
	}
	if rules := named.rules(own); len(rules) != 1 || len(rules[0].ResourceNames) != 1 {
		t.Errorf("the name is lost: %v", rules)
	}
	elsewhere, err := Given(write("---\nkind: Role\nmetadata:\n  namespace: default\nrules:\n  - {apiGroups: [a], resources: [b], verbs: [get]}\n" +
		"---\napiVersion: v1\nkind: Role\nmetadata:\n  namespace: \"{{ tunnel_namespace }}\"\nrules:\n  - {apiGroups: [a], resources: [c], verbs: [get]}\n"))
	if err != nil || len(elsewhere) != 2 || elsewhere[0].Namespace != "default" || elsewhere[1].Namespace != own {
		t.Fatalf("rights in another namespace: %v, %v", elsewhere, err)
	}
	var where []string
	for _, o := range elsewhere.Objects("user", "mine") {
		where = append(where, o.GetNamespace())
	}
	if got := strings.Join(where, " "); got != "  default default mine mine" {
		t.Errorf("the roles are in %q", got)
	}
}
