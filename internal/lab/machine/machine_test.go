package machine

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

func spec(t *testing.T) *Spec {
	t.Helper()
	s := &Spec{
		Hostname: "east-1", NetNS: "/run/netns/lab-east-1", Dir: t.TempDir(), Cgroup: "sdn-tunnel-lab/lab/east-1",
		Keep: []string{"/root"}, Share: map[string]string{"/a": "/b"}, Files: map[string]string{"/etc/hostname": "east-1\n"},
		Services: []Service{{Name: "sshd", Args: []string{"sshd", "-D"}, Before: [][]string{{"true"}}, After: []string{"/run/x"}}},
	}
	if err := s.save(); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSpecIsLoadedAsSaved(t *testing.T) {
	s := spec(t)
	got, err := Load(s.Dir)
	if err != nil || !reflect.DeepEqual(got, s) {
		t.Errorf("got %+v, %v; want %+v", got, err, s)
	}
	if st, err := os.Stat(s.specFile()); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("the file, which holds keys: %v, %v; want mode 0600", st, err)
	}
	if _, err := Load(t.TempDir()); err == nil {
		t.Error("loaded a machine from an empty folder")
	}
}

// TestPid holds the recorded init to be the same process as then.
func TestPid(t *testing.T) {
	s := spec(t)
	child := exec.Command("sleep", "60")
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = child.Process.Kill(); _ = child.Wait() }) // ended below already
	if err := s.savePid(child.Process.Pid); err != nil {
		t.Fatal(err)
	}
	if pid, err := s.Pid(); err != nil || pid != child.Process.Pid {
		t.Errorf("pid %d, %v; want %d", pid, err, child.Process.Pid)
	}
	for name, record := range map[string]string{
		"another process of the number": fmt.Sprintf("%d 1\n", child.Process.Pid),
		"half-written":                  fmt.Sprint(child.Process.Pid),
		"empty":                         "",
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.WriteFile(s.pidFile(), []byte(record), 0o600); err != nil {
				t.Fatal(err)
			}
			if pid, err := s.Pid(); err != nil || pid != 0 {
				t.Errorf("pid %d, %v; want none", pid, err)
			}
			if _, err := s.Exec("true"); err == nil || !strings.Contains(err.Error(), "east-1 is off") {
				t.Errorf("a command in a machine that is off: %v", err)
			}
		})
	}
}

func TestPowerOff(t *testing.T) {
	s := spec(t)
	child := exec.Command("sleep", "60")
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = child.Wait(); close(ended) }() // killed
	if err := s.savePid(child.Process.Pid); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := s.PowerOff(5 * time.Second); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case <-ended:
	case <-time.After(5 * time.Second):
		t.Error("its init lives on")
	}
}

func TestBootIsTold(t *testing.T) {
	s := spec(t)
	if err := s.await(strings.NewReader("ready\n")); err != nil {
		t.Error(err)
	}
	if err := s.await(strings.NewReader("no root\n")); err == nil || !strings.Contains(err.Error(), "no root") {
		t.Errorf("got %v, want what the init said", err)
	}
	if err := s.await(strings.NewReader("")); err == nil {
		t.Error("an init that said nothing booted")
	}
}

func TestMembersAreThoseOfAllGroupsBelow(t *testing.T) {
	dir := t.TempDir()
	for group, pids := range map[string]string{"": "1\n2\n", "a": "", "a/b": "30\n0\n"} {
		if err := os.MkdirAll(filepath.Join(dir, group), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, group, "cgroup.procs"), []byte(pids), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := members(dir)
	slices.Sort(got)
	if err != nil || !slices.Equal(got, []int{1, 2, 30}) {
		t.Errorf("got %v, %v; want 1, 2, 30", got, err)
	}
	if got, err := members(filepath.Join(dir, "none")); err != nil || len(got) != 0 {
		t.Errorf("a group that is not there: %v, %v", got, err)
	}
}

func TestDescribe(t *testing.T) {
	for status, want := range map[syscall.WaitStatus]string{0: "exit 0", 3 << 8: "exit 3", syscall.WaitStatus(syscall.SIGKILL): "killed"} {
		if got := describe(status); got != want {
			t.Errorf("%#x: %q, want %q", uint32(status), got, want)
		}
	}
}
