package vswitch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sdn-tunnel/sdn-tunnel/internal/mesh"
	"github.com/sdn-tunnel/sdn-tunnel/internal/nodepath"
	"github.com/sdn-tunnel/sdn-tunnel/internal/tunnelns"
)

// realOVS is an Open vSwitch of the test's own, in a namespace of the test's own.
type realOVS struct {
	t       *testing.T
	dir     string
	node    tunnelns.Namespace
	vswitch *exec.Cmd
}

func startOVS(t *testing.T) *realOVS {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: makes a network namespace and runs Open vSwitch in it")
	}
	if _, err := exec.LookPath("ovs-vswitchd"); err != nil {
		t.Skip("needs ovs-vswitchd")
	}
	id := fmt.Sprintf("sdntest-%dv", os.Getpid())
	dir, err := os.MkdirTemp("", "ovs") // short: the path of a Unix socket has 107 bytes
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
	for range 100 {
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

// bridge makes br0 as the SDN does, with one flow of the SDN's, and tun0 with its address.
func (o *realOVS) bridge() {
	o.t.Helper()
	o.sh("ovs-vsctl --timeout=5 --db=unix:%s/db.sock add-br br0 -- set bridge br0 datapath_type=netdev protocols=OpenFlow13 fail_mode=secure -- add-port br0 tun0 -- set interface tun0 type=internal", o.dir)
	o.sh("ovs-ofctl -O OpenFlow13 add-flow br0 table=0,priority=5,actions=drop")
	o.sh("nsenter --net=%s sh -c 'ip addr add 10.128.0.1/23 dev tun0; ip link set tun0 up'", o.node.Path())
}

var testPlan = mesh.DataPlane{
	ListenPort: 5555, TunnelAddress: netip.MustParseAddr("100.127.0.1"),
	Local:         []netip.Prefix{netip.MustParsePrefix("10.128.0.0/23")},
	LocalPods:     []netip.Prefix{netip.MustParsePrefix("10.128.0.0/14")},
	Remote:        []netip.Prefix{netip.MustParsePrefix("10.132.0.0/14")},
	RemoteService: []netip.Prefix{netip.MustParsePrefix("172.31.0.0/16")},
	RemoteTunnel:  []netip.Prefix{netip.MustParsePrefix("100.127.4.0/22")},
}

func TestRealSwitch(t *testing.T) {
	o := startOVS(t)
	part, err := New(Config{Node: o.node, Switch: NewOVS(o.dir, slog.New(slog.DiscardHandler))})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := part.Apply(t.Context(), testPlan); !errors.Is(err, ErrNoBridge) {
		t.Fatalf("without br0: want ErrNoBridge, got %v", err)
	}
	o.bridge()
	o.sh("nsenter --net=%s ip link add sdntun1 type veth peer name sdntun0", o.node.Path())
	path, err := nodepath.New(nodepath.Config{Node: o.node})
	if err != nil {
		t.Fatal(err)
	}
	apply := func() ([]string, error) {
		a, err := part.Apply(t.Context(), testPlan)
		if err != nil {
			return a, err
		}
		b, err := path.Apply(t.Context(), testPlan)
		return append(a, b...), err
	}
	first, err := apply()
	if err != nil {
		t.Fatal(err)
	}
	t.Log(strings.Join(first, "; "))
	if again, err := apply(); err != nil || len(again) > 0 {
		t.Fatalf("second Apply: %v, %v", again, err)
	}
	if !part.UserspaceDatapath() {
		t.Error("the datapath is in user space, and not told so")
	}
	repaired := func(what string, fault func()) { t.Helper(); o.repaired(part, path, apply, what, fault) }
	repaired("flows deleted", func() { o.sh("ovs-ofctl -O OpenFlow13 del-flows br0 table=30") })
	repaired("port deleted", func() { o.sh("ovs-vsctl --timeout=5 --db=unix:%s/db.sock del-port sdntun1", o.dir) })
	repaired("node route deleted", func() { o.sh("nsenter --net=%s ip route del 10.132.0.0/14", o.node.Path()) })
	repaired("neighbour deleted", func() { o.sh("nsenter --net=%s ip neigh del 100.127.0.1 dev tun0", o.node.Path()) })
	repaired("vswitchd restarted", func() {
		stop(o.vswitch)
		o.startSwitch()
	})
	repaired("br0 made again", func() {
		o.sh("ovs-vsctl --timeout=5 --db=unix:%s/db.sock del-br br0", o.dir)
		o.bridge()
	})
	if err := errors.Join(path.Remove(t.Context()), part.Remove(t.Context())); err != nil {
		t.Fatal(err)
	}
	left := o.sh("ovs-ofctl -O OpenFlow13 dump-flows br0; ovs-vsctl --timeout=5 --db=unix:%s/db.sock list-ports br0; nsenter --net=%s sh -c 'ip route; ip neigh'", o.dir, o.node.Path())
	for _, ours := range []string{"0x73646e74756e0001", "sdntun1", "10.132.0.0", "100.127"} {
		if strings.Contains(left, ours) {
			t.Errorf("%s is left:\n%s", ours, left)
		}
	}
	if !strings.Contains(left, "actions=drop") {
		t.Errorf("the SDN's flow is gone:\n%s", left)
	}
}

// repaired causes a fault and drives Apply by what Watch says, until it has changed
// something and then changes nothing.
func (o *realOVS) repaired(part *Part, path *nodepath.Part, apply func() ([]string, error), what string, fault func()) {
	o.t.Helper()
	ctx, cancel := context.WithCancel(o.t.Context())
	events := make(chan struct{}, 1)
	notify := func() {
		select {
		case events <- struct{}{}:
		default:
		}
	}
	done := make(chan error, 2)
	go func() { done <- part.Watch(ctx, notify) }()
	go func() { done <- path.Watch(ctx, notify) }()
	defer func() { cancel(); <-done; <-done }()
	time.Sleep(500 * time.Millisecond)
	fault()
	start, deadline := time.Now(), time.After(5*time.Second)
	var did []string
	for {
		select {
		case <-events:
			lines, err := apply()
			did = append(did, lines...)
			if again, err2 := apply(); err == nil && err2 == nil && len(again) == 0 && len(did) > 0 {
				o.t.Logf("%s: repaired in %v: %s", what, time.Since(start).Round(time.Millisecond), strings.Join(did, "; "))
				return
			}
		case <-deadline:
			o.t.Errorf("%s: not repaired in 5 s; done so far: %v", what, did)
			return
		}
	}
}
