package apitest

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// ModuleFiles gives files that a module of go.mod carries, by patterns relative to its
// root: OpenShift's definitions are in github.com/openshift/api. The test is skipped
// where the module is not in the module cache; a pattern without a match fails it.
func ModuleFiles(t testing.TB, module string, patterns ...string) []string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", module).Output()
	dir := strings.TrimSpace(string(out))
	if err != nil || dir == "" {
		t.Skipf("needs the files of %s: go mod download %[1]s (%v)", module, err)
	}
	var files []string
	for _, p := range patterns {
		found, err := filepath.Glob(filepath.Join(dir, filepath.FromSlash(p)))
		if err != nil || len(found) == 0 {
			t.Fatalf("%s has no %s: %v", module, p, err)
		}
		files = append(files, found...)
	}
	return files
}
