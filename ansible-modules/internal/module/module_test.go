package module

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

type inner struct {
	Name string `arg:"name,required"`
	Port uint16 `arg:"port" default:"5555"`
}

type connection struct {
	Password Secret `arg:"password"`
}

type sample struct {
	connection
	State  string            `arg:"state" default:"present" choices:"present,absent"`
	Wait   bool              `arg:"wait" default:"true"`
	Count  int               `arg:"count"`
	Words  []string          `arg:"words"`
	Items  []inner           `arg:"items"`
	Labels map[string]string `arg:"labels"`
	Pool   netip.Prefix      `arg:"pool"`
	Pools  []netip.Prefix    `arg:"pools"`
	Any    any               `arg:"any"`
}

func TestDecode(t *testing.T) {
	defaults := sample{State: "present", Wait: true}
	with := func(f func(*sample)) sample { s := defaults; f(&s); return s }
	for name, tc := range map[string]struct {
		in   string
		want sample
		err  string
	}{
		"defaults":          {in: `{}`, want: defaults},
		"null is not given": {in: `{"state":null,"wait":null}`, want: defaults},
		"number as text":    {in: `{"count":"1421"}`, want: with(func(s *sample) { s.Count = 1421 })},
		"boolean as text":   {in: `{"wait":"no"}`, want: with(func(s *sample) { s.Wait = false })},
		"text as number":    {in: `{"labels":{"a":1}}`, want: with(func(s *sample) { s.Labels = map[string]string{"a": "1"} })},
		"words with commas": {in: `{"words":"a, b"}`, want: with(func(s *sample) { s.Words = []string{"a", "b"} })},
		"list as text":      {in: `{"items":"[{\"name\":\"x\"}]"}`, want: with(func(s *sample) { s.Items = []inner{{"x", 5555}} })},
		"text unmarshaler":  {in: `{"pool":"100.127.0.0/16"}`, want: with(func(s *sample) { s.Pool = netip.MustParsePrefix("100.127.0.0/16") })},
		"list of such, as text": {in: `{"pools":"10.0.0.0/8, fd00::/8"}`, want: with(func(s *sample) {
			s.Pools = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
		})},
		"one of such is none":    {in: `{"pools":["10.0.0.0/8","x"]}`, err: "pools[1]: "},
		"ansible's own keys":     {in: `{"_ansible_check_mode":true,"_ansible_unheard_of":[1]}`, want: defaults},
		"not a choice":           {in: `{"state":"gone"}`, err: `state: is "gone"; it must be one of present, absent`},
		"misspelt":               {in: `{"stat":"present"}`, err: "stat: unknown argument; did you mean state?"},
		"unknown":                {in: `{"zzzzzz":1}`, err: "zzzzzz: unknown argument; known are"},
		"path of an element":     {in: `{"items":[{"name":"a"},{"port":99999}]}`, err: "items[1].name: must be given\nitems[1].port: must be a whole number from 0 to 65535, not \"99999\""},
		"not a whole number":     {in: `{"count":"many"}`, err: `count: must be a whole number, not "many"`},
		"the value is not shown": {in: `{"password":["hunter2"]}`, err: "password: must be text, not a list"},
		"not JSON":               {in: `state=present`, err: "no JSON object"},
	} {
		t.Run(name, func(t *testing.T) {
			var got sample
			_, err := Decode([]byte(tc.in), &got)
			if tc.err != "" {
				if err == nil || !strings.Contains(err.Error(), tc.err) {
					t.Fatalf("error %v, want %q", err, tc.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got, cmp.AllowUnexported(sample{}), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestCallModes(t *testing.T) {
	var s sample
	call, err := Decode([]byte(`{"_ansible_check_mode":true,"_ansible_diff":true,"_ansible_verbosity":2}`), &s)
	if err != nil || call != (Call{Check: true, Diff: true, Verbosity: 2}) {
		t.Errorf("%+v, %v", call, err)
	}
}

func call(t *testing.T, run Func[sample], in string) (int, map[string]any) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "args")
	if err := os.WriteFile(file, []byte(in), 0o600); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	code := Run(t.Context(), run, []string{file}, &out)
	var got map[string]any
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatalf("%v in %q", err, out.String())
	}
	return code, got
}

func TestRun(t *testing.T) {
	diff := []Diff{{Before: "a", After: "b"}}
	ok := func(context.Context, Call, sample) (Result, error) {
		return Result{Changed: true, Diff: diff, Data: map[string]any{"failed": true, "n": 1}}, nil
	}
	code, got := call(t, ok, `{"_ansible_diff":true}`)
	if code != 0 || got["changed"] != true || got["n"] != 1.0 || got["diff"] == nil {
		t.Errorf("%d %v", code, got)
	}
	if _, got = call(t, ok, `{}`); got["diff"] != nil {
		t.Error("a diff that nobody asked for")
	}
	for name, run := range map[string]Func[sample]{
		"error": func(context.Context, Call, sample) (Result, error) { return Result{Changed: true}, errors.New("no") },
		"panic": func(context.Context, Call, sample) (Result, error) { panic("no") },
	} {
		if code, got = call(t, run, `{}`); code != 1 || got["failed"] != true || got["msg"] == "" {
			t.Errorf("%s: %d %v", name, code, got)
		}
	}
}

func TestSecretIsNeverShown(t *testing.T) {
	s := sample{connection: connection{Password: "hunter2"}}
	raw, err := json.Marshal(map[string]any{"p": s.Password, "s": s.connection})
	if err != nil {
		t.Fatal(err)
	}
	for _, shown := range []string{string(raw), fmt.Sprintf("%v %+v %#v %s %q", s, s, s, s.Password, s.Password)} {
		if strings.Contains(shown, "hunter2") {
			t.Error(shown)
		}
	}
	if s.Password.Reveal() != "hunter2" {
		t.Error("lost")
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"items":[{"name":"a","port":"1"}],"labels":{"a":null},"words":"a,b","any":{"x":[1]}}`))
	f.Add([]byte(`{"items":"[{}]","pool":"x","wait":[]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		var s sample
		if _, err := Decode(raw, &s); err == nil && s.State != "present" && s.State != "absent" && s.State != "" {
			t.Errorf("state %q was let through", s.State)
		}
	})
}
