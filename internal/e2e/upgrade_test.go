package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// upgrades takes a mesh of the commit before to this one, back, and to a version that is
// broken: ready, and yet no pod reaches another cluster's.
func upgrades(t *testing.T, l *lab) {
	before := l.commitBefore(t)
	images := []string{"-e", "agent_image=localhost/sdn-tunnel/agent:before", "-e", "controller_image=localhost/sdn-tunnel/controller:before"}
	older := *l
	older.root, older.bin = before, filepath.Join(before, "bin", "sdn-tunnel")
	older.run(t, 5*time.Minute, "lab", "images", "--name", l.name, "--version", "before").must(t)
	older.tunnel(t, 5*time.Minute, append([]string{"deploy", "-i", l.Inventory}, images...)...).must(t)
	l.pods(t)
	l.runs(t, "before")

	t.Run("to this version", func(t *testing.T) {
		stop := l.pinging(t, "east-1", l.pod(t, "open", "east-1"), l.pod(t, "open", "west-1").address, 10)
		r := l.tunnel(t, 10*time.Minute, "upgrade", "-i", l.Inventory)
		p := stop()
		r.must(t)
		l.runs(t, "dev")
		l.interrupted(t, r.took, p, 2)
		l.tunnel(t, 5*time.Minute, "upgrade", "-i", l.Inventory, "--check", "--verbose").must(t)
	})
	t.Run("and back", func(t *testing.T) {
		stop := l.pinging(t, "east-1", l.pod(t, "open", "east-1"), l.pod(t, "open", "west-1").address, 10)
		r := l.tunnel(t, 5*time.Minute, "upgrade", "-i", l.Inventory, "--rollback")
		p := stop()
		r.must(t)
		l.runs(t, "before")
		l.interrupted(t, r.took, p, 2)
	})
	t.Run("to a version that is broken", func(t *testing.T) {
		brokenUpgrade(t, l)
		l.runs(t, "before")
	})
	l.tunnel(t, 5*time.Minute, "deploy", "-i", l.Inventory).must(t)
	l.runs(t, "dev")
}

// brokenUpgrade: the gate after the first node finds what no probe of the agent's finds, the
// other nodes are not touched, and all is as before.
func brokenUpgrade(t *testing.T, l *lab) {
	l.brokenImages(t)
	agents := map[string]string{}
	for _, n := range nodes {
		agents[n] = l.agentPID(t, n)
	}
	r := l.tunnel(t, 10*time.Minute, "upgrade", "-i", l.Inventory, "-e", "sdn_tunnel_version=broken", "-e", "test_image=localhost/sdn-tunnel/test-app:dev")
	if r.code == 0 {
		t.Fatalf("it is not noticed:\n%s", tail(r.out, 60))
	}
	t.Logf("a broken version: noticed and taken back after %.1f s", r.took.Seconds())
	for _, want := range []string{"batch 1 of 2 (east-1)", "pods no longer reach each other", "is back at what was there before"} {
		if !strings.Contains(r.out, want) {
			t.Errorf("%q is not in the output:\n%s", want, tail(r.out, 80))
		}
	}
	for _, n := range nodes[1:] {
		if now := l.agentPID(t, n); now != agents[n] {
			t.Errorf("the agent of %s was replaced: it is process %s, was %s", n, now, agents[n])
		}
	}
	r = l.tunnel(t, 5*time.Minute, "verify", "-i", l.Inventory, "--skip-services")
	if r.code != 0 {
		t.Errorf("after the way back:\n%s", tail(r.out, 40))
	}
}

// commitBefore builds the commit before this one, and gives its folder.
func (l *lab) commitBefore(t *testing.T) string {
	t.Helper()
	git := func(args ...string) (string, error) {
		cmd := exec.Command("git", args...)
		cmd.Dir = l.root
		out, err := cmd.CombinedOutput()
		return strings.TrimSpace(string(out)), err
	}
	commit, err := git("rev-parse", "--verify", "HEAD~1")
	if err != nil {
		t.Skipf("SKIPPED: the source has no commit before: %s", commit)
	}
	dir := filepath.Join(t.TempDir(), "before")
	if out, err := git("worktree", "add", "--detach", dir, commit); err != nil {
		t.Fatalf("git worktree: %v: %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := git("worktree", "remove", "--force", dir); err != nil {
			t.Errorf("git worktree remove: %v: %s", err, out)
		}
	})
	start := time.Now()
	cmd := exec.Command("make", "-s", "build")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", commit, err, out)
	}
	t.Logf("the version before, %.12s, is built: %.1f s", commit, time.Since(start).Seconds())
	return dir
}

// brokenImages loads images whose agents give WireGuard no network of any peer: what the
// agents themselves ask, by tunnel addresses, is answered.
func (l *lab) brokenImages(t *testing.T) {
	t.Helper()
	const sound = "ps := slices.Clone(n.seen)"
	const broken = "ps := slices.DeleteFunc(slices.Clone(n.seen), func(p netip.Prefix) bool { return !p.IsSingleIP() })"
	dir := t.TempDir()
	source := filepath.Join(l.root, "internal/mesh/compute.go")
	text, err := os.ReadFile(source)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Count(text, []byte(sound)) != 1 {
		t.Fatalf("%s has no %q to break", source, sound)
	}
	replace := map[string]string{source: filepath.Join(dir, "compute.go")}
	if err := os.WriteFile(replace[source], bytes.Replace(text, []byte(sound), []byte(broken), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(file, overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("GOFLAGS", strings.TrimSpace(os.Getenv("GOFLAGS")+" -overlay="+file))
	l.run(t, 5*time.Minute, "lab", "images", "--name", l.name, "--version", "broken").must(t)
}

// runs waits until agents and controllers of both clusters say that they are of a version.
func (l *lab) runs(t *testing.T, version string) {
	t.Helper()
	said := ""
	eventually(t, time.Minute, "all is well and of version "+version, func() bool {
		r := l.tunnel(t, time.Minute, "status", "-i", l.Inventory, "-o", "json")
		var report struct {
			OK       bool `json:"ok"`
			Clusters []struct {
				Agents, Controller struct{ Versions map[string]int }
			} `json:"clusters"`
		}
		if err := json.Unmarshal([]byte(r.out), &report); err != nil {
			return false
		}
		said = ""
		for _, c := range report.Clusters {
			said += fmt.Sprint(c.Agents.Versions, c.Controller.Versions)
		}
		return report.OK && strings.Count(said, version+":") == 2*len(clusters) && strings.Count(said, ":") == 2*len(clusters)
	})
	t.Logf("agents and controllers: %s", said)
}

// interrupted says what pings were lost while the agents at both ends were replaced. Only
// WireGuard in userspace ends with its agent.
func (l *lab) interrupted(t *testing.T, took time.Duration, p pings, agents int) {
	t.Helper()
	userspace := strings.Contains(l.kubectl(t, "east", "get", "tunnelnodes", "east.east-1", "-o", "jsonpath={.status.cable}"), "userspace")
	t.Logf("%.1f s; userspace WireGuard: %v; %d of %d pings lost at 10 a second: %.1f s for %d agents", took.Seconds(), userspace, p.lost, p.sent, float64(p.lost)/10, agents)
	if limit := map[bool]int{true: agents * 8 * 10, false: 0}[userspace]; p.lost > limit {
		t.Errorf("%d pings lost, want at most %d:\n%s", p.lost, limit, p.text)
	}
}
