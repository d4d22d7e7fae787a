package wg

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sdn-tunnel/sdn-tunnel/internal/mesh"
	"github.com/sdn-tunnel/sdn-tunnel/internal/nettest"
	"github.com/sdn-tunnel/sdn-tunnel/internal/tunnelns"
)

// testNode is one node of a test: a namespace of its own for the node and a tunnel
// namespace for its data plane, under names that no other run has.
type testNode struct {
	id         string
	node       tunnelns.Namespace
	ns         *tunnelns.Part
	wg         *Part
	tunnel     tunnelns.Namespace
	underlay   string
	local      netip.Prefix
	tunnelAddr netip.Addr
}

// in runs a command in a namespace.
func in(ns tunnelns.Namespace, format string, args ...any) (string, error) {
	out, err := exec.Command("nsenter", "--net="+ns.Path(), "sh", "-c", fmt.Sprintf(format, args...)).CombinedOutput()
	return string(out), err
}

func newNode(t testing.TB, dir string, n int) *testNode {
	t.Helper()
	id := fmt.Sprintf("%dw%d", os.Getpid(), n)
	x := &testNode{
		id: id, node: tunnelns.At("/run/netns/sdntest-" + id), tunnel: tunnelns.At(filepath.Join(dir, fmt.Sprintf("netns%d", n), "t")),
		underlay: fmt.Sprintf("192.0.2.%d", n), local: netip.MustParsePrefix(fmt.Sprintf("10.%d.0.0/16", 128+n)),
		tunnelAddr: netip.MustParseAddr(fmt.Sprintf("100.127.%d.1", n)),
	}
	nettest.Sh(t, "ip netns add sdntest-%s", id)
	t.Cleanup(func() { nettest.Sh(t, "ip netns del sdntest-%s", id) })
	key, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	if x.ns, err = tunnelns.New(tunnelns.Config{Namespace: x.tunnel, Node: x.node}); err != nil {
		t.Fatal(err)
	}
	x.wg, err = New(Config{
		Mode: Userspace, Key: key, Link: "t" + id, Namespace: x.tunnel, Node: x.node, CheckPeers: 100 * time.Millisecond,
		MTU: func() int { return x.ns.MTU().Tunnel },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := x.wg.Remove(context.Background()); err != nil {
			t.Error(err)
		}
		if err := x.ns.Remove(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return x
}

func (x *testNode) plan(peer *testNode) mesh.DataPlane {
	return mesh.DataPlane{
		ListenPort: 5555, TunnelAddress: x.tunnelAddr,
		Local: []netip.Prefix{x.local}, LocalPods: []netip.Prefix{x.local},
		Remote:       []netip.Prefix{peer.local},
		RemoteTunnel: []netip.Prefix{netip.PrefixFrom(peer.tunnelAddr, 32)},
		Peers: []mesh.Peer{{
			Ref: mesh.Ref{Cluster: "c" + peer.id, Node: "n"}, PublicKey: peer.wg.PublicKey(),
			Endpoint:   mesh.Endpoint{Host: peer.underlay, Port: 5555},
			AllowedIPs: []netip.Prefix{peer.local, netip.PrefixFrom(peer.tunnelAddr, 32)},
		}},
	}
}

func (x *testNode) apply(t *testing.T, dp mesh.DataPlane) []string {
	t.Helper()
	a, err := x.ns.Apply(t.Context(), dp)
	if err != nil {
		t.Fatal(err)
	}
	b, err := x.wg.Apply(t.Context(), dp)
	if err != nil {
		t.Fatal(err)
	}
	return append(a, b...)
}

func pair(t *testing.T) (a, b *testNode) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: makes network namespaces")
	}
	dir := t.TempDir()
	a, b = newNode(t, dir, 1), newNode(t, dir, 2)
	nettest.Sh(t, "ip -n sdntest-%s link add u type veth peer name u netns sdntest-%s", a.id, b.id)
	for _, x := range []*testNode{a, b} {
		nettest.Sh(t, "ip -n sdntest-%s addr add %s/24 dev u && ip -n sdntest-%s link set u up && ip -n sdntest-%s link set lo up", x.id, x.underlay, x.id, x.id)
	}
	return a, b
}

func TestTwoNodes(t *testing.T) {
	a, b := pair(t)
	for i, x := range []*testNode{a, b} {
		peer := []*testNode{b, a}[i]
		for _, line := range x.apply(t, x.plan(peer)) {
			t.Log(x.id, line)
		}
		if again := x.apply(t, x.plan(peer)); len(again) > 0 {
			t.Errorf("second Apply changed: %v", again)
		}
	}
	if out, err := in(a.tunnel, "ping -c 3 -i 0.2 -W 3 %s", b.tunnelAddr); err != nil {
		t.Fatalf("ping: %v\n%s", err, out)
	}
	exchange(t, a, b)
	states, err := a.wg.Peers(t.Context())
	if err != nil || len(states) != 1 || !states[0].Up(time.Now()) || states[0].RxBytes == 0 {
		t.Errorf("peers %+v, %v", states, err)
	}
	repaired(t, a, a.plan(b), "ip route del %s", b.local)
	repaired(t, a, a.plan(b), "ip link set %s down", a.wg.cfg.Link)
	repaired(t, a, a.plan(b), "ip link del %s", a.wg.cfg.Link)
	repaired(t, a, a.plan(b), "ip addr del %s/32 dev lo", a.tunnelAddr)
	repaired(t, a, a.plan(b), "nft delete table inet sdn-tunnel")
	repaired(t, a, a.plan(b), "ip link del sdntun0")
	repaired(t, a, a.plan(b), "wg set %s peer %s remove", a.wg.cfg.Link, b.wg.PublicKey())
	if out, err := in(a.tunnel, "ping -c 3 -i 0.2 -W 6 %s", b.tunnelAddr); err != nil {
		t.Fatalf("ping after repairs: %v\n%s", err, out)
	}
}

// exchange sends a megabyte over TCP between the tunnel addresses.
func exchange(t *testing.T, a, b *testNode) {
	t.Helper()
	var l net.Listener
	err := b.tunnel.Do(func() (err error) {
		l, err = net.Listen("tcp", net.JoinHostPort(b.tunnelAddr.String(), "9000"))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	got := make(chan int64, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		n, _ := io.Copy(io.Discard, c)
		got <- n
	}()
	out, err := in(a.tunnel, "head -c 1048576 /dev/zero | socat -u - TCP:%s:9000", b.tunnelAddr)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if n := <-got; n != 1<<20 {
		t.Errorf("%d bytes arrived", n)
	}
}

// repaired breaks something by hand and drives Apply by the parts' own notifications.
func repaired(t *testing.T, x *testNode, dp mesh.DataPlane, format string, args ...any) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	events := make(chan struct{}, 1)
	notify := func() {
		select {
		case events <- struct{}{}:
		default:
		}
	}
	done := make(chan error, 2)
	go func() { done <- x.ns.Watch(ctx, notify) }()
	go func() { done <- x.wg.Watch(ctx, notify) }()
	defer func() {
		cancel()
		for range 2 {
			if err := <-done; err != nil {
				t.Errorf("watch: %v", err)
			}
		}
	}()
	time.Sleep(300 * time.Millisecond)
	select {
	case <-events: // the watches' first call
	default:
	}
	what := fmt.Sprintf(format, args...)
	if out, err := in(x.tunnel, "%s", what); err != nil {
		t.Fatalf("%s: %v\n%s", what, err, out)
	}
	start := time.Now()
	for time.Since(start) < 30*time.Second {
		select {
		case <-events:
			if lines := x.apply(t, dp); len(lines) > 0 {
				t.Logf("%s: repaired in %v: %s", what, time.Since(start).Round(time.Millisecond), strings.Join(lines, "; "))
				return
			}
		case <-time.After(100 * time.Millisecond):
		}
	}
	t.Errorf("%s: not repaired in 30 s", what)
}

func TestPortTaken(t *testing.T) {
	a, b := pair(t)
	var c net.PacketConn
	if err := a.node.Do(func() (err error) { c, err = net.ListenPacket("udp", ":5555"); return err }); err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := a.ns.Apply(t.Context(), a.plan(b)); err != nil {
		t.Fatal(err)
	}
	_, err := a.wg.Apply(t.Context(), a.plan(b))
	if err == nil || !strings.Contains(err.Error(), "UDP port 5555") || !strings.Contains(err.Error(), "tunnel_port") {
		t.Fatalf("want an error that names port and remedy, got %v", err)
	}
	t.Log(err)
}
