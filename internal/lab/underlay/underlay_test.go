package underlay

import (
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/sdn-tunnel/sdn-tunnel/internal/golden"
	"github.com/sdn-tunnel/sdn-tunnel/internal/lab/layout"
	"github.com/sdn-tunnel/sdn-tunnel/internal/nettest"
)

func plan(t *testing.T, name string) *layout.Lab {
	t.Helper()
	l, err := layout.New(layout.Config{Name: name, Clusters: 2, Nodes: 2, SDNMode: layout.ModeNetworkPolicy})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestRules(t *testing.T) {
	golden.Check(t, "two-clusters.nft", Rules(plan(t, "lab")))
}

// TestCreate lays the network of two clusters and tries what passes the router.
func TestCreate(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root to make network namespaces")
	}
	l := plan(t, "underlaytest")
	t.Cleanup(func() {
		if err := Remove(l.Name); err != nil {
			t.Error(err)
		}
	})
	if err := Create(l); err != nil {
		t.Fatal(err)
	}
	east, west := l.Clusters[0], l.Clusters[1]
	ping := func(from string, to netip.Addr) bool {
		return In(from, exec.Command("ping", "-c1", "-W1", to.String()).Run) == nil
	}
	for _, tc := range []struct {
		what, from string
		to         netip.Addr
		want       bool
	}{
		{"operator to a node", l.OperatorNS(), east.Nodes[0].Address, true},
		{"node to its neighbour", l.NodeNS(east.Nodes[0]), east.Nodes[1].Address, true},
		{"node to its control plane", l.NodeNS(west.Nodes[0]), west.ControlPlane, true},
		{"node to a node of the other cluster", l.NodeNS(east.Nodes[0]), west.Nodes[0].Address, false},
	} {
		if got := ping(tc.from, tc.to); got != tc.want {
			t.Errorf("%s: reached %v, want %v", tc.what, got, tc.want)
		}
	}
	podAddressIsDropped(t, l)
	routerKeepsItsAddress(t, l)
}

// routerKeepsItsAddress gives a segment a port with an Ethernet address below all others.
func routerKeepsItsAddress(t *testing.T, l *layout.Lab) {
	t.Helper()
	router, err := open(l.RouterNS())
	if err != nil {
		t.Fatal(err)
	}
	defer router.close()
	segment := "br-" + l.Clusters[0].Name
	before, err := router.LinkByName(segment)
	if err != nil {
		t.Fatal(err)
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MasterIndex, attrs.HardwareAddr = "lowest", before.Attrs().Index, net.HardwareAddr{0, 0, 0, 0, 0, 1}
	if err := router.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: "lowest0"}); err != nil {
		t.Fatal(err)
	}
	after, err := router.LinkByName(segment)
	if err != nil {
		t.Fatal(err)
	}
	if b, a := before.Attrs().HardwareAddr, after.Attrs().HardwareAddr; b.String() != a.String() {
		t.Errorf("the router's Ethernet address was %v and is %v after another machine has come", b, a)
	}
}

// podAddressIsDropped gives a node a pod's address and sends from it to the other
// cluster's VIPs, which are open to everyone else.
func podAddressIsDropped(t *testing.T, l *layout.Lab) {
	t.Helper()
	from := l.Clusters[0].Nodes[0]
	ns, err := open(l.NodeNS(from))
	if err != nil {
		t.Fatal(err)
	}
	defer ns.close()
	lo, err := ns.LinkByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	addr, err := netlink.ParseAddr(from.PodGateway().String() + "/32")
	if err != nil {
		t.Fatal(err)
	}
	if err := ns.AddrAdd(lo, addr); err != nil {
		t.Fatal(err)
	}
	// No answer is expected: the router's counter tells.
	_ = In(l.NodeNS(from), exec.Command("ping", "-c1", "-W1", "-I", from.PodGateway().String(), l.Clusters[1].VIPFirst.String()).Run)
	var out []byte
	cmd := exec.Command("nft", "list", "counter", "inet", "lab", "pod_addresses")
	if err := In(l.RouterNS(), func() (err error) { out, err = cmd.CombinedOutput(); return err }); err != nil {
		t.Fatalf("nft: %v: %s", err, out)
	}
	if !strings.Contains(string(out), "packets 1 ") {
		t.Errorf("the router did not count one packet with a pod address:\n%s", out)
	}
}

func TestRemoveNothing(t *testing.T) {
	if err := Remove("nosuchlab"); err != nil {
		t.Fatal(err)
	}
}

// TestOthersNamespaces: namespaces that others make while ours are there do not keep ours from
// being removed, nor ours theirs; and the folder is then as it was.
func TestOthersNamespaces(t *testing.T) {
	const alone = "SDN_TUNNEL_TEST_OTHERS_NAMESPACES"
	if os.Geteuid() != 0 {
		t.Skip("needs root to make network namespaces")
	}
	if os.Getenv(alone) == "" { // in mounts of its own, where nobody has a namespace yet
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("unshare", "--mount", "--propagation", "private",
			"sh", "-c", `mount -t tmpfs tmpfs /run && exec "$0" -test.run='^TestOthersNamespaces$'`, self)
		cmd.Env = append(os.Environ(), alone+"=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	const look = "ls /run /run/netns; cat /proc/self/mounts" // with mounts that /run covers
	nettest.Sh(t, "mkdir /run/netns")
	before := nettest.Sh(t, look)
	for _, others := range []bool{true, false} {
		if err := addNamespaces([]string{"underlaytest-1", "underlaytest-2"}); err != nil {
			t.Fatal(err)
		}
		if others {
			nettest.Sh(t, "ip netns add other && ip netns exec other true")
		}
		if err := Remove("underlaytest"); err != nil {
			t.Fatal(err)
		}
		if others {
			nettest.Sh(t, "ip netns exec other true && ip netns del other")
		}
	}
	if after := nettest.Sh(t, look); after != before {
		t.Errorf("it is\n%s\nand was\n%s", after, before)
	}
}
