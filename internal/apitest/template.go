package apitest

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// render is what Ansible's template lookup does, without Ansible's own filters.
const render = `
import jinja2, json, sys
env = jinja2.Environment(trim_blocks=True, undefined=jinja2.StrictUndefined)
sys.stdout.write(env.from_string(sys.stdin.read()).render(json.loads(sys.argv[1])))
`

// Template renders a template of the role and reads the objects in it. It needs Python
// with Jinja2, which Ansible brings along.
func Template(tb testing.TB, path string, vars map[string]any) []*unstructured.Unstructured {
	tb.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	values, err := json.Marshal(vars)
	if err != nil {
		tb.Fatal(err)
	}
	cmd := exec.CommandContext(tb.Context(), "python3", "-c", render, string(values))
	var problem bytes.Buffer
	cmd.Stdin, cmd.Stderr = bytes.NewReader(content), &problem
	text, err := cmd.Output()
	if err != nil {
		tb.Fatalf("render %s: %v\n%s", path, err, problem.String())
	}
	var objects []*unstructured.Unstructured
	for _, document := range bytes.Split(append([]byte("\n"), text...), []byte("\n---\n")) {
		u := &unstructured.Unstructured{}
		if err := yaml.UnmarshalStrict(document, &u.Object); err != nil {
			tb.Fatalf("read %s: %v\n%s", path, err, document)
		}
		if len(u.Object) > 0 {
			objects = append(objects, u)
		}
	}
	return objects
}
