package rights

import (
	"bytes"
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"
)

// own is the namespace of sdn-tunnel, by default.
const own = "sdn-tunnel"

// Right lets its holder do one thing with one resource.
type Right struct {
	// Namespace is where; empty: in the whole cluster.
	Namespace             string
	Group, Resource, Verb string
	Name                  string // of the one object; empty: all
}

// String is short, for messages of tests.
func (r Right) String() string {
	where := "cluster"
	if r.Namespace != "" {
		where = "namespace " + r.Namespace
	}
	if r.Name != "" {
		return fmt.Sprintf("%s: %s %s %s %q", where, r.Verb, r.Resource, r.Name, r.Group)
	}
	return fmt.Sprintf("%s: %s %s %q", where, r.Verb, r.Resource, r.Group)
}

// Set holds each right once, in order.
type Set []Right

func set(all []Right) Set {
	slices.SortFunc(all, func(a, b Right) int { return cmp.Compare(a.String(), b.String()) })
	return slices.Compact(all)
}

var marker = regexp.MustCompile(`(?m)^//\s*\+kubebuilder:rbac:(.*)$`)

// Documented reads the markers of a Go file.
func Documented(file string) (Set, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read the documented rights: %w", err)
	}
	var all []Right
	for _, found := range marker.FindAllSubmatch(content, -1) {
		fields := map[string][]string{}
		for _, field := range strings.Split(string(found[1]), ",") {
			key, value, ok := strings.Cut(field, "=")
			if !ok {
				return nil, fmt.Errorf("%s: marker %q: want key=value", file, found[1])
			}
			fields[key] = strings.Split(strings.Trim(value, `"`), ";")
		}
		all = append(all, product(strings.Join(fields["namespace"], ""), fields["groups"], fields["resources"], fields["verbs"], fields["resourceNames"])...)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%s documents no rights", file)
	}
	return set(all), nil
}

var (
	statement  = regexp.MustCompile(`(?m)^\s*{%.*%}\s*$`)
	expression = regexp.MustCompile(`{{.*?}}`)
	// appname is part of names, and has its default there.
	appname = regexp.MustCompile(`{{ tunnel_appname }}`)
	// So has the namespace.
	ownNamespace = regexp.MustCompile(`{{ tunnel_namespace }}`)
)

// Given reads the rules of all Roles and ClusterRoles in a template; what a condition
// guards is taken to be given.
func Given(template string) (Set, error) {
	content, err := os.ReadFile(template)
	if err != nil {
		return nil, fmt.Errorf("read the given rights: %w", err)
	}
	plain := appname.ReplaceAll(statement.ReplaceAll(content, nil), []byte("sdn-tunnel"))
	plain = ownNamespace.ReplaceAll(plain, []byte(own))
	plain = expression.ReplaceAll(plain, []byte("x"))
	var all []Right
	for _, document := range bytes.Split(plain, []byte("\n---\n")) {
		if !bytes.Contains(document, []byte("\nkind: Role\n")) && !bytes.Contains(document, []byte("\nkind: ClusterRole\n")) {
			continue // other documents need not be YAML before they are rendered
		}
		var role rbacv1.ClusterRole // a Role has the same rules
		if err := yaml.UnmarshalStrict(document, &role); err != nil {
			return nil, fmt.Errorf("%s: read a role: %w", template, err)
		}
		namespace := ""
		if role.Kind == "Role" {
			namespace = cmp.Or(role.Namespace, own)
		}
		for _, rule := range role.Rules {
			if len(rule.NonResourceURLs) > 0 {
				return nil, fmt.Errorf("%s: rule %v: URLs are not understood here", template, rule)
			}
			all = append(all, product(namespace, rule.APIGroups, rule.Resources, rule.Verbs, rule.ResourceNames)...)
		}
	}
	return set(all), nil
}

func product(namespace string, groups, resources, verbs, names []string) (all []Right) {
	if len(names) == 0 {
		names = []string{""}
	}
	for _, group := range groups {
		for _, resource := range resources {
			for _, verb := range verbs {
				for _, name := range names {
					all = append(all, Right{namespace, group, resource, verb, name})
				}
			}
		}
	}
	return all
}

// Differ tells what only one of the two has.
func Differ(documented, given Set) (lines []string) {
	for _, r := range documented {
		if !slices.Contains(given, r) {
			lines = append(lines, "documented, not given: "+r.String())
		}
	}
	for _, r := range given {
		if !slices.Contains(documented, r) {
			lines = append(lines, "given, not documented: "+r.String())
		}
	}
	return lines
}

// Objects give a user the rights, and no others. namespace is that of sdn-tunnel.
func (s Set) Objects(user, namespace string) []client.Object {
	ref := func(kind string) rbacv1.RoleRef {
		return rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: kind, Name: user}
	}
	subjects := []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: user}}
	global := metav1.ObjectMeta{Name: user}
	all := []client.Object{
		&rbacv1.ClusterRole{ObjectMeta: global, Rules: s.rules("")},
		&rbacv1.ClusterRoleBinding{ObjectMeta: global, RoleRef: ref("ClusterRole"), Subjects: subjects},
	}
	for _, in := range s.namespaces() {
		local := metav1.ObjectMeta{Name: user, Namespace: in}
		if in == own {
			local.Namespace = namespace
		}
		all = append(all, &rbacv1.Role{ObjectMeta: local, Rules: s.rules(in)},
			&rbacv1.RoleBinding{ObjectMeta: local, RoleRef: ref("Role"), Subjects: subjects})
	}
	return all
}

func (s Set) namespaces() (all []string) {
	for _, r := range s {
		if r.Namespace != "" && !slices.Contains(all, r.Namespace) {
			all = append(all, r.Namespace)
		}
	}
	return all
}

func (s Set) rules(namespace string) (rules []rbacv1.PolicyRule) {
	for _, r := range s {
		if r.Namespace == namespace {
			rule := rbacv1.PolicyRule{APIGroups: []string{r.Group}, Resources: []string{r.Resource}, Verbs: []string{r.Verb}}
			if r.Name != "" {
				rule.ResourceNames = []string{r.Name}
			}
			rules = append(rules, rule)
		}
	}
	return rules
}

// Template is the path of a template of role tunnel, from any directory of the tree.
func Template(name string) (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find the source tree: %w", err)
	}
	for ; dir != "/"; dir = filepath.Dir(dir) {
		path := filepath.Join(dir, "roles/tunnel/templates", name)
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("find template %s: no parent of the working directory has it in roles/tunnel/templates", name)
}
