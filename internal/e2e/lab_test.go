package e2e

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// lab is one instance of the lab, driven by the command that users have.
type lab struct {
	name, bin, root string
	Inventory       string `json:"inventory"`
	StateDir        string `json:"stateDir"`
}

// result is how a command ended.
type result struct {
	out  string // what it printed; of a command that failed or printed nothing, both streams
	diag string // what it said on standard error
	code int
	took time.Duration
}

// up brings up a lab for the test and takes it away after it. SDN_TUNNEL_LAB_NAME gives
// it another name, for more than one run on a machine.
func up(t *testing.T, name, mode string, more ...string) *lab {
	t.Helper()
	name = cmp.Or(os.Getenv("SDN_TUNNEL_LAB_NAME"), name)
	if os.Getenv("SDN_TUNNEL_LAB_TESTS") == "" {
		t.Skip("whole clusters are tested with SDN_TUNNEL_LAB_TESTS=1 (make test-lab)")
	}
	if os.Geteuid() != 0 {
		t.Skip("the lab needs root: it makes network namespaces and mounts")
	}
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	l := &lab{name: name, root: root, bin: filepath.Join(root, "bin", "sdn-tunnel")}
	if os.Getenv("SDN_TUNNEL_LAB_REUSE") != "" && l.run(t, time.Minute, "lab", "status", "--name", name).code == 0 {
		l.open(t)
		return l
	}
	t.Cleanup(func() {
		if t.Failed() && os.Getenv("SDN_TUNNEL_LAB_KEEP") != "" {
			t.Logf("the lab %s is left up", name)
			return
		}
		l.run(t, 2*time.Minute, "lab", "down", "--name", name).must(t)
	})
	r := l.run(t, 10*time.Minute, append([]string{"lab", "up", "--name", name, "--sdn-mode", mode}, more...)...)
	r.must(t)
	t.Logf("lab up: %.1f s", r.took.Seconds())
	l.open(t)
	return l
}

// open reads where the lab's files are.
func (l *lab) open(t *testing.T) {
	t.Helper()
	s := l.run(t, time.Minute, "lab", "status", "--name", l.name, "-o", "json")
	s.must(t)
	if err := json.Unmarshal([]byte(s.out), l); err != nil || l.Inventory == "" {
		t.Fatalf("lab status: %v: %s", err, s.out)
	}
}

// run calls sdn-tunnel on the host.
func (l *lab) run(t *testing.T, limit time.Duration, args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, l.bin, args...)
	cmd.Dir = l.root
	if l.StateDir != "" { // what kubectl remembers of other clusters at the same addresses is not theirs
		cmd.Env = append(os.Environ(), "KUBECACHEDIR="+filepath.Join(l.StateDir, "kubecache"))
	}
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 20 * time.Second
	var out, diag bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &diag
	start := time.Now()
	err := cmd.Run()
	r := result{out: out.String(), diag: diag.String(), took: time.Since(start)}
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		r.code = exit.ExitCode()
	} else if err != nil {
		t.Fatalf("%s %v: %v", l.bin, args, err)
	}
	if r.code != 0 || r.out == "" {
		r.out += diag.String()
	}
	return r
}

// must fails the test when the command failed.
func (r result) must(t *testing.T) {
	t.Helper()
	if r.code != 0 {
		t.Fatalf("exit %d after %.1f s:\n%s", r.code, r.took.Seconds(), tail(r.out, 60))
	}
}

// tunnel calls sdn-tunnel where the operator of the lab's clusters sits. What it leaves in
// files, such as the output of Ansible when a run fails, goes with a test that passes.
func (l *lab) tunnel(t *testing.T, limit time.Duration, args ...string) result {
	t.Helper()
	dir, err := os.MkdirTemp("", "sdn-tunnel-e2e-") //nolint:usetesting // a test that fails keeps it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.Remove(dir); err == nil {
			return // empty
		}
		if t.Failed() {
			t.Logf("files of sdn-tunnel %s are left in %s", strings.Join(args, " "), dir)
		} else if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return l.operator(t, limit, append([]string{"env", "TMPDIR=" + dir, l.bin}, args...)...)
}

// operator runs a command where the API servers are reachable.
func (l *lab) operator(t *testing.T, limit time.Duration, args ...string) result {
	t.Helper()
	return l.run(t, limit, append([]string{"lab", "exec", "--name", l.name, "--"}, args...)...)
}

// node runs a shell command on a node.
func (l *lab) node(t *testing.T, node, command string) result {
	t.Helper()
	return l.run(t, time.Minute, "lab", "exec", "--name", l.name, "--node", node, "--", "sh", "-c", command)
}

// kubectl runs kubectl against a cluster and gives its output.
func (l *lab) kubectl(t *testing.T, cluster string, args ...string) string {
	t.Helper()
	r := l.operator(t, 3*time.Minute, append([]string{"kubectl", "--context", cluster}, args...)...)
	r.must(t)
	return strings.TrimSpace(r.out)
}

// eventually waits until ok, and gives how long it took. Looks take their time: it is too
// late when one that began after the limit says so.
func eventually(t *testing.T, limit time.Duration, what string, ok func() bool) time.Duration {
	t.Helper()
	start := time.Now()
	for began := time.Duration(0); !ok(); began = time.Since(start) {
		if began > limit {
			t.Fatalf("not within %v: %s", limit, what)
		}
		time.Sleep(50 * time.Millisecond)
	}
	return time.Since(start)
}

// tail gives the last n lines of s.
func tail(s string, n int) string {
	lines := strings.Split(strings.TrimRight(s, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
