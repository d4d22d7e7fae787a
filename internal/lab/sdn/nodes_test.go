package sdn

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	networkv1 "github.com/openshift/api/network/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/sdn-tunnel/sdn-tunnel/internal/lab/sdn/tables"
)

// testNode is a node in a network namespace of its own, with a real Open vSwitch.
type testNode struct {
	t                *testing.T
	name, ns, dir    string
	ip               netip.Addr
	vswitchd, daemon *exec.Cmd
}

func must(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v: %s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

func (n *testNode) in(args ...string) *exec.Cmd {
	cmd := exec.Command("nsenter", append([]string{"--net=/run/netns/" + n.ns}, args...)...)
	cmd.Env = append(os.Environ(), "OVS_RUNDIR="+n.dir)
	return cmd
}

// start runs a daemon in the node until the test ends.
func (n *testNode) start(cmd *exec.Cmd, log string) {
	n.t.Helper()
	f, err := os.OpenFile(filepath.Join(n.dir, log), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		n.t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = f, f
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		n.t.Fatal(err)
	}
	f.Close()
	n.t.Cleanup(func() { stop(cmd) })
}

func stop(cmd *exec.Cmd) {
	_ = cmd.Process.Kill() // it may have been stopped by the test
	_ = cmd.Wait()
}

func newNamespace(t *testing.T, name string) {
	t.Helper()
	must(t, "ip", "netns", "add", name)
	t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", name).Run() })
	must(t, "ip", "-n", name, "link", "set", "lo", "up")
}

func newNode(t *testing.T, prefix string, i int) *testNode {
	n := &testNode{
		t: t, name: fmt.Sprintf("node-%d", i), ns: fmt.Sprintf("%s-%d", prefix, i),
		dir: t.TempDir(), ip: netip.AddrFrom4([4]byte{192, 168, 50, byte(10 + i)}),
	}
	newNamespace(t, n.ns)
	must(t, "ip", "-n", n.ns, "link", "add", "eth0", "type", "bridge")
	must(t, "ip", "-n", n.ns, "addr", "add", n.ip.String()+"/24", "dev", "eth0")
	must(t, "ip", "-n", n.ns, "link", "set", "eth0", "up")
	must(t, "ovsdb-tool", "create", n.dir+"/conf.db", "/usr/share/openvswitch/vswitch.ovsschema")
	n.start(n.in("ovsdb-server", "--remote=punix:"+n.dir+"/db.sock", n.dir+"/conf.db", "--pidfile="+n.dir+"/ovsdb.pid"), "ovsdb.log")
	eventually(t, "ovsdb-server", func() error {
		return n.in("ovs-vsctl", "--timeout=1", "--db=unix:"+n.dir+"/db.sock", "--no-wait", "init").Run()
	})
	n.startSwitch()
	return n
}

func (n *testNode) startSwitch() {
	n.vswitchd = n.in("ovs-vswitchd", "unix:"+n.dir+"/db.sock", "--disable-system", "--pidfile="+n.dir+"/ovs-vswitchd.pid")
	n.start(n.vswitchd, "vswitchd.log")
}

func (n *testNode) startDaemon(mode tables.Mode, stateFile string) {
	cfg, err := json.Marshal(daemonConfig{StateFile: stateFile, Config: Config{
		Node: n.name, NodeIP: n.ip, Mode: mode, Datapath: Netdev, OVSRunDir: n.dir, StateDir: n.dir + "/state",
		PodCIDR: netip.MustParsePrefix("10.128.0.0/14"), ServiceCIDR: netip.MustParsePrefix("172.30.0.0/16"),
	}})
	if err != nil {
		n.t.Fatal(err)
	}
	n.daemon = n.in(os.Args[0])
	n.daemon.Env = append(n.daemon.Env, envNode+"="+string(cfg))
	n.start(n.daemon, "daemon.log")
	n.t.Cleanup(func() {
		if n.t.Failed() {
			log, _ := os.ReadFile(n.dir + "/daemon.log")
			n.t.Logf("%s:\n%s", n.name, log)
		}
	})
}

func (n *testNode) ofctl(args ...string) string {
	n.t.Helper()
	out, err := n.in(append([]string{"ovs-ofctl", "-OOpenFlow13", "--timeout=5"}, args...)...).CombinedOutput()
	if err != nil {
		n.t.Fatalf("ovs-ofctl %v: %v: %s", args, err, out)
	}
	return string(out)
}

// cni calls the plugin as a container runtime would.
func (n *testNode) cni(command, sandbox, namespace string) ([]byte, error) {
	cmd := n.in(filepath.Join(n.dir, "bin", CNIType))
	conf, err := os.Open(filepath.Join(n.dir, "conf", "80-openshift-network.conf"))
	if err != nil {
		return nil, err
	}
	defer conf.Close()
	cmd.Stdin = conf
	cmd.Env = append(cmd.Env, envCNI+"=1", "CNI_COMMAND="+command, "CNI_CONTAINERID="+sandbox, "CNI_IFNAME=eth0",
		"CNI_NETNS=/run/netns/"+sandbox, "CNI_PATH="+filepath.Join(n.dir, "bin"),
		"CNI_ARGS=IgnoreUnknown=1;K8S_POD_NAMESPACE="+namespace+";K8S_POD_NAME="+sandbox)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err = cmd.Run()
	return out.Bytes(), err
}

// testPod is a pod that the plugin has put on a node's bridge.
type testPod struct {
	node    *testNode
	sandbox string
	ip      string
}

func (n *testNode) addPod(sandbox, namespace string) testPod {
	n.t.Helper()
	newNamespace(n.t, sandbox)
	out, err := n.cni("ADD", sandbox, namespace)
	if err != nil {
		n.t.Fatalf("CNI ADD: %v: %s", err, out)
	}
	var r struct{ IPs []struct{ Address string } }
	if err := json.Unmarshal(out, &r); err != nil {
		n.t.Fatalf("%v: %s", err, out)
	}
	return testPod{node: n, sandbox: sandbox, ip: netip.MustParsePrefix(r.IPs[0].Address).Addr().String()}
}

func ping(ns, to string) error {
	out, err := exec.Command("nsenter", "--net=/run/netns/"+ns, "ping", "-c1", "-W1", to).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s does not reach %s: %w: %s", ns, to, err, out)
	}
	return nil
}

func eventually(t *testing.T, what string, f func() error) {
	t.Helper()
	var err error
	for end := time.Now().Add(15 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if err = f(); err == nil {
			return
		}
	}
	t.Fatalf("%s: %v", what, err)
}

func reaches(t *testing.T, ns, to string) {
	t.Helper()
	eventually(t, "ping", func() error { return ping(ns, to) })
}

func refused(t *testing.T, ns, to string) {
	t.Helper()
	if ping(ns, to) == nil {
		t.Errorf("%s reaches %s and should not", ns, to)
	}
}

// testCluster is two nodes, their VXLAN segment, and the file that stands for the API.
type testCluster struct {
	nodes [2]*testNode
	file  string
	state State
}

func (c *testCluster) write(t *testing.T) {
	t.Helper()
	data, err := json.Marshal(c.state)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(c.file, data, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, n := range c.nodes {
		if n.daemon != nil {
			if err := n.daemon.Process.Signal(syscall.SIGHUP); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func newCluster(t *testing.T, mode tables.Mode) *testCluster {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: network namespaces and Open vSwitch")
	}
	for _, program := range []string{"ovs-vswitchd", "ovsdb-server", "nft", "ethtool"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("needs %s: %v", program, err)
		}
	}
	prefix := fmt.Sprintf("sdnt%d%c", os.Getpid(), mode[0])
	bin := t.TempDir()
	must(t, "go", "build", "-mod=mod", "-o", bin+"/host-local", "github.com/containernetworking/plugins/plugins/ipam/host-local")
	c := &testCluster{file: filepath.Join(t.TempDir(), "state.json")}
	for i := range c.nodes {
		c.nodes[i] = newNode(t, prefix, i+1)
		c.state.HostSubnets = append(c.state.HostSubnets, &networkv1.HostSubnet{
			ObjectMeta: metav1.ObjectMeta{Name: c.nodes[i].name, UID: types.UID(c.nodes[i].name)},
			Host:       c.nodes[i].name, HostIP: c.nodes[i].ip.String(), Subnet: fmt.Sprintf("10.128.%d.0/23", 2*i),
		})
	}
	must(t, "ip", "-n", c.nodes[0].ns, "link", "add", "vtep0", "type", "veth", "peer", "name", "vtep0", "netns", c.nodes[1].ns)
	for name, id := range map[string]uint32{"default": 0, "red": 100, "blue": 200} {
		c.state.NetNamespaces = append(c.state.NetNamespaces, &networkv1.NetNamespace{NetName: name, NetID: id})
		c.state.Namespaces = append(c.state.Namespaces, &corev1.Namespace{
			ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"name": name}},
		})
	}
	c.write(t)
	for _, n := range c.nodes {
		if err := InstallCNI(n.dir+"/bin", n.dir+"/conf", []string{os.Args[0]}, n.dir+"/state"); err != nil {
			t.Fatal(err)
		}
		must(t, "cp", bin+"/host-local", n.dir+"/bin/")
		n.startDaemon(mode, c.file)
	}
	return c
}
