package module

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/sdn-tunnel/sdn-tunnel/internal/spelling"
)

// Field is one argument of a struct type, as its tags say:
//
//	arg:"name"            the argument's name; fields without are not arguments
//	arg:"name,required"   it must be given
//	default:"x"           its value if it is not given, in the same text as from a template
//	choices:"a,b"         all that it may be
//
// Embedded structs add their arguments to those of the outer one.
type Field struct {
	Name     string
	Required bool
	Default  string
	Choices  []string
	Type     reflect.Type
	index    []int
}

// Fields lists the arguments of struct type t.
func Fields(t reflect.Type) []Field {
	var fields []Field
	for _, f := range reflect.VisibleFields(t) {
		tag, ok := f.Tag.Lookup("arg")
		if !ok {
			continue
		}
		name, option, _ := strings.Cut(tag, ",")
		field := Field{Name: name, Required: option == "required", Default: f.Tag.Get("default"), Type: f.Type, index: f.Index}
		if c := f.Tag.Get("choices"); c != "" {
			field.Choices = strings.Split(c, ",")
		}
		fields = append(fields, field)
	}
	return fields
}

// Decode reads a call's arguments into args, a pointer to a struct. It finds every
// problem, not only the first.
func Decode(raw []byte, args any) (Call, error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var given map[string]any
	if err := dec.Decode(&given); err != nil {
		return Call{}, fmt.Errorf("the module's arguments are no JSON object: %w", err)
	}
	call := Call{
		Check: given["_ansible_check_mode"] == true,
		Diff:  given["_ansible_diff"] == true,
	}
	if n, ok := given["_ansible_verbosity"].(json.Number); ok {
		v, _ := n.Int64()
		call.Verbosity = int(v)
	}
	for key := range given {
		if strings.HasPrefix(key, "_ansible_") {
			delete(given, key)
		}
	}
	d := decoder{}
	d.structure("", given, reflect.ValueOf(args).Elem())
	if len(d.problems) > 0 {
		return call, errors.Join(d.problems...)
	}
	if v, ok := args.(Validator); ok {
		return call, v.Validate()
	}
	return call, nil
}

type decoder struct{ problems []error }

func (d *decoder) fail(path, format string, a ...any) {
	d.problems = append(d.problems, fmt.Errorf("%s: "+format, append([]any{path}, a...)...))
}

// structure fills struct v from given, and refuses what it does not know.
func (d *decoder) structure(path string, given map[string]any, v reflect.Value) {
	fields := Fields(v.Type())
	known := make([]string, 0, len(fields))
	for _, f := range fields {
		known = append(known, f.Name)
		d.field(join(path, f.Name), f, given[f.Name], v.FieldByIndex(f.index))
	}
	unknown := make([]string, 0, len(given))
	for key := range given {
		if !slices.Contains(known, key) {
			unknown = append(unknown, key)
		}
	}
	slices.Sort(unknown)
	for _, key := range unknown {
		if near := spelling.Nearest(key, known); near != "" {
			d.fail(join(path, key), "unknown argument; did you mean %s?", near)
			continue
		}
		d.fail(join(path, key), "unknown argument; known are %s", strings.Join(known, ", "))
	}
}

func (d *decoder) field(path string, f Field, given any, v reflect.Value) {
	if given == nil {
		if f.Required {
			d.fail(path, "must be given")
			return
		}
		if f.Default == "" {
			return
		}
		given = f.Default
	}
	if f.Required && given == "" {
		d.fail(path, "must not be empty")
		return
	}
	before := len(d.problems)
	d.value(path, given, v)
	if len(f.Choices) == 0 || len(d.problems) > before {
		return
	}
	if got := fmt.Sprint(v.Interface()); !slices.Contains(f.Choices, got) && (got != "" || f.Required) {
		d.fail(path, "is %q; it must be one of %s", got, strings.Join(f.Choices, ", "))
	}
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}
