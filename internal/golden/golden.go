// Package golden compares what a test makes with a file of its folder testdata, and with
// `go test -update` writes the file. Only tests import it: it adds the flag to whatever
// it is part of.
package golden

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files anew")

// Check fails the test if the file of that name in testdata has not this text. The mode
// of a file that is there is left as it is.
func Check(t testing.TB, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("not as in %s (go test -update writes it anew), -want +got:\n%s", path, cmp.Diff(string(want), got))
	}
}
