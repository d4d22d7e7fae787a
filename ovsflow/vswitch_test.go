package ovsflow

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// vswitch is a real Open vSwitch with the dummy datapath: no kernel, no privileges. It
// answers how a packet would go.
type vswitch struct {
	t   *testing.T
	dir string
}

// startVSwitch runs ovsdb-server and ovs-vswitchd for the test, with bridge br0 and ports 1
// (vxlan0), 2 (tun0), 3 and 4 (pods), 5 (the tunnel).
func startVSwitch(t *testing.T) *vswitch {
	t.Helper()
	for _, bin := range []string{"ovs-vswitchd", "ovsdb-server", "ovsdb-tool", "ovs-vsctl", "ovs-ofctl", "ovs-appctl"} {
		if _, err := exec.LookPath(bin); err != nil {
			t.Skipf("SKIPPED: the flows were not tried on a real Open vSwitch: %v (install openvswitch-switch)", err)
		}
	}
	dir, err := os.MkdirTemp("", "ovs") //nolint:usetesting // t.TempDir is too long for a socket's name
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	v := &vswitch{t, dir}
	schema := "/usr/share/openvswitch/vswitch.ovsschema"
	if _, err := os.Stat(schema); err != nil {
		t.Skipf("SKIPPED: the flows were not tried on a real Open vSwitch: %v", err)
	}
	v.run("", "ovsdb-tool", "create", "conf.db", schema)
	v.daemon("ovsdb-server", "conf.db", "--remote=punix:db.sock", "--unixctl="+dir+"/db.ctl")
	v.await("db.sock")
	v.run("", "ovs-vsctl", "--db=unix:db.sock", "--no-wait", "init")
	v.daemon("ovs-vswitchd", "unix:db.sock", "--enable-dummy=override", "--disable-system", "--unixctl="+dir+"/vsw.ctl")
	v.await("vsw.ctl")
	args := []string{"--db=unix:db.sock", "add-br", "br0", "--", "set", "bridge", "br0", "fail-mode=secure", "protocols=OpenFlow13"}
	for _, p := range []string{"1", "2", "3", "4", "5"} {
		args = append(args, "--", "add-port", "br0", "p"+p, "--", "set", "interface", "p"+p, "type=dummy", "ofport_request="+p)
	}
	v.run("", "ovs-vsctl", args...)
	return v
}

func (v *vswitch) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Dir = v.dir
	cmd.Env = append(os.Environ(), "OVS_RUNDIR="+v.dir, "OVS_DBDIR="+v.dir, "OVS_LOGDIR="+v.dir, "OVS_SYSCONFDIR="+v.dir)
	return cmd
}

func (v *vswitch) daemon(name string, args ...string) {
	v.t.Helper()
	cmd := v.command(name, append(args, "--no-chdir", "-vconsole:off")...)
	if err := cmd.Start(); err != nil {
		v.t.Fatal(err)
	}
	v.t.Cleanup(func() {
		_ = cmd.Process.Kill() // ours by its handle; it may be gone already
		_ = cmd.Wait()
	})
}

func (v *vswitch) await(socket string) {
	v.t.Helper()
	for range 200 {
		if _, err := os.Stat(filepath.Join(v.dir, socket)); err == nil {
			return
		}
		time.Sleep(25 * time.Millisecond)
	}
	v.t.Fatalf("%s did not appear in 5 s", socket)
}

func (v *vswitch) run(stdin, name string, args ...string) string {
	v.t.Helper()
	cmd := v.command(name, args...)
	cmd.Stdin = strings.NewReader(stdin)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		v.t.Fatalf("%s %v: %v: %s", name, args, err, errs.String())
	}
	return out.String()
}

func (v *vswitch) ofctl(stdin string, args ...string) string {
	v.t.Helper()
	return v.run(stdin, "ovs-ofctl", append([]string{"-O", "OpenFlow13"}, args...)...)
}

// flows are the canonical texts of all flows.
func (v *vswitch) flows() string {
	v.t.Helper()
	flows, err := Parse(v.ofctl("", "--no-stats", "--no-names", "dump-flows", bridge))
	if err != nil {
		v.t.Fatal(err)
	}
	sorted, err := Sort(flows)
	if err != nil {
		v.t.Fatal(err)
	}
	return text(v.t, sorted)
}

const bridge = "unix:br0.mgmt"

// load replaces all tables by the SDN's of a mode.
func (v *vswitch) load(mode string) {
	v.t.Helper()
	sdn, err := os.ReadFile("testdata/sdn/" + mode + ".flows")
	if err != nil {
		v.t.Fatal(err)
	}
	v.ofctl("", "del-flows", bridge)
	v.ofctl(string(sdn), "--bundle", "add-flows", bridge, "-")
}

var recirculation = regexp.MustCompile(`(?m)^recirc\(`)

// trace sends a packet through the tables; each entry of states is what connection
// tracking says at the next time the packet meets it. It gives the steps.
func (v *vswitch) trace(packet string, states ...string) string {
	v.t.Helper()
	args := []string{"-t", filepath.Join(v.dir, "vsw.ctl"), "ofproto/trace", "br0", packet}
	for _, s := range states {
		args = append(args, "--ct-next", s)
	}
	return v.run("", "ovs-appctl", args...)
}

// outcome is the last part of a trace: what became of the packet in the end.
func outcome(trace string) string {
	at := recirculation.FindAllStringIndex(trace, -1)
	if len(at) == 0 {
		return trace
	}
	return trace[at[len(at)-1][0]:]
}

// TestPrintedBack: what Open vSwitch prints equals what was asked for, in all modes, and
// again after a second bundle; the SDN's flows are untouched.
func TestPrintedBack(t *testing.T) {
	v := startVSwitch(t)
	wide := onePlan()
	wide.Local = prefixes("10.128.0.0/23", "10.128.8.4/32")
	wide.Remote = prefixes("10.132.0.0/14", "10.136.0.0/13", "192.0.2.1/32")
	wide.VNID = 0xabcdef
	for _, mode := range []string{"multitenant", "networkpolicy", "subnet"} {
		v.load(mode)
		before := v.flows()
		for _, p := range []Plan{onePlan(), wide, wide, onePlan()} {
			want, err := Flows(p)
			if err != nil {
				t.Fatal(err)
			}
			b, err := Bundle(want)
			if err != nil {
				t.Fatal(err)
			}
			v.ofctl(b, "--bundle", "add-flows", bridge, "-")
			have, err := Parse(v.ofctl("", "--no-names", "dump-flows", bridge))
			if err != nil {
				t.Fatal(err)
			}
			d, err := Diff(have, want)
			if err != nil {
				t.Fatal(err)
			}
			if !d.Empty() {
				t.Errorf("%s: missing:\n%ssurplus:\n%s", mode, text(t, d.Missing), text(t, d.Surplus))
			}
		}
		v.ofctl("", "del-flows", bridge, DeleteOurs)
		if after := v.flows(); after != before {
			t.Errorf("%s: the SDN's flows are not as before:\n%s", mode, after)
		}
	}
}

// A packet and what has to become of it.
type packet struct {
	name   string
	modes  string // all if empty
	flow   string
	states []string
	want   string // in the outcome; empty: dropped
	mac    string // destination in the end
}

const (
	podMAC  = "0a:58:0a:80:00:05"
	pod2MAC = "0a:58:0a:80:00:06"
)

var packets = []packet{
	{name: "pod to remote pod", flow: "in_port=3,tcp,nw_src=10.128.0.5,nw_dst=10.132.2.9,tp_dst=80",
		states: []string{"trk,new"}, want: "output:5", mac: "0a:58:64:7f:00:01"},
	{name: "pod's reply to remote pod", flow: "in_port=3,tcp,nw_src=10.128.0.5,nw_dst=10.132.2.9,tp_src=80",
		states: []string{"trk,est,rpl"}, want: "output:5"},
	{name: "pod's reply to remote service", flow: "in_port=3,tcp,nw_src=10.128.0.5,nw_dst=172.31.0.7,tp_src=80",
		states: []string{"trk,est"}, want: "output:5"},
	{name: "remote pod to pod", modes: "multitenant subnet", flow: "in_port=5,tcp,nw_src=10.132.2.9,nw_dst=10.128.0.5,tp_dst=80",
		states: []string{"trk,new", "trk,new"}, want: "output:NXM_NX_REG2[]", mac: podMAC},
	{name: "remote pod to pod that policy leaves open", flow: "in_port=5,tcp,nw_src=10.132.2.9,nw_dst=10.128.0.6,tp_dst=80",
		states: []string{"trk,new", "trk,new"}, want: "output:NXM_NX_REG2[]", mac: pod2MAC},
	{name: "remote pod to isolated pod", modes: "networkpolicy", flow: "in_port=5,tcp,nw_src=10.132.2.9,nw_dst=10.128.0.5,tp_dst=80",
		states: []string{"trk,new", "trk,new"}},
	{name: "remote reply to isolated pod", flow: "in_port=5,tcp,nw_src=10.132.2.9,nw_dst=10.128.0.5,tp_src=80",
		states: []string{"trk,est,rpl", "trk,est,rpl", "trk,est,rpl"}, want: "output:NXM_NX_REG2[]", mac: podMAC},
	{name: "remote service to pod", modes: "multitenant subnet", flow: "in_port=5,tcp,nw_src=172.31.0.7,nw_dst=10.128.0.5,tp_src=53",
		states: []string{"trk,new", "trk,new"}, want: "output:NXM_NX_REG2[]", mac: podMAC},
	{name: "pod with another's address to remote pod", flow: "in_port=3,tcp,nw_src=10.128.0.6,nw_dst=10.132.2.9,tp_dst=80",
		states: []string{"trk,new"}},
	{name: "tunnel with a local address", flow: "in_port=5,tcp,nw_src=10.128.0.6,nw_dst=10.128.0.5,tp_dst=80",
		states: []string{"trk,new"}},
	{name: "tunnel with an address of nobody", flow: "in_port=5,tcp,nw_src=198.51.100.1,nw_dst=10.128.0.5,tp_dst=80",
		states: []string{"trk,new"}},
	{name: "tunnel to another node's pod", flow: "in_port=5,tcp,nw_src=10.132.2.9,nw_dst=10.130.0.5,tp_dst=80",
		states: []string{"trk,new"}},
	{name: "tunnel to the node's own address", flow: "in_port=5,tcp,nw_src=10.132.2.9,nw_dst=192.168.50.11,tp_dst=22",
		states: []string{"trk,new"}},
	{name: "pod with a remote address", flow: "in_port=3,tcp,nw_src=10.132.2.9,nw_dst=10.128.0.6,tp_dst=80",
		states: []string{"trk,new"}},
	{name: "node to remote pod", flow: "in_port=2,tcp,nw_src=10.128.0.1,nw_dst=10.132.2.9,tp_dst=80",
		states: []string{"trk,new"}, want: "output:5"},
	{name: "remote pod to node", flow: "in_port=5,tcp,nw_src=10.132.2.9,nw_dst=10.128.0.1,tp_dst=80",
		states: []string{"trk,new", "trk,new"}, want: "output:2", mac: "4e:d8:cd:4b:1b:52"},
	{name: "too big, from this end, to pod", flow: "in_port=5,icmp,nw_src=100.127.0.1,nw_dst=10.128.0.5,icmp_type=3,icmp_code=4",
		states: []string{"trk,rel,rpl", "trk,rel,rpl"}, want: "output:NXM_NX_REG2[]", mac: podMAC},
	{name: "too big, from the other end, to pod", flow: "in_port=5,icmp,nw_src=100.127.4.2,nw_dst=10.128.0.5,icmp_type=3,icmp_code=4",
		states: []string{"trk,rel,rpl", "trk,rel,rpl"}, want: "output:NXM_NX_REG2[]", mac: podMAC},
	{name: "too big, to node", flow: "in_port=5,icmp,nw_src=100.127.0.1,nw_dst=10.128.0.1,icmp_type=3,icmp_code=4",
		states: []string{"trk,rel,rpl"}, want: "output:2", mac: "4e:d8:cd:4b:1b:52"},
	{name: "tunnel address, but no ICMP", flow: "in_port=5,tcp,nw_src=100.127.4.2,nw_dst=10.128.0.5,tp_dst=80",
		states: []string{"trk,new"}},
}

// TestPaths traces packets through the SDN's own tables and ours.
func TestPaths(t *testing.T) {
	v := startVSwitch(t)
	flows, err := Flows(onePlan())
	if err != nil {
		t.Fatal(err)
	}
	bundle, err := Bundle(flows)
	if err != nil {
		t.Fatal(err)
	}
	for _, mode := range []string{"multitenant", "networkpolicy", "subnet"} {
		v.load(mode)
		v.ofctl(bundle, "--bundle", "add-flows", bridge, "-")
		for _, p := range packets {
			if p.modes != "" && !strings.Contains(p.modes, mode) {
				continue
			}
			t.Run(mode+"/"+p.name, func(t *testing.T) {
				trace := v.trace(p.flow, p.states...)
				end := outcome(trace)
				switch {
				case p.want == "" && !strings.Contains(end, "Datapath actions: drop"):
					t.Errorf("not dropped:\n%s", trace)
				case !strings.Contains(end, p.want):
					t.Errorf("no %q:\n%s", p.want, trace)
				case p.want != "" && strings.Contains(end, "Datapath actions: drop"):
					t.Errorf("dropped:\n%s", trace)
				case !strings.Contains(end, p.mac):
					t.Errorf("not to %s:\n%s", p.mac, trace)
				}
			})
		}
	}
}

// TestRepliesComeBecauseOutCommits: without ct(commit) on the way out, connection tracking
// knows nothing of the connection and the reply to an isolated pod is a new one, which
// policy drops. The flow has to have it.
func TestRepliesComeBecauseOutCommits(t *testing.T) {
	v := startVSwitch(t)
	flows, err := Flows(onePlan())
	if err != nil {
		t.Fatal(err)
	}
	bundle, err := Bundle(flows)
	if err != nil {
		t.Fatal(err)
	}
	v.load("networkpolicy")
	v.ofctl(bundle, "--bundle", "add-flows", bridge, "-")
	trace := v.trace("in_port=3,tcp,nw_src=10.128.0.5,nw_dst=10.132.2.9,tp_dst=80", "trk,new")
	if end := outcome(trace); !strings.Contains(end, "ct(commit)") {
		t.Errorf("the way out does not commit the connection:\n%s", trace)
	}
	reply := "in_port=5,tcp,nw_src=10.132.2.9,nw_dst=10.128.0.5,tp_src=80"
	if trace := v.trace(reply, "trk,new", "trk,new"); !strings.Contains(outcome(trace), "Datapath actions: drop") {
		t.Errorf("a packet of no known connection reaches the isolated pod:\n%s", trace)
	}
}
