package kernelsuite

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"slices"
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
	err := mergeProfiles(to, dir)
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

// TestJobs lists the tests of a package, each one job.
func TestJobs(t *testing.T) {
	dir := t.TempDir()
	p := testPackage{ImportPath: "github.com/sdn-tunnel/sdn-tunnel/internal/wg", Dir: dir}
	binary := filepath.Join(dir, "internal_wg.test")
	if err := os.WriteFile(binary, []byte("#!/bin/sh\nprintf 'TestKernelA\\nTestOther\\nTestKernelB\\n' | grep -E \"${1#-test.list=}\" || true\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		o    Options
		want []string // name of the command, and what it is told to run
	}{
		{Options{}, []string{"internal/wg TestKernelA: -test.v -test.count=1 -test.run=^TestKernelA$", "internal/wg TestKernelB: -test.v -test.count=1 -test.run=^TestKernelB$"}},
		{Options{Run: "B/part/of"}, []string{"internal/wg TestKernelB: -test.v -test.count=1 -test.run=^TestKernelB$/part/of"}},
		{Options{Run: "Other"}, nil},
		{Options{Bench: "Paths"}, []string{"internal/wg: -test.run=^$ -test.benchmem -test.bench=Paths -test.benchtime=1s"}},
	} {
		o := c.o.withDefaults()
		jobs, err := o.jobs(t.Context(), []testPackage{p}, dir)
		if (err == nil) != (c.want != nil) {
			t.Errorf("%+v: %v", c.o, err)
		}
		var got []string
		for _, command := range o.commands(jobs, "/out") {
			_, name, _ := strings.Cut(command.Name, "sdn-tunnel/sdn-tunnel/")
			got = append(got, name+": "+strings.Join(command.Args[2:], " "))
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%+v:\n%q\nwant\n%q", c.o, got, c.want)
		}
	}
}
