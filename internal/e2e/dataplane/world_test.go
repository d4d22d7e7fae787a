package dataplane

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sdn-tunnel/sdn-tunnel/internal/kerneltest"
	"github.com/sdn-tunnel/sdn-tunnel/internal/lab/sdn/tables"
	"github.com/sdn-tunnel/sdn-tunnel/internal/mesh"
	"github.com/sdn-tunnel/sdn-tunnel/internal/tunnelns"
	"github.com/sdn-tunnel/sdn-tunnel/internal/wg"
)

// patience is for what should happen at once.
const patience = 15 * time.Second

// Network ids of the pods' namespaces; in the networkpolicy mode nothing may come in to
// the isolated one.
const (
	open     = 0x111
	isolated = 0x222
)

type cluster struct {
	name                             string
	pods, services, tunnel, underlay netip.Prefix
}

// world is some clusters and the underlay between them.
type world struct {
	t     testing.TB
	dir   string // short: it has Unix sockets
	id    string // begins the names of all namespaces
	mode  tables.Mode
	nodes []*node
}

// node is a network namespace and a mount namespace with a /run of its own.
type node struct {
	w       *world
	t       testing.TB
	cluster *cluster
	name    string
	ip      netip.Addr // on the underlay
	subnet  netip.Prefix
	tunnel  netip.Addr
	key     mesh.Key
	pods    []*pod

	holder, db, vswitchd *exec.Cmd
	agent                *agentProcess
}

type pod struct {
	node *node
	name string
	ip   netip.Addr
	vnid uint32
	port uint32 // on br0
}

// newWorld has clusters of as many nodes each as sizes say.
func newWorld(t testing.TB, mode tables.Mode, sizes ...int) *world {
	t.Helper()
	kerneltest.Need(t, "wireguard", "openvswitch", "vport_vxlan")
	dir, err := os.MkdirTemp("", "dp") //nolint:usetesting // short: the path of a Unix socket has 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, dir: dir, id: fmt.Sprintf("dp%d", os.Getpid()), mode: mode}
	t.Cleanup(w.remove)
	clusters := []*cluster{
		{"east", prefix("10.128.0.0/14"), prefix("172.30.0.0/16"), prefix("100.127.0.0/22"), prefix("192.168.50.0/24")},
		{"west", prefix("10.132.0.0/14"), prefix("172.31.0.0/16"), prefix("100.127.4.0/22"), prefix("192.168.60.0/24")},
		{"south", prefix("10.136.0.0/14"), prefix("172.29.0.0/16"), prefix("100.127.8.0/22"), prefix("192.168.70.0/24")},
	}[:len(sizes)]
	for k, c := range clusters {
		for i := range sizes[k] {
			n := &node{
				w: w, t: t, cluster: c, name: fmt.Sprintf("%s-%d", c.name, i+1), ip: host(c.underlay, 11+i),
				subnet: netip.PrefixFrom(host(c.pods, i*512), 23), tunnel: host(c.tunnel, i+1),
			}
			n.pods = []*pod{
				{node: n, name: n.name + "-a", ip: host(n.subnet, 2), vnid: open, port: 10},
				{node: n, name: n.name + "-b", ip: host(n.subnet, 3), vnid: isolated, port: 11},
			}
			w.nodes = append(w.nodes, n)
		}
	}
	w.wire(clusters)
	var group sync.WaitGroup
	for _, n := range w.nodes {
		group.Go(n.boot)
	}
	group.Wait()
	if t.Failed() {
		t.FailNow()
	}
	for _, n := range w.nodes {
		n.say(w.view())
		n.startAgent(self(t))
	}
	w.awaitApplied()
	return w
}

// self is the test binary.
func self(t testing.TB) string {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return program
}

func (w *world) sh(format string, args ...any) string {
	w.t.Helper()
	return sh(w.t, exec.Command("sh", "-c", fmt.Sprintf(format, args...)))
}

func sh(t testing.TB, cmd *exec.Cmd) string {
	t.Helper()
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(cmd.Args, " "), err, out)
	}
	return string(out)
}

// netns is the path of the namespace of a node or pod.
func (w *world) netns(name string) string { return "/run/netns/" + w.id + "-" + name }

// boot makes a node's namespaces, its switch and its bridge.
func (n *node) boot() {
	n.holder = start(n.t, exec.Command("nsenter", "--net="+n.w.netns(n.name), "unshare", "--mount", "sh", "-c",
		"mount -t tmpfs tmpfs /run && mkdir /run/netns /run/openvswitch && touch /run/ready && exec sleep infinity"))
	n.awaitFile("ready")
	dir := n.agentConfig().Dir
	if err := os.Mkdir(dir, 0o700); err != nil {
		n.t.Error(err)
	}
	key, err := wg.LoadOrCreateKey(dir)
	if err != nil {
		n.t.Error(err)
	}
	n.key = key.Public()
	n.sh("ovsdb-tool create /run/openvswitch/conf.db /usr/share/openvswitch/vswitch.ovsschema")
	n.db = n.daemon("ovsdb-server", "/run/openvswitch/conf.db", "--remote=punix:/run/openvswitch/db.sock", "--pidfile")
	n.awaitFile("openvswitch/db.sock")
	n.startSwitch()
	n.addBridge()
}

// start runs a program that ends with the test binary.
func start(t testing.TB, cmd *exec.Cmd) *exec.Cmd {
	t.Helper()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd
}

func stop(cmd *exec.Cmd) {
	if cmd != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
}

// command runs in the node's namespaces.
func (n *node) command(name string, args ...string) *exec.Cmd {
	in := []string{"-t", fmt.Sprint(n.holder.Process.Pid), "-m", "-n", "--", name}
	return exec.Command("nsenter", append(in, args...)...)
}

func (n *node) sh(format string, args ...any) string {
	n.t.Helper()
	return sh(n.t, n.command("sh", "-c", fmt.Sprintf(format, args...)))
}

func (n *node) daemon(name string, args ...string) *exec.Cmd {
	n.t.Helper()
	return start(n.t, n.command(name, append(args, "--log-file="+filepath.Join(n.w.dir, n.name+"-"+name+".log"))...))
}

// run is the path of a file in the node's /run, seen from here.
func (n *node) run(name string) string {
	return fmt.Sprintf("/proc/%d/root/run/%s", n.holder.Process.Pid, name)
}

func (n *node) awaitFile(name string) {
	n.t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(n.run(name)); err == nil && n.holder.Process.Signal(syscall.Signal(0)) == nil {
			return
		}
	}
	n.t.Fatalf("%s: /run/%s did not come within %v", n.name, name, patience)
}

// peers is how many nodes the other clusters have.
func (n *node) peers() (count int) {
	for _, o := range n.w.nodes {
		if o.cluster != n.cluster {
			count++
		}
	}
	return count
}

// network is the node's network namespace.
func (n *node) network() tunnelns.Namespace { return tunnelns.At(n.w.netns(n.name)) }

func (p *pod) network() tunnelns.Namespace { return tunnelns.At(p.node.w.netns(p.name)) }

// node finds a node by its name.
func (w *world) node(name string) *node {
	for _, n := range w.nodes {
		if n.name == name {
			return n
		}
	}
	panic("no node " + name)
}

// pod finds the open or the isolated pod of a node.
func (w *world) pod(node string, vnid uint32) *pod {
	for _, p := range w.node(node).pods {
		if p.vnid == vnid {
			return p
		}
	}
	panic("no such pod on " + node)
}

// view is the mesh as the nodes' APIs would tell it.
func (w *world) view() mesh.View {
	v := mesh.View{ListenPort: 5555}
	since := time.Unix(1, 0)
	seen := map[string]bool{}
	for _, n := range w.nodes {
		c := n.cluster
		if !seen[c.name] {
			seen[c.name] = true
			v.Clusters = append(v.Clusters, mesh.Cluster{
				Name: c.name, PodCIDRs: []netip.Prefix{c.pods}, ServiceCIDRs: []netip.Prefix{c.services},
				TunnelCIDR: c.tunnel, Topology: mesh.Mesh,
			})
		}
		v.Nodes = append(v.Nodes, mesh.Node{
			Ref: mesh.Ref{Cluster: c.name, Node: n.name}, PublicKey: n.key, Since: since,
			Endpoint: mesh.Endpoint{Host: n.ip.String(), Port: 5555}, ListenPort: 5555,
			HostSubnets: []netip.Prefix{n.subnet}, TunnelAddress: n.tunnel, NodeAddresses: []netip.Addr{n.ip},
		})
	}
	return v
}

func (w *world) awaitApplied() {
	w.t.Helper()
	for _, n := range w.nodes {
		n.await("everything applied", time.Time{}, applied)
	}
}

// keepLogs keeps what the agents and the switches of a test that failed said.
func (w *world) keepLogs() {
	dir := kerneltest.Artifacts(w.t)
	if dir == "" {
		return
	}
	logs, _ := filepath.Glob(filepath.Join(w.dir, "*.log"))
	of, _ := filepath.Glob(filepath.Join(w.dir, "*", "*.log"))
	for _, from := range append(logs, of...) {
		text, err := os.ReadFile(from)
		name, _ := filepath.Rel(w.dir, from)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, strings.ReplaceAll(name, "/", "-")), text, 0o644)
		}
		if err != nil {
			w.t.Logf("a log is not kept: %v", err)
		}
	}
}

// remove ends every process and takes the namespaces away; of a test that failed it shows
// the ends of the agents' logs, and keeps all of them.
func (w *world) remove() {
	for _, n := range w.nodes {
		if w.t.Failed() {
			log, _ := os.ReadFile(n.agentConfig().log())
			lines := strings.Split(string(log), "\n")
			w.t.Logf("%s: the agent's last words:\n%s", n.name, strings.Join(lines[max(0, len(lines)-30):], "\n"))
		}
		n.agent.end(syscall.SIGKILL)
		stop(n.vswitchd)
		stop(n.db)
		stop(n.holder)
	}
	if w.t.Failed() {
		w.keepLogs()
	}
	names, _ := filepath.Glob("/run/netns/" + w.id + "-*")
	for _, name := range names {
		w.sh("ip netns del %s", filepath.Base(name))
	}
	_ = os.RemoveAll(w.dir)
}

// sayAll tells every agent the world as it is.
func (w *world) sayAll() {
	w.t.Helper()
	for _, n := range w.nodes {
		n.say(w.view())
	}
}
