package dataplane

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/fsnotify/fsnotify"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/sdn-tunnel/sdn-tunnel/internal/agent"
	"github.com/sdn-tunnel/sdn-tunnel/internal/mesh"
)

// agentVariable makes the test binary an agent: it has the configuration.
const agentVariable = "SDN_TUNNEL_TEST_AGENT"

// agentConfig is what such an agent works by.
type agentConfig struct {
	Self mesh.Ref
	// Services are the other clusters'.
	Services []*discoveryv1.EndpointSlice
	// Dir has the node's state; in it are the files view.json, which stands for the
	// API, and passes.jsonl, which gets a pass a line.
	Dir string
}

func (c agentConfig) view() string   { return filepath.Join(c.Dir, "view.json") }
func (c agentConfig) passes() string { return filepath.Join(c.Dir, "passes.jsonl") }
func (c agentConfig) log() string    { return filepath.Join(c.Dir, "agent.log") }

// public is where the agent says its key in the API's place.
func (c agentConfig) public() string { return filepath.Join(c.Dir, "public") }

// pass is an agent.State, for another process.
type pass struct {
	Process int
	Time    time.Time
	Applied bool
	Peers   int
	Changes map[string][]string // by part
	Errors  map[string]string
}

func TestMain(m *testing.M) {
	text := os.Getenv(agentVariable)
	if text == "" {
		os.Exit(m.Run())
	}
	if err := runAgent(text); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// runAgent is the agent's program with a file in the API's place.
func runAgent(text string) error {
	var c agentConfig
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	plane, err := agent.NewDataPlane(ctx, agent.Options{
		Attachment: agent.AttachAuto, Bridge: "br0", WireGuard: "kernel", Services: agent.ProxyNFTables, StateDir: c.Dir, Log: log,
	})
	if err != nil {
		return err
	}
	plane.Services.Replace(c.Services)
	out, err := os.OpenFile(c.passes(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	loop := &agent.Loop{
		Self: c.Self, Observer: &fileObserver{path: c.view()}, Parts: plane.Parts,
		PlanPath: filepath.Join(c.Dir, "plan.json"), Log: log,
		Passed: func(s agent.State) {
			if err := json.NewEncoder(out).Encode(passOf(s)); err != nil {
				log.Error("pass not told", "error", err)
			}
		},
	}
	log.Info("starting", "program", os.Args[0])
	go rotateWhenTold(ctx, c, plane, log)
	if err := loop.Run(ctx); err != nil {
		return err
	}
	return plane.Close()
}

// rotateWhenTold replaces the node's key at each SIGUSR1.
func rotateWhenTold(ctx context.Context, c agentConfig, plane agent.DataPlane, log *slog.Logger) {
	told := make(chan os.Signal, 1)
	signal.Notify(told, syscall.SIGUSR1)
	rotation := agent.Rotation{
		Keys: plane.Keys, Peers: plane.Gauges.Peers, Log: log,
		Announce: func(_ context.Context, key mesh.Key) error {
			return os.WriteFile(c.public(), []byte(key.String()), 0o644)
		},
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-told:
		}
		if err := rotation.Do(ctx); err != nil {
			log.Error("the key was not replaced", "error", err)
		}
	}
}

func passOf(s agent.State) pass {
	p := pass{
		Process: os.Getpid(), Time: s.Time, Applied: s.Applied, Peers: len(s.Plan.Peers),
		Changes: map[string][]string{}, Errors: map[string]string{},
	}
	for _, part := range s.Parts {
		if len(part.Changes) > 0 {
			p.Changes[part.Name] = part.Changes
		}
		if part.Err != nil {
			p.Errors[part.Name] = part.Err.Error()
		}
	}
	return p
}

// fileObserver is an agent.Observer that reads a mesh.View from a file, again whenever
// it is replaced.
type fileObserver struct{ path string }

func (o *fileObserver) Run(ctx context.Context, notify func()) error {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return err
	}
	defer w.Close()
	if err := w.Add(filepath.Dir(o.path)); err != nil {
		return err
	}
	notify()
	for {
		select {
		case <-ctx.Done():
			return nil
		case e := <-w.Events:
			if e.Name == o.path {
				notify()
			}
		}
	}
}

func (o *fileObserver) View() (mesh.View, []mesh.Refusal, bool) {
	var v mesh.View
	text, err := os.ReadFile(o.path)
	if err != nil || json.Unmarshal(text, &v) != nil {
		return v, nil, false
	}
	return v, nil, true
}

// agentProcess is a running agent.
type agentProcess struct {
	cmd    *exec.Cmd
	config agentConfig
}

// startAgent runs the agent in the node's namespaces; program is the test binary, or
// another one like it.
func (n *node) startAgent(program string) {
	n.t.Helper()
	c := n.agentConfig()
	text, err := json.Marshal(c)
	if err != nil {
		n.t.Fatal(err)
	}
	log, err := os.OpenFile(c.log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		n.t.Fatal(err)
	}
	defer log.Close()
	cmd := n.command(program)
	cmd.Env = append(os.Environ(), agentVariable+"="+string(text))
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		n.t.Fatal(err)
	}
	n.agent = &agentProcess{cmd: cmd, config: c}
}

func (n *node) agentConfig() agentConfig {
	return agentConfig{Self: mesh.Ref{Cluster: n.cluster.name, Node: n.name}, Services: n.mirrors(), Dir: filepath.Join(n.w.dir, n.name)}
}

// end ends the agent by a signal.
func (a *agentProcess) end(s syscall.Signal) {
	if a == nil {
		return
	}
	_ = a.cmd.Process.Signal(s)
	_ = a.cmd.Wait()
}

// say gives the agent of a node another view.
func (n *node) say(v mesh.View) {
	n.t.Helper()
	v.Self = mesh.Ref{Cluster: n.cluster.name, Node: n.name}
	text, err := json.Marshal(v)
	if err != nil {
		n.t.Fatal(err)
	}
	path := n.agentConfig().view()
	if err := os.WriteFile(path+".new", text, 0o644); err != nil {
		n.t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		n.t.Fatal(err)
	}
}

// passes are the agent's passes after a moment.
func (n *node) passes(after time.Time) []pass {
	n.t.Helper()
	text, err := os.ReadFile(n.agentConfig().passes())
	if err != nil {
		return nil // none yet
	}
	var all []pass
	for line := range bytes.Lines(text) {
		var p pass
		if json.Unmarshal(line, &p) == nil && p.Time.After(after) {
			all = append(all, p)
		}
	}
	return all
}

// await waits for a pass after a moment that is as wanted, and gives it.
func (n *node) await(what string, after time.Time, wanted func(pass) bool) pass {
	n.t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		all := n.passes(after)
		if i := slices.IndexFunc(all, wanted); i >= 0 {
			return all[i]
		}
	}
	n.t.Fatalf("%s: %s: not within %v; last passes %+v", n.name, what, patience, n.lastPasses())
	panic("not reached")
}

func (n *node) lastPasses() []pass {
	all := n.passes(time.Time{})
	return all[max(0, len(all)-3):]
}

// applied is an agent's first pass that has everything as planned.
func applied(p pass) bool { return p.Applied && len(p.Errors) == 0 }
