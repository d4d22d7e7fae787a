package runlock

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sdn-tunnel/sdn-tunnel/internal/uptime"
)

// ofTest is a run: this process, with notes of its own.
func ofTest(t *testing.T, s State) (Run, *Note) {
	t.Helper()
	t.Setenv("TMPDIR", t.TempDir())
	run, err := Of(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	note, err := NewNote(run, s)
	if err != nil {
		t.Fatal(err)
	}
	return run, note
}

func good() State { return State{Until: uptime.Now() + time.Minute} }

// TestGuard: modules begin and go on while the locks are held.
func TestGuard(t *testing.T) {
	broken := errors.New("broken")
	for name, tt := range map[string]struct {
		before, meanwhile, after State
		refused, ended           string
	}{
		"held":                  {before: good(), meanwhile: good()},
		"lost before":           {before: State{Lost: "bob has it"}, refused: "bob has it"},
		"late, and silent":      {before: State{}, refused: silent},
		"lost meanwhile":        {before: good(), meanwhile: State{Lost: "bob has it"}, ended: "bob has it"},
		"late, then lost":       {before: good(), meanwhile: State{}, after: State{Lost: "bob has it"}, ended: "bob has it"},
		"late, then held again": {before: good(), meanwhile: State{}, after: good(), ended: silent},
	} {
		t.Run(name, func(t *testing.T) {
			run, note := ofTest(t, tt.before)
			ctx, done, err := run.guard(t.Context())
			if tt.refused != "" {
				if err == nil || err.Error() != tt.refused {
					t.Fatalf("%v, want %q", err, tt.refused)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if err := note.Write(tt.meanwhile); err != nil {
				t.Fatal(err)
			}
			select {
			case <-ctx.Done():
			case <-time.After(3 * look):
			}
			if stopped := ctx.Err() != nil; stopped != (tt.ended != "") {
				t.Errorf("stopped: %v", stopped)
			}
			if tt.after != (State{}) {
				time.AfterFunc(look/2, func() { _ = note.Write(tt.after) })
			}
			want := tt.ended
			if want == "" {
				want = broken.Error()
			}
			if err := done(broken); err == nil || err.Error() != want {
				t.Errorf("%v, want %q", err, want)
			}
		})
	}
}

// TestWhatIsDoneIsDone: a module that got through has not failed.
func TestWhatIsDoneIsDone(t *testing.T) {
	run, note := ofTest(t, good())
	ctx, done, err := run.guard(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := note.Write(State{Lost: "bob has it"}); err != nil {
		t.Fatal(err)
	}
	<-ctx.Done()
	if err := done(nil); err != nil {
		t.Error(err)
	}
}

// TestLateIsWaitedFor: after a machine's sleep the keeper renews first, and the run goes on.
func TestLateIsWaitedFor(t *testing.T) {
	run, note := ofTest(t, State{})
	time.AfterFunc(look/2, func() { _ = note.Write(good()) })
	if why := run.await(context.Background()); why != "" {
		t.Error(why)
	}
}

// TestNotes: of this run alone, and none of runs that are over; a folder that others can
// write into is refused.
func TestNotes(t *testing.T) {
	run, note := ofTest(t, good())
	dir := filepath.Dir(note.file)
	text, err := json.Marshal(State{Lost: "of another"})
	if err != nil {
		t.Fatal(err)
	}
	over, other := filepath.Join(dir, "4194399-1-7.json"), filepath.Join(dir, "1-"+started(1)+"-7.json")
	for _, f := range []string{over, other} {
		if err := os.WriteFile(f, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if why, _ := run.lost(); why != "" {
		t.Error(why)
	}
	if _, err := NewNote(run, good()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(over); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("of a run that is over: %v", err)
	}
	if _, err := os.Stat(other); err != nil {
		t.Errorf("of another run: %v", err)
	}
	if err := os.WriteFile(note.file, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if why, sure := run.lost(); !strings.Contains(why, "cannot be read") || !sure {
		t.Errorf("half a note: %q", why)
	}
	note.Remove()
	if all := run.states(); len(all) != 0 {
		t.Errorf("left: %v", all)
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := NewNote(run, good()); err == nil || !strings.Contains(err.Error(), "remove it") {
		t.Errorf("others can write there: %v", err)
	}
}

// TestAnsiblePlaybookIsFound: the first process of a run, from below its workers.
func TestAnsiblePlaybookIsFound(t *testing.T) {
	if run, err := Find(os.Getpid()); !errors.Is(err, ErrNoRun) {
		t.Errorf("process %d is no ansible-playbook: %v", run.PID, err)
	}
	script := filepath.Join(t.TempDir(), "ansible-playbook")
	if err := os.WriteFile(script, []byte("import subprocess\nsubprocess.run(['sh', '-c', 'echo $$; sleep 300; true'])\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("python3", script)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Skip("needs python3 in PATH")
	}
	line := make([]byte, 32)
	n, err := out.Read(line)
	if err != nil {
		t.Fatal(err)
	}
	child, err := strconv.Atoi(strings.TrimSpace(string(line[:n])))
	if err != nil {
		t.Fatal(err)
	}
	run, err := Find(child)
	_ = cmd.Process.Kill()
	if p, perr := os.FindProcess(child); perr == nil {
		_ = p.Kill()
	}
	_ = cmd.Wait()
	if err != nil || run.PID != cmd.Process.Pid {
		t.Errorf("process %d, %v; want %d", run.PID, err, cmd.Process.Pid)
	}
}
