package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/sdn-tunnel/sdn-tunnel/ansible-modules/internal/cluster"
	"github.com/sdn-tunnel/sdn-tunnel/ansible-modules/internal/module"
	"github.com/sdn-tunnel/sdn-tunnel/ansible-modules/internal/sidecar"
	"github.com/sdn-tunnel/sdn-tunnel/internal/apitest"
	"github.com/sdn-tunnel/sdn-tunnel/internal/deploylock"
)

// TestDocumentation: what ansible-doc shows is what the module takes.
func TestDocumentation(t *testing.T) { sidecar.Check[Args](t, "sdn_lock") }

// TestMain lets this program be started as the keeper, and as modules of a run.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == keepMode {
		os.Exit(keep(os.Stdin, os.Stdout))
	}
	if len(os.Args) == 3 && os.Args[1] == "module" {
		os.Exit(module.Main(run, os.Args[2:], os.Stdout))
	}
	if len(os.Args) == 3 && os.Args[1] == "busy" {
		os.Exit(module.Main(busy, os.Args[2:], os.Stdout))
	}
	os.Exit(m.Run())
}

// busy is a module that works until it is stopped.
func busy(ctx context.Context, _ module.Call, args struct {
	File string `arg:"file"`
}) (module.Result, error) {
	if err := os.WriteFile(args.File, nil, 0o600); err != nil {
		return module.Result{}, err
	}
	select {
	case <-ctx.Done():
		return module.Result{Changed: true}, ctx.Err()
	case <-time.After(30 * time.Second):
		return module.Result{}, errors.New("nobody stopped it")
	}
}

// TestLostLockStopsTheRun: once somebody else has the lock, a module at work ends, no other
// begins, and both say whose the lock is.
func TestLostLockStopsTheRun(t *testing.T) {
	s := apitest.Start(t)
	c := s.Clientset(t)
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	file := func(name string, content any) string {
		t.Helper()
		text, err := json.Marshal(content)
		if err != nil {
			t.Fatal(err)
		}
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, text, 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	at := filepath.Join(dir, "at-work")
	lock := file("lock.json", map[string]any{"namespace": "default", "verb": "deploy", "duration": 10, "members": []any{
		map[string]any{"name": "east", "access": map[string]any{"kubeconfig": s.Kubeconfig(t, s.Config)}},
	}})
	work, look := file("work.json", map[string]any{"file": at}), file("look.json", map[string]any{"state": "held"})
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	playbook := filepath.Join(dir, "ansible-playbook")
	script := "import subprocess, sys\nfor kind, args in zip(sys.argv[2::2], sys.argv[3::2]):\n  subprocess.run([sys.argv[1], kind, args])\n"
	if err := os.WriteFile(playbook, []byte(script), 0o600); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	cmd := exec.CommandContext(t.Context(), "python3", playbook, self, "module", lock, "module", look, "busy", work, "module", look)
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Skip("needs python3 in PATH")
	}
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		if _, err := os.Stat(at); err == nil {
			break
		}
		if time.Now().After(end) {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			t.Fatalf("the run does not get on: %s", out.String())
		}
	}
	leases := c.CoordinationV1().Leases("default")
	renewed := func() time.Time {
		t.Helper()
		l, err := leases.Get(t.Context(), deploylock.Name, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return l.Spec.RenewTime.Time
	}
	// Right after a renewal, so that the next one does not find that nobody has the lock.
	for before, end := renewed(), time.Now().Add(time.Minute); renewed().Equal(before); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the lock is not renewed")
		}
	}
	if err := leases.Delete(t.Context(), deploylock.Name, metav1.DeleteOptions{}); err != nil {
		t.Error(err)
	}
	began := time.Now()
	theirs, err := deploylock.Acquire(t.Context(), c, "east", "default", deploylock.Holder{Owner: "bob@laptop", Verb: "upgrade"}, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if took := time.Since(began); took > 15*time.Second {
		t.Errorf("it went on for %v", took)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 4 {
		t.Fatalf("%d answers: %s", len(lines), out.String())
	}
	for i, l := range lines {
		lost := strings.Contains(l, "cluster east: the lock of this run is lost: upgrade of bob@laptop has it now") && strings.Contains(l, `"failed":true`)
		if lost != (i >= 2) {
			t.Errorf("answer %d: %s", i, l)
		}
	}
	if !strings.Contains(lines[2], `"changed":true`) {
		t.Errorf("what was changed before is not told: %s", lines[2])
	}
	// The keeper ends with the run and leaves the other's lock alone.
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		notes, _ := filepath.Glob(filepath.Join(dir, "sdn-tunnel-locks-*", "*"))
		if len(notes) == 0 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("left: %v", notes)
		}
	}
	if err := theirs.Renew(t.Context()); err != nil {
		t.Errorf("the other's lock: %v", err)
	}
}

// TestKeeper: it holds the lock until the process that it watches is killed, and refuses
// a second one meanwhile.
func TestKeeper(t *testing.T) {
	s := apitest.Start(t)
	c := s.Clientset(t)
	s.Namespaces(t, "sdn-tunnel")
	access := cluster.Access{Kubeconfig: s.Kubeconfig(t, s.Config)}
	args := Args{Members: []cluster.Member{{Name: "east", Access: access}}, Namespace: "sdn-tunnel", Verb: "deploy", Duration: 60}
	run := exec.Command("sleep", "300")
	if err := run.Start(); err != nil {
		t.Fatal(err)
	}
	order := order{Args: args, Password: passwords(args), Watch: run.Process.Pid}
	first, over := keeper(t, order)
	if first.Error != "" || len(first.Missing) > 0 {
		t.Fatalf("the first one: %+v", first)
	}
	second, _ := keeper(t, order)
	if !strings.Contains(second.Error, "cluster east: deploy of "+deploylock.Me("").Owner+" is under way") {
		t.Errorf("the second one: %+v", second)
	}
	if err := run.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = run.Wait()
	select {
	case <-over:
	case <-time.After(10 * time.Second):
		t.Fatal("the keeper goes on after the run's end")
	}
	leases, err := c.CoordinationV1().Leases("sdn-tunnel").List(t.Context(), metav1.ListOptions{})
	if err != nil || len(leases.Items) > 0 {
		t.Errorf("left: %v, %v", leases.Items, err)
	}
	order.Args.Namespace, order.Watch = "elsewhere", os.Getpid()
	if none, _ := keeper(t, order); none.Error != "" || !slices.Equal(none.Missing, []string{"east"}) {
		t.Errorf("without the namespace: %+v", none)
	}
}

// TestSilentAPI: one that takes requests and does not answer holds no renewal up.
func TestSilentAPI(t *testing.T) {
	silent := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch {
		case r.Method == http.MethodPost:
			_, _ = io.Copy(w, r.Body)
		case strings.HasSuffix(r.URL.Path, "/namespaces/sdn-tunnel"):
			_, _ = io.WriteString(w, `{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"sdn-tunnel"}}`)
		default:
			<-silent
		}
	}))
	defer server.Close()
	defer close(silent)
	client, err := kubernetes.NewForConfig(&rest.Config{Host: server.URL, ContentConfig: rest.ContentConfig{ContentType: "application/json"}})
	if err != nil {
		t.Fatal(err)
	}
	lock, err := deploylock.Acquire(t.Context(), client, "east", "sdn-tunnel", deploylock.Me("deploy"), 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(500 * time.Millisecond) // so that it is due
	all, done := &held{locks: []*deploylock.Lock{lock}}, make(chan struct{})
	go func() {
		defer close(done)
		_ = all.locks.Tend(t.Context())
	}()
	select {
	case <-done:
	case <-time.After(5 * time.Second):
		t.Fatal("it still waits")
	}
	if err := all.locks.Lost(); err != nil {
		t.Error("a lock is given up because an API does not answer", err)
	}
}

// keeper runs a keeper in this process, as startKeeper does in another; over is closed
// when it ends.
func keeper(t *testing.T, o order) (got answer, over chan struct{}) {
	t.Helper()
	in, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	out, answered := io.Pipe()
	over = make(chan struct{})
	go func() {
		defer close(over)
		keep(strings.NewReader(string(in)), answered)
	}()
	if err := json.NewDecoder(out).Decode(&got); err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = io.Copy(io.Discard, out) }()
	return got, over
}

// TestCheckModeTakesNone also without any cluster that answers.
func TestCheckModeTakesNone(t *testing.T) {
	r, err := run(t.Context(), module.Call{Check: true}, Args{Members: []cluster.Member{{Name: "east"}}})
	if err != nil || r.Changed {
		t.Errorf("%+v, %v", r, err)
	}
}
