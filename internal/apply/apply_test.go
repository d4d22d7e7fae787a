package apply

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"

	"github.com/sdn-tunnel/sdn-tunnel/internal/apitest"
	"github.com/sdn-tunnel/sdn-tunnel/internal/ssa"
)

// manifests put what depends on others first: the order is the engine's to find.
const manifests = `
apiVersion: example.org/v1
kind: Widget
metadata: {name: one}
spec: {size: 1, colour: red}
---
# nothing but a comment
---
apiVersion: v1
kind: Secret
metadata: {name: s, namespace: fresh}
stringData: {password: hunter2}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: d, namespace: fresh}
spec:
  selector: {matchLabels: {app: d}}
  template:
    metadata: {labels: {app: d}}
    spec: {containers: [{name: c, image: example.org/c}]}
---
apiVersion: v1
kind: Namespace
metadata: {name: fresh}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.example.org}
spec:
  group: example.org
  scope: Cluster
  names: {kind: Widget, plural: widgets}
  versions:
    - name: v1
      served: true
      storage: true
      schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object, properties: {size: {type: integer}, colour: {type: string}}}}}}
`

func read(t *testing.T, text string) []*unstructured.Unstructured {
	t.Helper()
	objects, err := Read("test", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return objects
}

// patches notes what applies are sent.
type patches struct {
	to    http.RoundTripper
	paths []string
}

func (p *patches) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method == http.MethodPatch {
		p.paths = append(p.paths, r.URL.Path)
	}
	return p.to.RoundTrip(r)
}

func summary(changes []ssa.Change) []string {
	out := make([]string, len(changes))
	for i, c := range changes {
		out[i] = c.String()
	}
	return out
}

// TestEngine goes the whole way on a real API server.
func TestEngine(t *testing.T) {
	s := apitest.Start(t)
	engine := func(dryRun bool) *Engine {
		e, err := New(s.Config, "test", dryRun)
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	apply := func(dryRun bool, text string) []ssa.Change {
		t.Helper()
		changes, err := engine(dryRun).Apply(t.Context(), read(t, text))
		if err != nil {
			t.Fatal(err)
		}
		if raw, _ := json.Marshal(changes); strings.Contains(string(raw), "hunter") || strings.Contains(string(raw), "aHVudGVy") {
			t.Fatalf("a change shows a secret: %s", raw)
		}
		return changes
	}
	all := []string{"create CustomResourceDefinition widgets.example.org", "create Namespace fresh",
		"create Widget one", "create Secret fresh/s", "create DaemonSet fresh/d"}

	for range 2 { // the second shows that the first wrote nothing
		if got := summary(apply(true, manifests)); !slices.Equal(got, all) {
			t.Fatalf("dry run on an empty cluster: %q", got)
		}
	}
	if got := summary(apply(false, manifests)); !slices.Equal(got, all) {
		t.Fatalf("first run: %q", got)
	}
	var asked patches
	quiet := rest.CopyConfig(s.Config)
	quiet.Wrap(func(to http.RoundTripper) http.RoundTripper { asked.to = to; return &asked })
	second, err := New(quiet, "test", false)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := second.Apply(t.Context(), read(t, manifests)); err != nil || len(got) > 0 {
		t.Fatalf("second run: %v, %q", err, summary(got))
	}
	// Of a Secret that is declared as text only the server can tell.
	if want := []string{"/api/v1/namespaces/fresh/secrets/s"}; !slices.Equal(asked.paths, want) {
		t.Errorf("the second run asked the server about %q, want %q", asked.paths, want)
	}

	// A secret of the same length, and a field that is not declared any more.
	changed := strings.Replace(manifests, "hunter2", "hunter3", 1)
	changed = strings.Replace(changed, "spec: {size: 1, colour: red}", "spec: {colour: red}", 1)
	for _, dryRun := range []bool{true, false} {
		changes := apply(dryRun, changed)
		if got := summary(changes); !slices.Equal(got, []string{"update Widget one", "update Secret fresh/s"}) {
			t.Fatalf("dry run %v of a change: %q", dryRun, got)
		}
		before, _ := changes[0].Before["spec"].(map[string]any)
		after, _ := changes[0].After["spec"].(map[string]any)
		if before["size"] == nil || after["size"] != nil {
			t.Fatalf("dry run %v: the field that goes is not shown: %v, %v", dryRun, before, after)
		}
	}
	if got := apply(true, changed); len(got) > 0 {
		t.Fatalf("after the change: %q", summary(got))
	}

	// Only objects of which nothing is left behind without controllers.
	gone := read(t, changed)[:1]
	for _, dryRun := range []bool{true, false} {
		if got, err := engine(dryRun).Delete(t.Context(), gone); err != nil || len(got) != 1 {
			t.Fatalf("delete, dry run %v: %q, %v", dryRun, summary(got), err)
		}
	}
	if got, err := engine(false).Delete(t.Context(), gone); err != nil || len(got) > 0 {
		t.Fatalf("second delete: %q, %v", summary(got), err)
	}
}

// TestOnlyOwn: what somebody else has made is neither changed nor removed; what is the
// owner's by its label is, as is what nobody has made yet.
func TestOnlyOwn(t *testing.T) {
	s := apitest.Start(t)
	engine := func(owner string) *Engine {
		e, err := New(s.Config, owner, false)
		if err != nil {
			t.Fatal(err)
		}
		e.OnlyOwn = true
		return e
	}
	const role = `
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: shared, labels: {app.kubernetes.io/managed-by: OWNER}}
rules: [{apiGroups: [""], resources: [RESOURCE], verbs: [get]}]
`
	for _, step := range []struct {
		name, owner, resource string
		want                  int // changes
	}{
		{"nobody has made it", "first", "pods", 1},
		{"again", "first", "pods", 0},
		{"another would change it", "second", "nodes", 0},
		{"the owner changes it", "first", "services", 1},
	} {
		text := strings.NewReplacer("OWNER", step.owner, "RESOURCE", step.resource).Replace(role)
		changes, err := engine(step.owner).Apply(t.Context(), read(t, text))
		if err != nil || len(changes) != step.want {
			t.Errorf("%s: %q, %v", step.name, summary(changes), err)
		}
	}
	object := read(t, role)
	for _, step := range []struct {
		owner string
		want  int
	}{{"second", 0}, {"first", 1}, {"first", 0}} {
		changes, err := engine(step.owner).Delete(t.Context(), object)
		if err != nil || len(changes) != step.want {
			t.Errorf("%s deletes: %q, %v", step.owner, summary(changes), err)
		}
	}
	// Nor is it waited for, however long it stays.
	if err := engine("second").AwaitGone(t.Context(), object, time.Second); err != nil {
		t.Error(err)
	}
}

// TestDryRunPromisesOnlyWhatThisRunMakes: a namespace that nobody makes is an error.
func TestDryRunPromisesOnlyWhatThisRunMakes(t *testing.T) {
	s := apitest.Start(t)
	e, err := New(s.Config, "test", true)
	if err != nil {
		t.Fatal(err)
	}
	orphan := read(t, "{apiVersion: v1, kind: ConfigMap, metadata: {name: c, namespace: nowhere}}")
	if got, err := e.Apply(t.Context(), orphan); !apierrors.IsNotFound(err) {
		t.Errorf("%q, %v", summary(got), err)
	}
	e.MadeBefore = []string{"nowhere"}
	if got, err := e.Apply(t.Context(), orphan); err != nil || len(got) != 1 {
		t.Errorf("%q, %v", summary(got), err)
	}
	unknown := read(t, "{apiVersion: example.org/v1, kind: Gadget, metadata: {name: g}}")
	if got, err := e.Apply(t.Context(), unknown); err == nil {
		t.Errorf("an unknown kind: %q", summary(got))
	}
	if got, err := e.Delete(t.Context(), unknown); err != nil || len(got) > 0 {
		t.Errorf("delete of an unknown kind: %q, %v", summary(got), err)
	}
}

func TestRead(t *testing.T) {
	for name, tc := range map[string]struct {
		text string
		want int
		err  string
	}{
		"empty":      {"", 0, ""},
		"documents":  {manifests, 5, ""},
		"json list":  {`[{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"a"}}]`, 1, ""},
		"kind List":  {"{apiVersion: v1, kind: List, items: [{apiVersion: v1, kind: Namespace, metadata: {name: a}}]}", 1, ""},
		"nameless":   {"{apiVersion: v1, kind: Namespace}", 0, "test: document 1: apiVersion, kind or metadata.name is missing"},
		"not object": {"text", 0, "this is no object"},
		"broken":     {"a: [", 0, "test: document 1"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Read("test", []byte(tc.text))
			if tc.err == "" && err != nil || tc.err != "" && (err == nil || !strings.Contains(err.Error(), tc.err)) {
				t.Fatalf("error %v, want %q", err, tc.err)
			}
			if len(got) != tc.want {
				t.Errorf("%d objects, want %d", len(got), tc.want)
			}
		})
	}
}

// TestManifests: arguments may come as text or decoded, as Ansible makes of what looks like
// JSON, and an error names the element.
func TestManifests(t *testing.T) {
	decoded := map[string]any{"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": "a"}}
	got, err := Manifests("manifests", []any{manifests, "", decoded, []any{decoded, decoded}})
	if err != nil || len(got) != 8 {
		t.Errorf("%d objects, %v, want 8", len(got), err)
	}
	for want, bad := range map[string]any{"manifests[1]: document 1": "a: [", "manifests[1]: ": map[string]any{"kind": "Namespace"}} {
		if _, err := Manifests("manifests", []any{manifests, bad}); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%v: %v, want %q", bad, err, want)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add(manifests)
	f.Add(`[[{}]]`)
	f.Fuzz(func(t *testing.T, text string) {
		objects, err := Read("fuzz", []byte(text))
		for _, o := range objects {
			if err == nil && (o.GetKind() == "" || o.GetName() == "") {
				t.Errorf("%v", o.Object)
			}
		}
	})
}
