package vswitch

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/sdn-tunnel/sdn-tunnel/internal/nodepath"
	"github.com/sdn-tunnel/sdn-tunnel/internal/tunnelns"
)

// realOVS is an Open vSwitch of the test's own, in a namespace of the test's own.
type realOVS struct {
	t       testing.TB
	dir     string
	node    tunnelns.Namespace
	vswitch *exec.Cmd
}

func startOVS(t testing.TB) *realOVS {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: makes a network namespace and runs Open vSwitch in it")
	}
	if _, err := exec.LookPath("ovs-vswitchd"); err != nil {
		t.Skip("needs ovs-vswitchd")
	}
	id := fmt.Sprintf("sdntest-%dv", os.Getpid())
	dir, err := os.MkdirTemp("", "ovs") //nolint:usetesting // short: the path of a Unix socket has 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	o := &realOVS{t: t, dir: dir, node: tunnelns.At("/run/netns/" + id)}
	o.sh("ip netns add %s", id)
	o.sh("ovsdb-tool create %s/conf.db /usr/share/openvswitch/vswitch.ovsschema", dir)
	db := o.start("ovsdb-server", dir+"/conf.db", "--remote=punix:"+dir+"/db.sock", "--pidfile="+dir+"/db.pid")
	o.await("db.sock")
	o.startSwitch()
	t.Cleanup(func() {
		stop(o.vswitch)
		stop(db)
		o.sh("ip netns del %s", id)
		_ = os.RemoveAll(dir)
	})
	return o
}

func (o *realOVS) start(name string, args ...string) *exec.Cmd {
	o.t.Helper()
	cmd := exec.Command("nsenter", append([]string{"--net=" + o.node.Path(), name}, args...)...)
	cmd.Env = append(os.Environ(), "OVS_RUNDIR="+o.dir)
	if err := cmd.Start(); err != nil {
		o.t.Fatal(err)
	}
	return cmd
}

func stop(cmd *exec.Cmd) {
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
}

func (o *realOVS) startSwitch() {
	o.vswitch = o.start("ovs-vswitchd", "unix:"+o.dir+"/db.sock", "--disable-system", "--pidfile="+o.dir+"/sw.pid")
}

func (o *realOVS) await(file string) {
	o.t.Helper()
	for range 600 {
		if _, err := os.Stat(filepath.Join(o.dir, file)); err == nil {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	o.t.Fatalf("%s did not appear", file)
}

func (o *realOVS) sh(format string, args ...any) string {
	o.t.Helper()
	cmd := exec.Command("sh", "-c", fmt.Sprintf(format, args...))
	cmd.Env = append(os.Environ(), "OVS_RUNDIR="+o.dir)
	out, err := cmd.CombinedOutput()
	if err != nil {
		o.t.Fatalf("%s: %v\n%s", fmt.Sprintf(format, args...), err, out)
	}
	return string(out)
}

// addBridge makes br0 as the SDN does, with one flow of the SDN's, and tun0 with its address.
func (o *realOVS) addBridge() {
	o.t.Helper()
	o.vsctl("add-br br0 -- set bridge br0 datapath_type=netdev protocols=OpenFlow13 fail_mode=secure -- add-port br0 tun0 -- set interface tun0 type=internal")
	o.foreignFlow()
	o.nodeSh("ip addr add 10.128.0.1/23 dev tun0; ip link set tun0 up")
	o.setGateway(gatewayMAC)
}

func (o *realOVS) vsctl(args string) string {
	o.t.Helper()
	return o.sh("ovs-vsctl --timeout=5 --db=unix:%s/db.sock %s", o.dir, args)
}

func (o *realOVS) nodeSh(command string) {
	o.t.Helper()
	o.sh("nsenter --net=%s sh -c '%s'", o.node.Path(), command)
}

func (o *realOVS) gateway([]netip.Prefix) (nodepath.Gateway, error) {
	return nodepath.FindGateway(o.node, "tun0", testPlan.Local)
}

func (o *realOVS) deleteBridge()         { o.vsctl("del-br br0") }
func (o *realOVS) addLink()              { o.nodeSh("ip link add sdntun1 type veth peer name sdntun0") }
func (o *realOVS) linkIndex() int        { return linkIndex(o.node, "sdntun1") }
func (o *realOVS) deleteLink()           { o.nodeSh("ip link del sdntun1") }
func (o *realOVS) foreignPort()          { o.vsctl("add-port br0 sdntun1") }
func (o *realOVS) deletePort()           { o.vsctl("del-port sdntun1") }
func (o *realOVS) foreignFlow()          { o.edit("add", "cookie=0x5,table=0,priority=5 actions=drop") }
func (o *realOVS) setGateway(mac string) { o.nodeSh("ip link set tun0 address " + mac) }
func (o *realOVS) edit(command, flow string) {
	o.t.Helper()
	if command == "add" {
		o.sh("ovs-ofctl -O OpenFlow13 add-flow br0 '%s'", flow)
		return
	}
	o.sh("ovs-ofctl -O OpenFlow13 del-flows br0 '%s'", flow)
}

func (o *realOVS) restart() {
	o.t.Helper()
	stop(o.vswitch)
	o.startSwitch()
	o.vsctl("set bridge br0 other_config:restarted=true") // waits for ovs-vswitchd
	o.foreignFlow()
}

func (o *realOVS) allFlows() string {
	o.t.Helper()
	return o.sh("ovs-ofctl -O OpenFlow13 --no-names dump-flows br0")
}

// reset leaves neither bridge nor link.
func (o *realOVS) reset() {
	o.t.Helper()
	o.vsctl("--if-exists del-br br0")
	o.nodeSh("ip link del sdntun1 2>/dev/null || true")
}
