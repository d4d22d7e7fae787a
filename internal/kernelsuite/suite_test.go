package kernelsuite

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sdn-tunnel/sdn-tunnel/internal/guest/job"
)

func TestQuiet(t *testing.T) {
	var out bytes.Buffer
	q := &quiet{to: &out}
	for _, piece := range []string{"=== RU", "N   TestA\na.go:1: no", "ted\n=== NAME  TestA\n--- PASS: TestA (0.1s)\nPA", "SS"} {
		if _, err := io.WriteString(q, piece); err != nil {
			t.Fatal(err)
		}
	}
	q.flush()
	if want := "a.go:1: noted\n--- PASS: TestA (0.1s)\nPASS\n"; out.String() != want {
		t.Errorf("%q, want %q", out.String(), want)
	}
}

func TestParsePackages(t *testing.T) {
	got, err := parsePackages(`{"ImportPath":"github.com/sdn-tunnel/sdn-tunnel/internal/wg","Dir":"/x","TestImports":["testing"]}
{"ImportPath":"github.com/sdn-tunnel/sdn-tunnel/internal/a/b","Dir":"/y","XTestImports":["testing","` + mark + `"]}`)
	if err != nil || len(got) != 1 || got[0].name() != "internal_a_b" || got[0].Dir != "/y" {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := parsePackages("{"); err == nil {
		t.Error("half a list was accepted")
	}
}

func TestMergeProfiles(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"a.cover": "mode: set\na.go:1.1,2.2 1 1\n", "b.cover": "mode: set\na.go:1.1,2.2 1 0\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	to := filepath.Join(dir, "all")
	err := mergeProfiles(to, dir, []testPackage{{ImportPath: "x/sdn-tunnel/sdn-tunnel/a"}, {ImportPath: "x/sdn-tunnel/sdn-tunnel/none"}, {ImportPath: "x/sdn-tunnel/sdn-tunnel/b"}})
	text, readErr := os.ReadFile(to)
	if want := "mode: set\na.go:1.1,2.2 1 1\na.go:1.1,2.2 1 0\n"; err != nil || readErr != nil || string(text) != want {
		t.Errorf("%q, %v, %v; want %q", text, err, readErr, want)
	}
}

func TestRunHere(t *testing.T) {
	var out bytes.Buffer
	sh := func(script string, timeout time.Duration) job.Command {
		return job.Command{Name: script, Dir: "/", Args: []string{"sh", "-c", script}, Timeout: timeout}
	}
	outcomes, err := runHere(t.Context(), []job.Command{sh("echo a; exit 4", time.Minute), sh("exec sleep 60", 50*time.Millisecond), sh("true", time.Minute)}, &out)
	if err != nil || len(outcomes) != 3 {
		t.Fatalf("%+v, %v", outcomes, err)
	}
	for i, want := range []string{"failed, exit 4", "time ran out", "ok"} {
		if got := verdict(outcomes[i]); got != want {
			t.Errorf("%s: %q, want %q", outcomes[i].Name, got, want)
		}
	}
	if !strings.HasPrefix(out.String(), "a\n") {
		t.Errorf("output %q", out.String())
	}
}
