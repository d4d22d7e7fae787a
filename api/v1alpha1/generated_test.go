package v1alpha1

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// controllerGen is the version that the generated files are held to.
const controllerGen = "sigs.k8s.io/controller-tools/cmd/controller-gen@v0.23.0"

const crdDir = "../../roles/tunnel/files/crds"

// TestGeneratedIsCurrent generates deepcopy functions and CRDs anew and compares.
func TestGeneratedIsCurrent(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED in short mode: whether generated files are current was not checked")
	}
	dir := t.TempDir()
	cmd := exec.Command("go", "run", controllerGen, "object", "crd", "paths=.",
		"output:object:dir="+dir, "output:crd:dir="+dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("controller-gen: %v\n%s", err, out)
	}
	files := map[string]string{"zz_generated.deepcopy.go": "zz_generated.deepcopy.go"}
	for _, name := range crdFiles(t) {
		files[filepath.Base(name)] = name
	}
	made, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(made) != len(files) {
		t.Errorf("%d files are generated, %d are there", len(made), len(files))
	}
	for name, path := range files {
		want, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Errorf("%s is not generated any more; remove it: %v", path, err)
			continue
		}
		if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s is not current (%v); run: go run %s object crd paths=./api/... output:crd:dir=roles/tunnel/files/crds",
				path, err, controllerGen)
		}
	}
}

func crdFiles(t *testing.T) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(crdDir, "*.yaml"))
	if err != nil || len(names) != 2 {
		t.Fatalf("CRDs in %s: %v (%v)", crdDir, names, err)
	}
	return names
}
