package sdn

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"

	"github.com/sdn-tunnel/sdn-tunnel/internal/lab/sdn/tables"
)

// ovs runs Open vSwitch's programs against the daemons of one run folder. Every call has
// a timeout of its own: ovs-vsctl waits for ovs-vswitchd, which may be down.
type ovs struct{ runDir string }

func (o ovs) run(ctx context.Context, stdin, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), "OVS_RUNDIR="+o.runDir)
	cmd.Stdin = strings.NewReader(stdin)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(stderr.String()))
	}
	return strings.TrimSpace(stdout.String()), nil
}

func (o ovs) vsctl(ctx context.Context, args ...string) (string, error) {
	return o.run(ctx, "", "ovs-vsctl", append([]string{"--timeout=5", "--db=unix:" + o.runDir + "/db.sock"}, args...)...)
}

func (o ovs) ofctl(ctx context.Context, stdin string, args ...string) (string, error) {
	return o.run(ctx, stdin, "ovs-ofctl", append([]string{"--timeout=10", "-OOpenFlow13"}, args...)...)
}

// appctl speaks to ovs-vswitchd.
func (o ovs) appctl(ctx context.Context, args ...string) error {
	_, err := o.run(ctx, "", "ovs-appctl", append([]string{"--timeout=5", "-t", "ovs-vswitchd"}, args...)...)
	return err
}

// apply makes all changes of a bridge or none.
func (o ovs) apply(ctx context.Context, bridge string, changes []tables.Change) error {
	if len(changes) == 0 {
		return nil
	}
	var b strings.Builder
	for _, c := range changes {
		fmt.Fprintln(&b, c)
	}
	_, err := o.ofctl(ctx, b.String(), "bundle", bridge, "-")
	return err
}

func (o ovs) dump(ctx context.Context, bridge, match string) ([]tables.Flow, error) {
	text, err := o.ofctl(ctx, "", "--no-stats", "dump-flows", bridge, match)
	if err != nil {
		return nil, err
	}
	return tables.ParseFlows(text)
}

func (o ovs) ofport(ctx context.Context, iface string) (uint32, error) {
	text, err := o.vsctl(ctx, "get", "Interface", iface, "ofport")
	if err != nil {
		return 0, err
	}
	port, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		return 0, fmt.Errorf("interface %s has no OpenFlow port (%q): see its error column in OVSDB", iface, text)
	}
	return uint32(port), nil
}

func (o ovs) mac(ctx context.Context, iface string) (net.HardwareAddr, error) {
	text, err := o.vsctl(ctx, "get", "Interface", iface, "mac_in_use")
	if err != nil {
		return nil, err
	}
	return net.ParseMAC(strings.Trim(text, `"`))
}
