package vswitch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/sdn-tunnel/sdn-tunnel/ovsflow"
)

// ErrNoPort says that no interface of the switch is a pod's.
var ErrNoPort = errors.New("the switch has no port for the pod: the SDN did not plug it in")

// maxRecirculations is more often than a packet can pass connection tracking in the SDN's
// tables and ours.
const maxRecirculations = 6

// PodPort is the number of the port of the pod with an address, which the SDN notes at its
// interface; ErrNoPort if there is none.
func (o *OVS) PodPort(ctx context.Context, address string) (uint32, error) {
	out, err := o.vsctl(ctx, "--format=json", "--columns=ofport", "find", "interface", "external_ids:ip="+address)
	if err != nil {
		return 0, err
	}
	rows, err := parseRows(out, 1)
	if err != nil {
		return 0, fmt.Errorf("read the port of %s: %w", address, err)
	}
	for _, row := range rows {
		var port int64
		if json.Unmarshal(row[0], &port) == nil && port > 0 && port < 1<<32 {
			return uint32(port), nil
		}
	}
	return 0, fmt.Errorf("%s: %w", address, ErrNoPort)
}

// Trace follows a packet through the bridge's tables. reply: connection tracking is to find
// it the answer of a connection that it knows, else the first packet of one.
func (o *OVS) Trace(ctx context.Context, bridge, flow string, reply bool) (ovsflow.Trace, error) {
	args := []string{"--timeout=5", "ofproto/trace", bridge, flow}
	if reply {
		for range maxRecirculations {
			args = append(args, "--ct-next", "trk,est,rpl")
		}
	}
	socket, err := o.control()
	if err != nil {
		return ovsflow.Trace{}, err
	}
	out, err := o.run(ctx, "", "ovs-appctl", append([]string{"-t", socket}, args...)...)
	if err != nil {
		return ovsflow.Trace{}, err
	}
	t, err := ovsflow.ParseTrace(out)
	if err != nil {
		return t, fmt.Errorf("read the trace of %s: %w", flow, err)
	}
	return t, nil
}

// control is the control socket of ovs-vswitchd. Its number is that of the process, which
// ovs-appctl would look for among the processes of its own container.
func (o *OVS) control() (string, error) {
	found, err := filepath.Glob(filepath.Join(o.runDir, "ovs-vswitchd.*.ctl"))
	if err != nil || len(found) == 0 {
		return "", fmt.Errorf("%w (no ovs-vswitchd.*.ctl in %s)", ErrNoOVS, o.runDir)
	}
	newest, top := found[0], -1
	for _, path := range found { // one that was killed leaves its socket
		number := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(path), "ovs-vswitchd."), ".ctl")
		pid, err := strconv.Atoi(number)
		if err == nil && pid > top && o.running(number) {
			newest, top = path, pid
		}
	}
	return newest, nil
}

// running tells whether the pid file names the process, or there is none to ask.
func (o *OVS) running(pid string) bool {
	text, err := os.ReadFile(filepath.Join(o.runDir, "ovs-vswitchd.pid"))
	return err != nil || strings.TrimSpace(string(text)) == pid
}
