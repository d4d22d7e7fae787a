package guest

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sdn-tunnel/sdn-tunnel/internal/guest/job"
)

// bootable is a guest, where this machine can have one.
func bootable(t *testing.T) Guest {
	t.Helper()
	if testing.Short() {
		t.Skip("boots a virtual machine")
	}
	for _, p := range []string{program, "apt-cache", "depmod"} {
		if _, err := exec.LookPath(p); err != nil {
			t.Skipf("needs %s", p)
		}
	}
	init := filepath.Join(t.TempDir(), "init")
	build := exec.Command("go", "build", "-o", init, "./init")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build init: %v\n%s", err, out)
	}
	k, err := FindKernel(t.Context(), t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	g, err := Guest{Kernel: k, Init: init, Processors: 2, MiB: 512}.Accelerate(t.Context(), t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func shell(name, script string, timeout time.Duration) job.Command {
	return job.Command{
		Name: name, Dir: "/", Args: []string{"sh", "-c", script}, Timeout: timeout,
		Env: []string{"PATH=" + os.Getenv("PATH"), "GREETING=hello"},
	}
}

func TestRun(t *testing.T) {
	g, artifacts := bootable(t), t.TempDir()
	t.Setenv("TMPDIR", t.TempDir())
	var out bytes.Buffer
	began := time.Now()
	outcomes, err := g.Run(t.Context(), []job.Command{
		shell("fails", "echo $GREETING from $(uname -r); echo error >&2; echo kept > /vm/out/file; touch /etc/mark; exit 3", time.Minute),
		shell("leaves", "setsid sleep 1000 & ls /etc/mark; echo 1 > /tmp/x && cut -d. -f1 /proc/uptime", time.Minute),
		shell("hangs", "pgrep -x sleep; exec sleep 1000", time.Second),
	}, &out, artifacts)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("one boot with 3 commands: %.1f s (%s)", time.Since(began).Seconds(), g.Accelerator)
	if o := outcomes[0]; o.Exit != 3 || o.TimedOut || o.Error != "" {
		t.Errorf("%+v", o)
	}
	if o := outcomes[1]; o.Exit != 0 {
		t.Errorf("%+v", o)
	}
	if o := outcomes[2]; o.Exit == 0 || !o.TimedOut {
		t.Errorf("%+v", o)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 4 || lines[0] != "hello from "+g.Kernel.Release || lines[1] != "error" || lines[2] != "/etc/mark" || len(lines[3]) != 4 {
		t.Errorf("output %q; want a greeting, an error, the mark, an uptime of more than 1000 s, and no process left", lines)
	}
	if text, err := os.ReadFile(filepath.Join(artifacts, "file")); err != nil || string(text) != "kept\n" {
		t.Errorf("artifact %q, %v", text, err)
	}
	if _, err := os.Stat("/etc/mark"); err == nil {
		t.Error("the guest wrote to this machine's /etc")
	}
	nothingLeft(t)
}

// nothingLeft of a guest is what TMPDIR, which the test made its own, shows.
func nothingLeft(t *testing.T) {
	t.Helper()
	if left, err := os.ReadDir(os.Getenv("TMPDIR")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// TestCrash has a guest that ends before its time say where.
func TestCrash(t *testing.T) {
	g := bootable(t)
	t.Setenv("TMPDIR", t.TempDir())
	var out bytes.Buffer
	outcomes, err := g.Run(t.Context(), []job.Command{
		shell("first", "echo first", time.Minute),
		shell("crashes", "echo c > /proc/sysrq-trigger", time.Minute),
	}, &out, "")
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"after first, at crashes", "sysrq triggered crash", g.Kernel.Release} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not say %q:\n%v", want, err)
		}
	}
	if len(outcomes) != 1 || outcomes[0].Exit != 0 || out.String() != "first\n" {
		t.Errorf("outcomes %+v, output %q", outcomes, out.String())
	}
	nothingLeft(t)
}
