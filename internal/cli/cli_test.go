package cli

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	ucli "github.com/urfave/cli/v2"

	sdntunnel "github.com/sdn-tunnel/sdn-tunnel"
	"github.com/sdn-tunnel/sdn-tunnel/internal/golden"
	"github.com/sdn-tunnel/sdn-tunnel/internal/inventory"
	"github.com/sdn-tunnel/sdn-tunnel/internal/playbook"
)

// run runs the command line and returns what it prints.
func run(t *testing.T, args ...string) (string, error) {
	t.Helper()
	app := New(sdntunnel.Files(), []*ucli.Command{{Name: "up", Usage: "bring one up"}})
	var out bytes.Buffer
	app.Writer, app.ErrWriter = &out, io.Discard
	err := app.RunContext(t.Context(), append([]string{"sdn-tunnel"}, args...))
	return out.String(), err
}

func hosts(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "hosts.yml")
	if err := os.WriteFile(path, []byte("clusters:\n  hosts:\n    east: {kubeconfig: /none}\n    west: {kubeconfig: /none}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestBadFlags(t *testing.T) {
	inv := hosts(t)
	for name, c := range map[string]struct {
		args []string
		want string
		code int
	}{
		"no inventory":          {[]string{"plan"}, "--inventory: must be given", ExitUsage},
		"plan format":           {[]string{"plan", "-i", inv, "-o", "yaml"}, "want table or json", ExitUsage},
		"verify format":         {[]string{"verify", "-i", inv, "-o", "junit"}, "want table or json", ExitUsage},
		"variables":             {[]string{"plan", "-i", inv, "-e", "- a"}, "--extra-vars", ExitUsage},
		"unknown flag":          {[]string{"deploy", "-i", inv, "--nope"}, "not defined: -nope; see sdn-tunnel deploy --help", ExitUsage},
		"no such tag":           {[]string{"deploy", "-i", inv, "--tags", "foo"}, `deploy has no tag "foo"; it has dns, monitoring, objects`, ExitUsage},
		"no such tag, unasked":  {[]string{"teardown", "-i", inv, "-t", "objects"}, `teardown has no tag "objects"; it has dns, `, ExitUsage},
		"no such tag, forget":   {[]string{"forget", "-i", inv, "--tags", "foo", "west"}, `forget has no tag "foo"; it has dns`, ExitUsage},
		"forget in part":        {[]string{"forget", "-i", inv, "--limit", "east", "west"}, "not defined: -limit", ExitUsage},
		"flag without value":    {[]string{"status", "-i"}, "see sdn-tunnel status --help", ExitUsage},
		"no number":             {[]string{"deploy", "-i", inv, "--forks", "many"}, `invalid value "many"`, ExitUsage},
		"unknown global flag":   {[]string{"--nope"}, "see sdn-tunnel --help", ExitUsage},
		"unknown command":       {[]string{"deplpy", "-i", inv}, "did you mean deploy?", ExitUsage},
		"cluster as argument":   {[]string{"teardown", "-i", inv, "--yes", "west"}, `"west" is one too many`, ExitUsage},
		"flag after argument":   {[]string{"deploy", "-i", inv, "west", "--check"}, `"west" is one too many`, ExitUsage},
		"argument below":        {[]string{"rotate", "keys", "-i", inv, "west"}, "see sdn-tunnel rotate keys --help", ExitUsage},
		"unknown shell":         {[]string{"completion", "tcsh"}, `no command "tcsh"`, ExitUsage},
		"unknown flag of a lab": {[]string{"lab", "up", "--nope"}, "see sdn-tunnel lab up --help", ExitUsage},
		"init service type":     {[]string{"init", "--kubeconfig", kubeconfig(t), "--context", "east", "--service-type", "X"}, "LoadBalancer, NodePort", ExitUsage},
		"inventory missing":     {[]string{"plan", "-i", "/nowhere/hosts.yml"}, "sdn-tunnel init writes one", ExitFailed},
		"unasked teardown":      {[]string{"teardown", "-i", inv}, "--yes", ExitFailed},
		"init without contexts": {[]string{"init", "--kubeconfig", kubeconfig(t)}, "the kubeconfig has: east, west", ExitFailed},
		"init unknown context":  {[]string{"init", "--kubeconfig", kubeconfig(t), "--context", "north"}, `no context "north"`, ExitFailed},
		"init bad name":         {[]string{"init", "--kubeconfig", kubeconfig(t), "--context", "EAST=east"}, "DNS label", ExitFailed},
		"init twice":            {[]string{"init", "--kubeconfig", kubeconfig(t), "--context", "east", "--context", "east"}, "named twice", ExitFailed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			_, err := run(t, c.args...)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
			if code := ExitCode(err, false); code != c.code {
				t.Errorf("exit code %d, want %d", code, c.code)
			}
		})
	}
}

func kubeconfig(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "kubeconfig")
	text := `{"apiVersion":"v1","kind":"Config","clusters":[{"name":"c","cluster":{"server":"https://127.0.0.1:1"}}],
"users":[{"name":"u","user":{"token":"t"}}],
"contexts":[{"name":"east","context":{"cluster":"c","user":"u"}},{"name":"west","context":{"cluster":"c","user":"u"}}]}`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// What init writes is what plan, deploy and ansible-playbook read.
func TestInitWritesAnInventory(t *testing.T) {
	if _, err := exec.LookPath("ansible-playbook"); err != nil {
		t.Skip("needs ansible-playbook in PATH")
	}
	t.Chdir(t.TempDir())
	config := kubeconfig(t)
	args := []string{"init", "--kubeconfig", config, "--context", "east", "--context", "w=west", "--service-type", "NodePort", "-o", "mesh"}
	if _, err := run(t, args...); err != nil {
		t.Fatal(err)
	}
	inv, err := inventory.Load(t.Context(), inventory.Source{Path: "mesh", Playbooks: sdntunnel.Files()})
	if err != nil {
		t.Fatal(err)
	}
	if len(inv.Clusters) != 2 || inv.Clusters[1].Name != "w" || inv.Clusters[1].Access.Context != "west" ||
		inv.Clusters[0].Access.Kubeconfig != config || inv.String("service_type", "") != "NodePort" {
		t.Errorf("inventory %+v", inv)
	}
	if _, err := run(t, args...); err == nil || !strings.Contains(err.Error(), "exists") {
		t.Errorf("the second time: %v", err)
	}
}

func TestExitCodes(t *testing.T) {
	for want, err := range map[int]error{
		0: nil, 1: errors.New("x"), 2: codeError{errors.New("x"), ExitConflicts}, 4: errors.Join(&playbook.ExitError{Code: 4}, errors.New("y")),
	} {
		if got := ExitCode(err, false); got != want {
			t.Errorf("%v: %d, want %d", err, got, want)
		}
	}
	if got := ExitCode(errors.New("x"), true); got != ExitInterrupted {
		t.Errorf("interrupted: %d", got)
	}
}

func TestCompletionScriptsParse(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish"} {
		script, err := run(t, "completion", shell)
		if err != nil || script == "" {
			t.Fatalf("%s: %v", shell, err)
		}
		path, err := exec.LookPath(shell)
		if err != nil {
			t.Logf("%s is not installed: its script is not parsed", shell)
			continue
		}
		cmd := exec.Command(path, "-n")
		cmd.Stdin = strings.NewReader(script)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v: %s", shell, err, out)
		}
	}
}

var seconds = regexp.MustCompile(`\d+\.\d s`)

func TestProgress(t *testing.T) {
	events := []playbook.Event{
		{Kind: playbook.EventPlay, Play: "Facts"},
		{Kind: playbook.EventStart, Host: "east", Role: "facts", Task: "Read"},
		{Kind: playbook.EventStart, Host: "west", Role: "facts", Task: "Read"},
		{Kind: playbook.EventResult, Host: "east", Role: "facts", Task: "Read", Status: "ok", Warnings: []string{"old"}},
		{Kind: playbook.EventResult, Host: "west", Role: "facts", Task: "Read", Status: "changed"},
		{Kind: playbook.EventPlay, Play: "Objects"},
		{Kind: playbook.EventStart, Host: "east", Task: "Apply"},
		{Kind: playbook.EventNote, Host: "east", Message: "pod p on east-1 waits:\nErrImagePull"},
		{Kind: playbook.EventResult, Host: "east", Task: "Apply", Status: "skipped"},
		{Kind: playbook.EventResult, Host: "west", Task: "Apply", Status: "failed", Message: "the first line\nthe second one: " + strings.Repeat("long ", 40)},
		{Kind: playbook.EventStats, Hosts: map[string]playbook.Stats{"east": {OK: 2}, "west": {OK: 1, Changed: 1, Failures: 1}}},
	}
	for name, live := range map[string]bool{"progress.txt": false, "progress-live.txt": true} {
		t.Run(name, func(t *testing.T) {
			var b strings.Builder
			p := newProgress(&b, live)
			for _, e := range events {
				p.event(e)
			}
			p.close()
			golden.Check(t, name, seconds.ReplaceAllString(b.String(), "0.0 s"))
			if p.failures != 1 {
				t.Errorf("%d failures", p.failures)
			}
		})
	}
}

// TestWhatIsLeft: of a run that fails, also of the task that fails.
func TestWhatIsLeft(t *testing.T) {
	var made changes
	for _, e := range []playbook.Event{
		{Kind: playbook.EventResult, Host: "east", Status: "ok"},
		{Kind: playbook.EventResult, Host: "east", Status: "changed", Changes: []string{"east: create Namespace sdn-tunnel",
			"east: create ServiceAccount sdn-tunnel/sdn-tunnel", "east: create ClusterRole sdn-tunnel-agent", "east: create ClusterRoleBinding sdn-tunnel-agent"}},
		{Kind: playbook.EventResult, Host: "west", Status: "changed", Changes: []string{"west: create Namespace sdn-tunnel"}},
		{Kind: playbook.EventResult, Host: "east", Status: "failed", Changes: []string{"east: create DaemonSet sdn-tunnel/sdn-tunnel-agent"}},
	} {
		made.event(e)
	}
	var b strings.Builder
	made.left(&b, "deploy")
	made.left(&b, "teardown")
	(&changes{}).left(&b, "deploy") // nothing was changed: nothing to say
	golden.Check(t, "left.txt", b.String())
}

func TestTeardownSaysWhatGoes(t *testing.T) {
	var b strings.Builder
	inv := inventory.Inventory{Clusters: []inventory.Cluster{{Name: "east"}, {Name: "west"}}, Vars: map[string]any{"namespace": "mesh"}}
	writeTeardown(&b, inv, "east")
	golden.Check(t, "teardown.txt", b.String())
	for answer, ok := range map[string]bool{"yes\n": true, "yes": true, "y\n": false, "": false, "no\n": false} {
		if err := ask(io.Discard, strings.NewReader(answer)); (err == nil) != ok {
			t.Errorf("answer %q: %v", answer, err)
		}
	}
}

func TestForgetSaysWhatWillGo(t *testing.T) {
	var b strings.Builder
	writeForget(&b, "west", []string{"east", "north"})
	golden.Check(t, "forget.txt", b.String())
}
