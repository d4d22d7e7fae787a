package vswitch

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/sdn-tunnel/sdn-tunnel/ovsflow"
)

// DefaultRunDir is where Open vSwitch keeps its sockets.
const DefaultRunDir = "/run/openvswitch"

const (
	commandTimeout = 10 * time.Second
	// tagKey and tagValue mark the port and its interface as ours in the database.
	tagKey, tagValue = "sdn-tunnel", "port"
	// linkKey records the index of the link that the port was made for.
	linkKey = "sdn-tunnel-link"
)

// OVS is a Switch: an Open vSwitch that runs on this node.
type OVS struct {
	runDir string
	log    *slog.Logger
}

// NewOVS reaches the Open vSwitch whose sockets are in runDir; empty: DefaultRunDir.
func NewOVS(runDir string, log *slog.Logger) *OVS {
	if runDir == "" {
		runDir = DefaultRunDir
	}
	return &OVS{runDir: runDir, log: log}
}

func (o *OVS) database() string { return "unix:" + filepath.Join(o.runDir, "db.sock") }

// run is the one place that executes programs to their end.
func (o *OVS) run(ctx context.Context, stdin, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), "OVS_RUNDIR="+o.runDir)
	cmd.Stdin = strings.NewReader(stdin)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(stderr.String()))
	}
	return stdout.String(), nil
}

func (o *OVS) vsctl(ctx context.Context, args ...string) (string, error) {
	return o.run(ctx, "", "ovs-vsctl", append([]string{"--timeout=5", "--db=" + o.database()}, args...)...)
}

func (o *OVS) ofctl(ctx context.Context, stdin string, args ...string) (string, error) {
	out, err := o.run(ctx, stdin, "ovs-ofctl", append([]string{"-O", "OpenFlow13"}, args...)...)
	if err != nil && (strings.Contains(err.Error(), "is not a bridge or a socket") ||
		strings.Contains(err.Error(), "failed to connect to socket")) {
		return "", fmt.Errorf("%w: %w", ErrNoOVS, err)
	}
	return out, err
}

// State reads bridge and port from the database.
func (o *OVS) State(ctx context.Context, bridge, port string) (State, error) {
	if _, err := os.Stat(filepath.Join(o.runDir, "db.sock")); errors.Is(err, fs.ErrNotExist) {
		return State{}, fmt.Errorf("%w (no socket in %s: %w)", ErrNoOVS, o.runDir, fs.ErrNotExist)
	}
	rows, err := o.find(ctx, query{"bridge", bridge, bridgeColumns}, query{"port", port, portColumns}, query{"interface", port, interfaceColumns})
	if err != nil {
		return State{}, fmt.Errorf("%w: %w", ErrNoOVS, err)
	}
	bridges, ports, interfaces := rows[0], rows[1], rows[2]
	if len(bridges) == 0 {
		return State{}, fmt.Errorf("bridge %s: %w", bridge, ErrNoBridge)
	}
	datapath, onBridge := parseBridge(bridges[0])
	s := State{DatapathType: datapath}
	if len(ports) == 0 || !slices.Contains(onBridge, parsePort(ports[0])) {
		return s, nil
	}
	s.OnBridge = true
	if len(interfaces) > 0 {
		parseInterface(interfaces[0], &s)
	}
	return s, nil
}

// query asks for columns of the rows of a table that have a name.
type query struct{ table, name, columns string }

// find gives the rows for each query. All is asked in one run of the program: that, not
// the answer, is what it costs.
func (o *OVS) find(ctx context.Context, queries ...query) ([][][]json.RawMessage, error) {
	args := []string{"--format=json"}
	for _, q := range queries {
		args = append(args, "--", "--columns="+q.columns, "find", q.table, "name="+q.name)
	}
	out, err := o.vsctl(ctx, args...)
	if err != nil {
		return nil, err
	}
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if len(lines) != len(queries) {
		return nil, fmt.Errorf("ovs-vsctl answered %d questions with %d lines", len(queries), len(lines))
	}
	all := make([][][]json.RawMessage, len(queries))
	for i, q := range queries {
		if all[i], err = parseRows(lines[i], strings.Count(q.columns, ",")+1); err != nil {
			return nil, fmt.Errorf("read what ovs-vsctl says of %s %s: %w", q.table, q.name, err)
		}
	}
	return all, nil
}

// AddPort adds the port and tags port and interface.
func (o *OVS) AddPort(ctx context.Context, bridge, port string, link int) error {
	tag := "external_ids:" + tagKey + "=" + tagValue
	_, err := o.vsctl(ctx, "--may-exist", "add-port", bridge, port,
		"--", "set", "port", port, tag,
		"--", "set", "interface", port, tag, fmt.Sprintf("external_ids:%s=%d", linkKey, link))
	return err
}

// DeletePort deletes the port; one that is not there is no error.
func (o *OVS) DeletePort(ctx context.Context, bridge, port string) error {
	_, err := o.vsctl(ctx, "--if-exists", "del-port", bridge, port)
	return err
}

// Flows dumps the flows with our cookie.
func (o *OVS) Flows(ctx context.Context, bridge string) (string, error) {
	return o.ofctl(ctx, "", "--no-names", "dump-flows", bridge, ovsflow.DeleteOurs)
}

// Bundle runs the lines in one OpenFlow bundle.
func (o *OVS) Bundle(ctx context.Context, bridge, lines string) error {
	_, err := o.ofctl(ctx, lines, "--bundle", "add-flows", bridge, "-")
	return err
}
