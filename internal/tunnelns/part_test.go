package tunnelns

import (
	"net/netip"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/sdn-tunnel/sdn-tunnel/internal/golden"
	"github.com/sdn-tunnel/sdn-tunnel/internal/mesh"
	"github.com/sdn-tunnel/sdn-tunnel/internal/nettest"
)

// newPart is a part on a node that has an underlay of 1500 bytes and pods of 1450.
func newPart(t *testing.T) *Part {
	t.Helper()
	node := newNamespace(t, "n")
	nettest.Sh(t, "ip -n %[1]s link add eth0 type veth peer name eth1 && ip -n %[1]s link set eth0 up && ip -n %[1]s link set eth1 up && ip -n %[1]s addr add 198.51.100.1/24 dev eth0 && "+
		"ip -n %[1]s route add default via 198.51.100.254 && ip -n %[1]s link add tun0 mtu 1450 type bridge", name(node))
	p, err := New(Config{Namespace: unnamed(t, "t"), Node: node})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.cfg.Namespace.Remove(); err != nil {
			t.Error(err)
		}
	})
	return p
}

func plan() mesh.DataPlane {
	return mesh.DataPlane{
		ListenPort: 5555, TunnelAddress: netip.MustParseAddr("100.127.1.1"),
		Local:        []netip.Prefix{netip.MustParsePrefix("10.129.0.0/23")},
		LocalPods:    []netip.Prefix{netip.MustParsePrefix("10.128.0.0/14")},
		Remote:       []netip.Prefix{netip.MustParsePrefix("10.132.0.0/23")},
		RemoteTunnel: []netip.Prefix{netip.MustParsePrefix("100.127.2.1/32")},
	}
}

func apply(t *testing.T, p *Part, dp mesh.DataPlane) []string {
	t.Helper()
	changes, err := p.Apply(t.Context(), dp)
	if err != nil {
		t.Fatal(err)
	}
	return changes
}

// state is all that the part makes in a namespace, as the usual programs show it, without
// what the kernel does later in its own time: carrier and link-local addresses.
func state(t *testing.T, n Namespace) string {
	t.Helper()
	in := "nsenter --net=" + n.path
	return nettest.Sh(t, `%[1]s sh -c '
echo "# links"; ip -o link | cut -d" " -f2- | sed "s/ qlen [0-9]*//; s/\\ */ /; s/ state [A-Z]*//; s/,LOWER_UP//; s/NO-CARRIER,//; s/,M-DOWN//"
echo "# addresses"; ip -br addr | awk "{ \$2 = \"\"; print }" | sed "s/ fe80::[^ ]*//; s/  */ /g; s/ $//"
echo "# routes"; ip route; ip -6 route | grep -v fe80
echo "# neighbours"; ip neigh show nud permanent
echo "# nftables"; nft list ruleset
echo "# sysctls"
cd /proc/sys/net; grep -H . ipv4/ip_forward ipv4/conf/*/send_redirects ipv4/conf/*/rp_filter ipv6/conf/*/forwarding ipv6/conf/*/disable_ipv6
'`, in)
}

// stable takes out what differs from run to run.
func stable(s string) string {
	s = regexp.MustCompile(`link/ether [0-9a-f:]+ brd`).ReplaceAllStringFunc(s, func(m string) string {
		if strings.Contains(m, InsideMAC.String()) {
			return m
		}
		return "link/ether MAC brd"
	})
	s = regexp.MustCompile(`link-netns \S+`).ReplaceAllString(s, "link-netns NS")
	s = regexp.MustCompile(`@if\d+`).ReplaceAllString(s, "@peer")
	return s
}

func TestApplyAndRemove(t *testing.T) {
	p := newPart(t)
	before := state(t, p.cfg.Node)
	names := nettest.Sh(t, "ls /run/netns | grep 'sdntest-%dn'", os.Getpid())
	if changes := apply(t, p, plan()); len(changes) == 0 {
		t.Error("no change told")
	}
	applied := state(t, p.cfg.Namespace)
	golden.Check(t, "namespace.txt", stable(applied))
	if again := apply(t, p, plan()); len(again) > 0 {
		t.Errorf("second Apply changed: %q", again)
	}
	next, err := New(p.cfg)
	if err != nil {
		t.Fatal(err)
	}
	if again := apply(t, next, plan()); len(again) > 0 {
		t.Errorf("the next process's first Apply changed: %q", again)
	}
	if now := state(t, p.cfg.Namespace); now != applied {
		t.Errorf("state is\n%s\nwas\n%s", now, applied)
	}
	for range 2 {
		if err := next.Remove(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if after := state(t, p.cfg.Node); after != before {
		t.Errorf("after Remove the node has\n%s\nbefore Apply it had\n%s", after, before)
	}
	if left := nettest.Sh(t, "ls /run/netns | grep 'sdntest-%dn'", os.Getpid()); left != names {
		t.Errorf("namespaces are\n%s\nwere\n%s", left, names)
	}
}

// TestDrift breaks things by hand; one Apply brings them back, the next does nothing.
func TestDrift(t *testing.T) {
	p := newPart(t)
	apply(t, p, plan())
	whole := stable(state(t, p.cfg.Namespace))
	ns, node, id := "ip -n "+name(p.cfg.Namespace), "ip -n "+name(p.cfg.Node), name(p.cfg.Namespace)
	nft := "nsenter --net=" + p.cfg.Namespace.path + " nft "
	for _, breakIt := range []string{
		"ip netns del " + id,
		node + " link del sdntun1",
		ns + " link set sdntun0 down",
		ns + " link set sdntun0 mtu 1400",
		ns + " link set sdntun0 arp on",
		ns + " link set sdntun0 address 02:00:00:00:00:01",
		ns + " addr flush dev lo scope global",
		ns + " addr add 100.127.9.9/32 dev lo",
		ns + " route del 10.129.0.0/23",
		ns + " route add 10.140.0.0/16 dev sdntun0 proto 133",
		ns + " route replace 10.129.0.0/23 dev sdntun0 proto 133 mtu 1000 scope link",
		"nsenter --net=" + p.cfg.Namespace.path + " sh -c 'echo 0 > /proc/sys/net/ipv4/ip_forward'",
		nft + "flush ruleset",
		nft + "flush chain inet sdn-tunnel mss-clamp",
		nft + "add rule inet sdn-tunnel mss-clamp drop",
		nft + "add chain inet sdn-tunnel other",
		// The clamp edited, its comment kept.
		nft + `'flush chain inet sdn-tunnel mss-clamp; add rule inet sdn-tunnel mss-clamp tcp flags & (syn|rst) == syn tcp option maxseg size set 500 comment "` + clampMark + `"'`,
		nft + "'delete chain inet sdn-tunnel mss-clamp; add chain inet sdn-tunnel mss-clamp { type filter hook input priority 0; }'",
	} {
		nettest.Sh(t, "%s", breakIt)
		if changes := apply(t, p, plan()); len(changes) == 0 {
			t.Errorf("%s: not noticed", breakIt)
		}
		if now := stable(state(t, p.cfg.Namespace)); now != whole {
			t.Errorf("%s: state is\n%s\nwant\n%s", breakIt, now, whole)
		}
		if again := apply(t, p, plan()); len(again) > 0 {
			t.Errorf("%s: second Apply changed: %q", breakIt, again)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	for _, c := range []Config{
		{Namespace: At("/run/netns/x"), Node: At("/run/netns/x")},
		{Inside: "a-name-of-16-byte"},
		{Outside: "a-name-of-16-byte"},
	} {
		if _, err := New(c); err == nil {
			t.Errorf("%+v accepted", c)
		}
	}
}
