package e2e

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/procfs"
)

// Deploys are killed at as many points, which a seed decides: SDN_TUNNEL_LAB_SEED repeats a
// run, SDN_TUNNEL_LAB_LONG=1 takes ten points instead of two.
const killPoints, killPointsLong = 2, 10

// killed: deploys end without a warning at any moment. The next deploy completes what each
// left, and a teardown takes all of it away.
func killed(t *testing.T, l *lab, before string) {
	points := killPoints
	if os.Getenv("SDN_TUNNEL_LAB_LONG") != "" {
		points = killPointsLong
	}
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("SDN_TUNNEL_LAB_SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatalf("SDN_TUNNEL_LAB_SEED: %v", err)
		}
	}
	t.Logf("%d points; again: SDN_TUNNEL_LAB_SEED=%d", points, seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for i := range points {
		// Of every two points the first is on clusters without anything, the second on what
		// the first left; in turn, sdn-tunnel and ansible-playbook are killed.
		after := time.Duration(random.Int64N(int64(12 * time.Second)))
		l.killDeploy(t, i%2 == random.IntN(2), after)
		if i%2 == 0 {
			continue
		}
		if points == killPointsLong && i%4 == 1 {
			l.tunnel(t, 5*time.Minute, "deploy", "-i", l.Inventory).must(t)
		}
		l.leavesNothing(t, before)
	}
}

// killDeploy kills a deploy a while after it began to change something: sdn-tunnel alone,
// or ansible-playbook with all of its group. No process of it is left, and no lock.
func (l *lab) killDeploy(t *testing.T, program bool, after time.Duration) {
	t.Helper()
	playbook := 0
	said, play, err := l.deployUntil(t, "Lock of new clusters", func(p *os.Process) {
		if playbook = childOf(t, p.Pid, "ansible-playbook"); playbook == 0 {
			t.Fatal("sdn-tunnel runs no ansible-playbook")
		}
		time.AfterFunc(after, func() {
			if program {
				_ = p.Kill()
			} else {
				_ = syscall.Kill(-playbook, syscall.SIGKILL)
			}
		})
	})
	if playbook == 0 || err == nil || strings.Contains(said, "== changed ") {
		t.Fatalf("the deploy was not killed %v after it began: %v\n%s", after, err, tail(said, 20))
	}
	what := map[bool]string{true: "sdn-tunnel", false: "ansible-playbook and its group"}[program]
	t.Logf("killed %s in %q, %.1f s after the first change", what, play, after.Seconds())
	eventually(t, 10*time.Second, "no process of the deploy is left", func() bool { return len(inSession(t, playbook)) == 0 })
	l.released(t)
}

// released waits until no cluster has a lock.
func (l *lab) released(t *testing.T) {
	t.Helper()
	for _, c := range clusters {
		eventually(t, 10*time.Second, "the lock of "+c+" is released", func() bool {
			return l.kubectl(t, c, "-n", "sdn-tunnel", "get", "lease", "sdn-tunnel-run", "--ignore-not-found", "-o", "name") == ""
		})
	}
}

// deployUntil deploys, and calls then when a play begins. It gives what was printed and the
// last play, when the deploy ended.
func (l *lab) deployUntil(t *testing.T, until string, then func(*os.Process)) (said, play string, err error) {
	t.Helper()
	cmd := exec.Command("nsenter", "--net=/run/netns/"+l.operatorNamespace(), l.bin, "deploy", "-i", l.Inventory)
	dir := t.TempDir() // what it leaves in files
	cmd.Env = append(os.Environ(), "HOME="+dir, "TMPDIR="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	limit := time.AfterFunc(3*time.Minute, func() { _ = cmd.Process.Kill() })
	defer limit.Stop()
	over := false // what comes after a failure is no play
	for lines := bufio.NewScanner(out); lines.Scan(); {
		said += lines.Text() + "\n"
		name, ok := strings.CutPrefix(lines.Text(), "== ")
		if over = over || strings.Contains(name, "changed "); !ok || over {
			continue
		}
		if play = name; play == until {
			then(cmd.Process)
		}
	}
	return said, play, cmd.Wait()
}

// processes are all that there are, with what /proc says of them.
func processes(t *testing.T) map[int]procfs.ProcStat {
	t.Helper()
	all, err := procfs.AllProcs()
	if err != nil {
		t.Fatal(err)
	}
	found := map[int]procfs.ProcStat{}
	for _, p := range all {
		if s, err := p.Stat(); err == nil && s.State != "Z" { // else it ended
			found[p.PID] = s
		}
	}
	return found
}

// childOf is a process's child that has a word in its command line; 0 if there is none.
func childOf(t *testing.T, parent int, word string) int {
	t.Helper()
	for pid, s := range processes(t) {
		line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if s.PPID == parent && err == nil && strings.Contains(string(line), word) {
			return pid
		}
	}
	return 0
}

// inSession are the processes of a session.
func inSession(t *testing.T, session int) (pids []int) {
	t.Helper()
	for pid, s := range processes(t) {
		if s.Session == session {
			pids = append(pids, pid)
		}
	}
	return pids
}
