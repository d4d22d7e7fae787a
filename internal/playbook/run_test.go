package playbook

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	osexec "os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"
)

func testRun(t *testing.T, name string) (Run, *bytes.Buffer, *[]Event) {
	t.Helper()
	if _, err := osexec.LookPath("ansible-playbook"); err != nil {
		t.Skip("needs ansible-playbook in PATH")
	}
	out, events := &bytes.Buffer{}, &[]Event{}
	return Run{
		Playbook:  name,
		Inventory: filepath.Join("testdata", "hosts.yml"),
		Vars:      map[string]any{"greeting": "good-morning", "ansible_python_interpreter": "/usr/bin/python3"},
		Output:    out,
		Progress:  func(e Event) { *events = append(*events, e) },
		path:      filepath.Join("testdata", name+".yml"),
	}, out, events
}

func TestRunTellsProgress(t *testing.T) {
	r, out, events := testRun(t, "ok")
	if err := r.Do(t.Context()); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if !strings.Contains(out.String(), "good-morning") {
		t.Errorf("Ansible's output lacks the variable's value:\n%s", out)
	}
	var seen, changes []string
	noted := 0
	for _, e := range *events {
		switch e.Kind {
		case EventResult:
			if e.Host == "east" {
				seen = append(seen, e.Task+"="+e.Status)
				changes = append(changes, e.Changes...)
			}
			if e.Task == "Keep it secret" && e.Message != "" {
				t.Errorf("a no_log task has the message %q", e.Message)
			}
		case EventNote:
			noted++
			if e.Host != "module" || e.Message != "it waits" {
				t.Errorf("a module's note is %+v", e)
			}
		case EventStats:
			seen = append(seen, "stats")
			if s := e.Hosts["west"]; s.OK != 3 || s.Changed < 1 || s.Ignored != 1 {
				t.Errorf("stats %+v", s)
			}
		}
	}
	if noted != 2 { // one for each host
		t.Errorf("%d notes of modules", noted)
	}
	want := "Say it=ok Change something=changed Keep it secret=ignored stats"
	if got := strings.Join(seen, " "); got != want {
		t.Errorf("events %q, want %q", got, want)
	}
	if want := []string{"east: create Namespace n", "east: create Secret n/s"}; !slices.Equal(changes, want) {
		t.Errorf("changes %q, want %q", changes, want)
	}
}

func TestRunPassesExitCodesOn(t *testing.T) {
	r, out, events := testRun(t, "fail")
	err := r.Do(t.Context())
	var exit *ExitError
	if !errors.As(err, &exit) || exit.Code != ExitHostsFailed {
		t.Fatalf("error %v, want exit code %d\n%s", err, ExitHostsFailed, out)
	}
	if strings.Contains(err.Error(), "good-morning") {
		t.Error("the error shows a variable's value")
	}
	for _, e := range *events {
		if e.Kind == EventResult && e.Message != "no such luck" {
			t.Errorf("message %q", e.Message)
		}
	}
}

func TestCancelEndsAllProcesses(t *testing.T) {
	r, _, _ := testRun(t, "slow")
	ctx, cancel := context.WithCancel(t.Context())
	canceled := make(chan time.Time, 1)
	context.AfterFunc(ctx, func() { canceled <- time.Now() })
	r.Progress = func(e Event) {
		if e.Kind == EventStart {
			time.AfterFunc(time.Second, cancel)
		}
	}
	err := r.Do(ctx)
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("error %v, want context.Canceled", err)
	}
	if took := time.Since(<-canceled); took > 20*time.Second {
		t.Errorf("took %s", took)
	}
	if pid := sleeper(t); pid != "" {
		t.Errorf("process %s still sleeps", pid)
	}
}

// TestMain also is the program that TestKilledProgramLeavesNothing kills.
func TestMain(m *testing.M) {
	if os.Getenv("SDN_TUNNEL_TEST_RUN") == "" {
		os.Exit(m.Run())
	}
	_ = Run{
		Playbook: "slow", Inventory: filepath.Join("testdata", "hosts.yml"), path: filepath.Join("testdata", "slow.yml"),
		Vars:     map[string]any{"ansible_python_interpreter": "/usr/bin/python3"},
		Progress: func(e Event) { fmt.Println(e.Kind) },
	}.Do(context.Background())
}

// TestKilledProgramLeavesNothing: no process of a run outlives the program that started
// it, even if that had no time for anything.
func TestKilledProgramLeavesNothing(t *testing.T) {
	testRun(t, "slow")
	cmd := osexec.Command(os.Args[0])
	dir := t.TempDir()
	cmd.Env = append(os.Environ(), "SDN_TUNNEL_TEST_RUN=1", "TMPDIR="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(out); lines.Scan() && lines.Text() != EventStart; {
	}
	for end := time.Now().Add(20 * time.Second); sleeper(t) == ""; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the playbook's process does not come")
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(10 * time.Second); sleeper(t) != ""; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("process %s still sleeps", sleeper(t))
		}
	}
	_, _ = io.Copy(io.Discard, out)
	_ = cmd.Wait()
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		left, err := filepath.Glob(filepath.Join(dir, "sdn-tunnel-run-*"))
		if err != nil || len(left) == 0 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("variables are left in %s", left)
		}
	}
}

// sleeper finds the process that testdata/slow.yml starts.
func sleeper(t *testing.T) string {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if b, err := os.ReadFile(f); err == nil && string(b) == "sleep\x004242\x00" {
			return f
		}
	}
	return ""
}

func TestLocate(t *testing.T) {
	files := fstest.MapFS{
		"playbooks/deploy.yml":                {Data: []byte("---\n")},
		"playbooks/library/sdn_cluster_facts": {Data: []byte("\x7fELF")},
		"roles/tunnel/tasks/main.yml":         {Data: []byte("---\n")},
	}
	tree, err := locate(filepath.Join(t.TempDir(), "bin"), files)
	if err != nil {
		t.Fatal(err)
	}
	for name, mode := range map[string]os.FileMode{"": 0o700, tree.Dir + "/playbooks/library/sdn_cluster_facts": 0o700, tree.Dir + "/roles/tunnel/tasks/main.yml": 0o600} {
		if name == "" {
			name = tree.Dir
		}
		info, err := os.Stat(name)
		if err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v, mode %v, want %v", name, err, info.Mode(), mode)
		}
	}
	if err := tree.Close(); err != nil || exists(tree.Dir) {
		t.Errorf("Close: %v; the folder is still there: %t", err, exists(tree.Dir))
	}
	delete(files, "playbooks/library/sdn_cluster_facts")
	if _, err := locate(filepath.Join(t.TempDir(), "bin"), files); err == nil || !strings.Contains(err.Error(), "modules are not built") {
		t.Errorf("without modules: %v", err)
	}
}

func FuzzReadEvents(f *testing.F) {
	f.Add("{\"event\":\"play\",\"play\":\"x\"}\nend\n")
	f.Add("{\n\nnot json\n")
	f.Fuzz(func(t *testing.T, s string) {
		if err := readEvents(strings.NewReader(s), func(Event) {}); err != nil {
			t.Error(err)
		}
	})
}
