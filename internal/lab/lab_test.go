package lab_test

import (
	"bufio"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/sdn-tunnel/sdn-tunnel/internal/lab"
	"github.com/sdn-tunnel/sdn-tunnel/internal/lab/labcmd"
)

// TestMain lets the test's binary stand in for sdn-tunnel: a lab's machines run the
// program that brought them up.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "lab" {
		app := &cli.App{Name: "sdn-tunnel", Commands: []*cli.Command{{Name: "lab", Subcommands: labcmd.Commands()}}}
		if err := app.Run(os.Args); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

const testLab = "notrace"

func needLab(t *testing.T) {
	t.Helper()
	if os.Getenv("SDN_TUNNEL_LAB_TESTS") == "" {
		t.Skip("brings up whole clusters: set SDN_TUNNEL_LAB_TESTS=1")
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
}

func command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, append([]string{"lab"}, args...)...)
	cmd.Stderr = os.Stderr
	return cmd
}

func run(t *testing.T, args ...string) string {
	t.Helper()
	out, err := command(t, args...).Output()
	if err != nil {
		t.Fatalf("lab %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// TestUpKillStartDown goes through a lab's life and finds the machine as it was.
func TestUpKillStartDown(t *testing.T) {
	needLab(t)
	before := snapshot(t)
	t.Cleanup(func() {
		if t.Failed() {
			tell(t)
		}
		if err := lab.Down(testLab); err != nil {
			t.Error(err)
		}
	})
	began := time.Now()
	run(t, "up", "--name", testLab, "--clusters", "1", "--nodes", "2")
	t.Logf("up after %.1f s", time.Since(began).Seconds())

	kubectl := func(args ...string) string {
		return run(t, append([]string{"exec", "--name", testLab, "--", "kubectl"}, args...)...)
	}
	run(t, "node", "kill", "--name", testLab, "east-1")
	began = time.Now()
	kubectl("wait", "--for=condition=Ready=Unknown", "node/east-1", "--timeout=120s")
	t.Logf("the dead node was noticed after %.1f s", time.Since(began).Seconds())
	run(t, "node", "start", "--name", testLab, "east-1")
	began = time.Now()
	kubectl("wait", "--for=condition=Ready", "node/east-1", "--timeout=120s")
	kubectl("-n", "metallb-system", "rollout", "status", "daemonset/speaker", "--timeout=120s")
	t.Logf("the node and its pod were back after %.1f s", time.Since(began).Seconds())

	run(t, "down", "--name", testLab)
	same(t, before, snapshot(t))
}

// tell logs what state a test that failed left its lab in, as far as there is one.
func tell(t *testing.T) {
	t.Helper()
	const enough = 3000 // of the end of each
	for _, args := range [][]string{
		{"status", "--name", testLab},
		{"logs", "--name", testLab, "east-1", "containerd"},
		{"logs", "--name", testLab, "east-1", "kubelet"},
		{"exec", "--name", testLab, "--", "kubectl", "get", "nodes,pods", "--all-namespaces", "--output=wide", "--request-timeout=10s"},
		{"exec", "--name", testLab, "--", "kubectl", "get", "events", "--all-namespaces", "--request-timeout=10s"},
	} {
		cmd := command(t, args...)
		cmd.Stderr = nil
		out, err := cmd.CombinedOutput()
		if err != nil {
			out = fmt.Appendf(out, "\n%v", err)
		}
		t.Logf("lab %s:\n%s", strings.Join(args, " "), out[max(0, len(out)-enough):])
	}
}

// TestDownAfterACrash kills an Up midway, as hard as can be.
func TestDownAfterACrash(t *testing.T) {
	needLab(t)
	before := snapshot(t)
	up := command(t, "up", "--name", testLab, "--clusters", "1", "--nodes", "1")
	up.Stderr = nil
	progress, err := up.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := up.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(progress)
	reached := false
	for !reached && lines.Scan() {
		reached = strings.Contains(lines.Text(), "API of east")
	}
	if !reached {
		t.Fatalf("lab up ended before its API was up: %v", up.Wait())
	}
	if err := up.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = up.Wait() // killed
	run(t, "down", "--name", testLab)
	same(t, before, snapshot(t))
}

func TestDownOfNothing(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	if err := lab.Down("nosuchlab"); err != nil {
		t.Fatal(err)
	}
	if err := lab.Down("../etc"); err == nil {
		t.Fatal("took a path for a name")
	}
}

// snapshot is all that a lab could leave on the host, a line each, without what
// belongs to other labs that are up meanwhile.
func snapshot(t *testing.T) []string {
	t.Helper()
	var all []string
	add := func(kind string, lines ...string) {
		for _, l := range lines {
			if l != "" {
				all = append(all, kind+" "+l)
			}
		}
	}
	for kind, args := range map[string][]string{
		"netns": {"ls", "/run/netns"}, "link": {"ip", "-o", "link"}, "rules": {"nft", "list", "tables"},
		"state": {"ls", "-A", lab.StateRoot}, "varlib": {"ls", "/var/lib"}, "run": {"ls", "/run"}, "etc": {"ls", "/etc"},
	} {
		out, _ := exec.Command(args[0], args[1:]...).Output() // an absent folder is an answer
		add(kind, strings.Split(string(out), "\n")...)
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	add("mount", strings.Split(string(mounts), "\n")...)
	_ = filepath.WalkDir("/sys/fs/cgroup", func(p string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && (strings.Contains(p, "sdn-tunnel-lab") || strings.Contains(p, "k8s.io")) {
			add("cgroup", p)
		}
		return nil
	})
	for _, key := range []string{"kernel/panic", "kernel/panic_on_oops", "vm/overcommit_memory", "net/ipv4/ip_forward",
		"net/netfilter/nf_conntrack_max", "fs/inotify/max_user_instances", "fs/inotify/max_user_watches"} {
		b, _ := os.ReadFile("/proc/sys/" + key)
		add("sysctl", key+" "+string(b))
	}
	add("process", processes(t)...)
	return withoutOthers(t, all)
}

// processes lists those that have to do with the test's lab.
func processes(t *testing.T) []string {
	t.Helper()
	var all []string
	files, err := filepath.Glob("/proc/[0-9]*/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		group, _ := os.ReadFile(f) // gone meanwhile
		args, _ := os.ReadFile(filepath.Join(filepath.Dir(f), "cmdline"))
		if len(args) == 0 {
			continue // it has ended, and waits to be reaped by its parent
		}
		if strings.Contains(string(group), "/"+testLab) || strings.Contains(string(args), lab.StateRoot+"/"+testLab) {
			all = append(all, f+" "+strings.ReplaceAll(string(args), "\x00", " "))
		}
	}
	return all
}

func withoutOthers(t *testing.T, all []string) []string {
	t.Helper()
	names, err := lab.Names()
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(all, func(line string) bool {
		return slices.ContainsFunc(names, func(n string) bool {
			return n != testLab && (strings.Contains(line, "/"+n+"/") || strings.HasSuffix(line, "/"+n) ||
				strings.HasPrefix(line, "netns "+n+"-") || line == "state "+n || strings.Contains(line, "/run/netns/"+n+"-"))
		})
	})
}

func same(t *testing.T, before, after []string) {
	t.Helper()
	for _, line := range after {
		if !slices.Contains(before, line) {
			t.Errorf("left behind: %s", line)
		}
	}
	for _, line := range before {
		if !slices.Contains(after, line) {
			t.Errorf("taken away: %s", line)
		}
	}
}
