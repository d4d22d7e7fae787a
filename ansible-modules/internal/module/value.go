package module

import (
	"bytes"
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// value sets v from a JSON value. Templates turn numbers, booleans, lists and
// dictionaries into text, and text is turned back here.
func (d *decoder) value(path string, given any, v reflect.Value) {
	if u, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		d.text(path, given, u)
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		d.value(path, given, v.Elem())
	case reflect.Interface:
		v.Set(reflect.ValueOf(given))
	case reflect.String:
		d.str(path, given, v)
	case reflect.Bool:
		d.boolean(path, given, v)
	case reflect.Int, reflect.Int32, reflect.Int64, reflect.Uint16:
		d.integer(path, given, v)
	case reflect.Slice:
		d.list(path, given, v)
	case reflect.Map:
		d.dict(path, given, v)
	case reflect.Struct:
		if m, ok := d.object(path, given); ok {
			d.structure(path, m, v)
		}
	default:
		panic(fmt.Sprintf("%s: arguments of type %s are not known", path, v.Type()))
	}
}

func (d *decoder) text(path string, given any, u encoding.TextUnmarshaler) {
	s, ok := given.(string)
	if !ok {
		d.fail(path, "must be text, not %s", kind(given))
		return
	}
	if s == "" {
		return
	}
	if err := u.UnmarshalText([]byte(s)); err != nil {
		d.fail(path, "%v", err)
	}
}

func (d *decoder) str(path string, given any, v reflect.Value) {
	switch given := given.(type) {
	case string:
		v.SetString(given)
	case json.Number:
		v.SetString(given.String())
	case bool:
		v.SetString(strconv.FormatBool(given))
	default:
		d.fail(path, "must be text, not %s", kind(given))
	}
}

var booleans = map[string]bool{
	"true": true, "yes": true, "on": true, "1": true, "y": true, "t": true,
	"false": false, "no": false, "off": false, "0": false, "n": false, "f": false,
}

func (d *decoder) boolean(path string, given any, v reflect.Value) {
	if _, compound := given.([]any); !compound {
		if b, ok := booleans[strings.ToLower(strings.TrimSpace(fmt.Sprint(given)))]; ok {
			v.SetBool(b)
			return
		}
	}
	d.fail(path, "must be true or false, not %s", kind(given))
}

func (d *decoder) integer(path string, given any, v reflect.Value) {
	var text string
	switch given := given.(type) {
	case string:
		text = strings.TrimSpace(given)
	case json.Number:
		text = given.String()
	default:
		d.fail(path, "must be a whole number, not %s", kind(given))
		return
	}
	if v.CanUint() {
		n, err := strconv.ParseUint(text, 10, v.Type().Bits())
		if err != nil {
			d.fail(path, "must be a whole number from 0 to %d, not %q", uint64(1)<<v.Type().Bits()-1, text)
			return
		}
		v.SetUint(n)
		return
	}
	n, err := strconv.ParseInt(text, 10, v.Type().Bits())
	if err != nil {
		d.fail(path, "must be a whole number, not %q", text)
		return
	}
	v.SetInt(n)
}

var textType = reflect.TypeFor[encoding.TextUnmarshaler]()

func (d *decoder) list(path string, given any, v reflect.Value) {
	if s, ok := given.(string); ok {
		elem := v.Type().Elem()
		given = listOf(s, elem.Kind() == reflect.String || reflect.PointerTo(elem).Implements(textType))
	}
	items, ok := given.([]any)
	if !ok {
		d.fail(path, "must be a list, not %s", kind(given))
		return
	}
	out := reflect.MakeSlice(v.Type(), len(items), len(items))
	for i, item := range items {
		d.value(fmt.Sprintf("%s[%d]", path, i), item, out.Index(i))
	}
	v.Set(out)
}

// listOf reads a list that a template turned into text: JSON, or, where elements are
// text, words with commas between.
func listOf(s string, words bool) any {
	s = strings.TrimSpace(s)
	if s == "" {
		return []any{}
	}
	if list, ok := parse(s).([]any); ok {
		return list
	}
	if !words {
		return s
	}
	var list []any
	for word := range strings.SplitSeq(s, ",") {
		list = append(list, strings.TrimSpace(word))
	}
	return list
}

func (d *decoder) dict(path string, given any, v reflect.Value) {
	m, ok := d.object(path, given)
	if !ok {
		return
	}
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	out := reflect.MakeMapWithSize(v.Type(), len(m))
	for _, key := range keys {
		item := reflect.New(v.Type().Elem()).Elem()
		if m[key] != nil {
			d.value(join(path, key), m[key], item)
		}
		out.SetMapIndex(reflect.ValueOf(key).Convert(v.Type().Key()), item)
	}
	v.Set(out)
}

func (d *decoder) object(path string, given any) (map[string]any, bool) {
	if s, ok := given.(string); ok {
		if strings.TrimSpace(s) == "" {
			return nil, true
		}
		given = parse(s)
		if given == nil {
			given = s
		}
	}
	m, ok := given.(map[string]any)
	if !ok {
		d.fail(path, "must be a dictionary, not %s", kind(given))
	}
	return m, ok
}

func parse(s string) any {
	dec := json.NewDecoder(bytes.NewReader([]byte(s)))
	dec.UseNumber()
	var v any
	if dec.Decode(&v) != nil || dec.More() {
		return nil
	}
	return v
}

// kind names what was given without showing it: it may be a secret.
func kind(v any) string {
	switch v.(type) {
	case nil:
		return "nothing"
	case string:
		return "text"
	case bool:
		return "a boolean"
	case json.Number:
		return "a number"
	case []any:
		return "a list"
	}
	return "a dictionary"
}
