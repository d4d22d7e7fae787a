// Package sidecar holds a module's documentation to its arguments: the file NAME.yml,
// which ansible-doc reads, says the same names, types, defaults, choices and nothing
// else, and declares the module's attributes. It is for tests only.
package sidecar

import (
	"fmt"
	"os"
	"reflect"
	"slices"
	"strconv"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/sdn-tunnel/sdn-tunnel/ansible-modules/internal/module"
)

// option is one documented argument.
type option struct {
	Description any               `json:"description"`
	Type        string            `json:"type"`
	Elements    string            `json:"elements"`
	Required    bool              `json:"required"`
	Default     any               `json:"default"`
	Choices     []string          `json:"choices"`
	Suboptions  map[string]option `json:"suboptions"`
}

type attribute struct {
	Support string `json:"support"`
}

type document struct {
	Documentation struct {
		Module           string               `json:"module"`
		ShortDescription string               `json:"short_description"`
		Attributes       map[string]attribute `json:"attributes"`
		Options          map[string]option    `json:"options"`
	} `json:"DOCUMENTATION"`
	Examples any            `json:"EXAMPLES"`
	Return   map[string]any `json:"RETURN"`
}

// Check compares NAME.yml in the test's folder with the arguments of type A.
func Check[A any](t *testing.T, name string) {
	t.Helper()
	raw, err := os.ReadFile(name + ".yml")
	if err != nil {
		t.Fatal(err)
	}
	var doc document
	if err := yaml.Unmarshal(raw, &doc); err != nil {
		t.Fatalf("%s.yml: %v", name, err)
	}
	d := doc.Documentation
	if d.Module != name || d.ShortDescription == "" {
		t.Errorf("module is %q, short_description %q", d.Module, d.ShortDescription)
	}
	for _, a := range []string{"check_mode", "diff_mode", "idempotent"} {
		if s := d.Attributes[a].Support; !slices.Contains([]string{"full", "partial", "none", "N/A"}, s) {
			t.Errorf("attributes.%s.support is %q", a, s)
		}
	}
	if doc.Examples == nil || len(doc.Return) == 0 {
		t.Error("EXAMPLES or RETURN is missing")
	}
	for _, problem := range compare("options", reflect.TypeFor[A](), d.Options) {
		t.Error(problem)
	}
}

// compare lists what differs between a struct's arguments and documented options.
func compare(path string, args reflect.Type, options map[string]option) []string {
	var problems []string
	fail := func(name, format string, a ...any) {
		problems = append(problems, path+"."+name+": "+fmt.Sprintf(format, a...))
	}
	known := map[string]bool{}
	for _, f := range module.Fields(args) {
		known[f.Name] = true
		o, ok := options[f.Name]
		if !ok {
			fail(f.Name, "not documented")
			continue
		}
		kind, elements, inner := kindOf(f.Type)
		if o.Description == nil {
			fail(f.Name, "no description")
		}
		if !fits(o.Type, kind) || !fits(o.Elements, elements) {
			fail(f.Name, "type %s of %q is documented as %s of %q", kind, elements, o.Type, o.Elements)
		}
		if o.Required != f.Required {
			fail(f.Name, "required is %v, documented %v", f.Required, o.Required)
		}
		if documented := text(o.Default); documented != f.Default {
			fail(f.Name, "default is %q, documented %q", f.Default, documented)
		}
		if !slices.Equal(o.Choices, f.Choices) {
			fail(f.Name, "choices are %v, documented %v", f.Choices, o.Choices)
		}
		if inner != nil && (o.Suboptions != nil || kind == "list") {
			problems = append(problems, compare(path+"."+f.Name, inner, o.Suboptions)...)
		}
	}
	for name := range options {
		if !known[name] {
			fail(name, "documented, but no argument")
		}
	}
	slices.Sort(problems)
	return problems
}

// fits tells whether a type may be documented so: of what the module takes as it comes,
// the documentation may say more.
func fits(documented, kind string) bool {
	return documented == kind || kind == "raw" && documented == "dict"
}

func text(v any) string {
	if v == nil {
		return ""
	}
	if n, ok := v.(float64); ok {
		return strconv.FormatFloat(n, 'f', -1, 64)
	}
	return fmt.Sprint(v)
}

// kindOf is Ansible's name of a type, that of its elements, and the struct inside.
func kindOf(t reflect.Type) (kind, elements string, inner reflect.Type) {
	if t.Kind() == reflect.Slice {
		e, _, inner := kindOf(t.Elem())
		return "list", e, inner
	}
	switch {
	case reflect.PointerTo(t).Implements(reflect.TypeFor[interface{ UnmarshalText([]byte) error }]()):
		return "str", "", nil
	case t.Kind() == reflect.Struct:
		return "dict", "", t
	case t.Kind() == reflect.Map:
		return "dict", "", nil
	case t.Kind() == reflect.Interface:
		return "raw", "", nil
	case t.Kind() == reflect.Bool:
		return "bool", "", nil
	case t.Kind() == reflect.String:
		return "str", "", nil
	}
	return "int", "", nil
}
