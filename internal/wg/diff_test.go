package wg

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sdn-tunnel/sdn-tunnel/internal/mesh"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

var now = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// a wanted peer: its number is its key.
func peer(n byte, endpoint string, allowed ...string) want {
	w := want{keepalive: keepalive, Peer: mesh.Peer{Ref: mesh.Ref{Cluster: "c", Node: fmt.Sprint("n", n)}, PublicKey: mesh.Key{n}}}
	if endpoint != "" {
		w.endpoint = netip.MustParseAddrPort(endpoint)
	}
	for _, p := range allowed {
		w.AllowedIPs = append(w.AllowedIPs, netip.MustParsePrefix(p))
	}
	return w
}

func (w want) movedNow() want { w.moved = true; return w }

func (w want) gone() want { w.astray = true; return w }

func (w want) over(carried ...string) want {
	for _, p := range carried {
		w.carried = append(w.carried, netip.MustParsePrefix(p))
	}
	return w
}

// there is that peer as the device has it, heard from so long ago (0: never).
func there(w want, heard time.Duration) wgtypes.Peer {
	p := wgtypes.Peer{
		PublicKey: wgtypes.Key(w.PublicKey), Endpoint: udpAddr(w.endpoint),
		PersistentKeepaliveInterval: keepalive, AllowedIPs: ipNets(w.AllowedIPs),
	}
	if heard > 0 {
		p.LastHandshakeTime = now.Add(-heard)
	}
	return p
}

// message is a peer's configuration, much as `wg set` takes it.
func message(c wgtypes.PeerConfig) string {
	words := []string{fmt.Sprint("n", c.PublicKey[0])}
	add := func(cond bool, format string, args ...any) {
		if cond {
			words = append(words, fmt.Sprintf(format, args...))
		}
	}
	add(!c.UpdateOnly, "new")
	add(c.Remove, "remove")
	add(c.Endpoint != nil, "endpoint %v", c.Endpoint)
	add(c.PersistentKeepaliveInterval != nil, "keepalive")
	add(c.ReplaceAllowedIPs, "replace")
	for _, n := range c.AllowedIPs {
		words = append(words, n.String())
	}
	return strings.Join(words, " ")
}

const (
	at1, at2, at3 = "192.0.2.1:5555", "192.0.2.2:5555", "192.0.2.3:5555"
	netX, netY    = "10.128.0.0/23", "10.128.2.0/23"
	netZ          = "10.128.4.0/23"
)

func TestDiff(t *testing.T) {
	noKeepalive := there(peer(1, at1, netX), time.Minute)
	noKeepalive.PersistentKeepaliveInterval = 0
	mapped := there(peer(1, at1, netX), time.Minute)
	mapped.Endpoint = &net.UDPAddr{IP: net.ParseIP("::ffff:192.0.2.1"), Port: 5555}
	tests := []struct {
		name   string
		wanted []want
		have   []wgtypes.Peer
		send   []string
	}{
		{"nothing wanted, nothing there", nil, nil, nil},
		{"the same", []want{peer(1, at1, netX, netY)}, []wgtypes.Peer{there(peer(1, at1, netY, netX), time.Minute)}, nil},
		{"the same, its endpoint in another form", []want{peer(1, at1, netX)}, []wgtypes.Peer{mapped}, nil},
		{"a new peer", []want{peer(1, at1, netX)}, nil, []string{"n1 new endpoint " + at1 + " keepalive " + netX}},
		{"a new peer that is nowhere yet", []want{peer(1, "", netX)}, nil, []string{"n1 new keepalive " + netX}},
		{
			"only the changed one of three",
			[]want{peer(1, at1, netX), peer(2, at2, netY, netZ), peer(3, at3)},
			[]wgtypes.Peer{there(peer(1, at1, netX), time.Minute), there(peer(2, at2, netY), time.Minute), there(peer(3, at3), time.Minute)},
			[]string{"n2 " + netZ},
		},
		{
			"removed peers, in a stable order",
			[]want{peer(1, at1, netX)},
			[]wgtypes.Peer{there(peer(3, at3), time.Minute), there(peer(1, at1, netX), time.Minute), there(peer(2, at2, netY), time.Minute)},
			[]string{"n2 remove", "n3 remove"},
		},
		{
			"an allowed IP lost to nobody is taken away",
			[]want{peer(1, at1, netX)},
			[]wgtypes.Peer{there(peer(1, at1, netX, netY), time.Minute)},
			[]string{"n1 replace " + netX},
		},
		{
			"an allowed IP that moves: the gainer alone is told",
			[]want{peer(1, at1, netX), peer(2, at2, netY)},
			[]wgtypes.Peer{there(peer(1, at1, netX, netY), time.Minute), there(peer(2, at2), time.Minute)},
			[]string{"n2 " + netY},
		},
		{
			"two swap",
			[]want{peer(1, at1, netY), peer(2, at2, netX)},
			[]wgtypes.Peer{there(peer(1, at1, netX), time.Minute), there(peer(2, at2, netY), time.Minute)},
			[]string{"n1 " + netY, "n2 " + netX},
		},
		{
			"who gains comes before who loses",
			[]want{peer(1, at1), peer(2, at2, netY)},
			[]wgtypes.Peer{there(peer(1, at1, netX, netY), time.Minute), there(peer(2, at2), time.Minute)},
			[]string{"n2 " + netY, "n1 replace"},
		},
		{
			"from a peer that goes to a new one: taken over before the old one is removed",
			[]want{peer(2, at2, netX)},
			[]wgtypes.Peer{there(peer(1, at1, netX), time.Minute)},
			[]string{"n2 new endpoint " + at2 + " keepalive " + netX, "n1 remove"},
		},
		{
			"a new endpoint",
			[]want{peer(1, at2, netX).movedNow()},
			[]wgtypes.Peer{there(peer(1, at1, netX), time.Second)},
			[]string{"n1 endpoint " + at2},
		},
		{
			"no endpoint yet",
			[]want{peer(1, at1, netX)},
			[]wgtypes.Peer{there(peer(1, "", netX), 0)},
			[]string{"n1 endpoint " + at1},
		},
		{
			"roamed and alive: left where it is",
			[]want{peer(1, at1, netX)},
			[]wgtypes.Peer{there(peer(1, at2, netX), time.Second)}, nil,
		},
		{
			"roamed and gone astray: called back",
			[]want{peer(1, at1, netX).gone()},
			[]wgtypes.Peer{there(peer(1, at2, netX), time.Second)},
			[]string{"n1 endpoint " + at1},
		},
		{"astray, but where it is wanted", []want{peer(1, at1, netX).gone()}, []wgtypes.Peer{there(peer(1, at1, netX), time.Second)}, nil},
		{
			"roamed into a network behind the tunnel: called back",
			[]want{peer(1, at1, netX).over(netZ, netX)},
			[]wgtypes.Peer{there(peer(1, "10.128.0.1:5555", netX), time.Second)},
			[]string{"n1 endpoint " + at1},
		},
		{
			"roamed to just outside of it",
			[]want{peer(1, at1, netX).over(netX)},
			[]wgtypes.Peer{there(peer(1, "10.128.2.0:5555", netX), time.Second)}, nil,
		},
		{
			"roamed, changed otherwise: the endpoint is left out",
			[]want{peer(1, at1, netX, netY)},
			[]wgtypes.Peer{there(peer(1, at2, netX), time.Second)},
			[]string{"n1 " + netY},
		},
		{
			"not resolved: what is known stays",
			[]want{peer(1, "", netX).movedNow()},
			[]wgtypes.Peer{there(peer(1, at1, netX), 0)}, nil,
		},
		{"keepalive", []want{peer(1, at1, netX)}, []wgtypes.Peer{noKeepalive}, []string{"n1 keepalive"}},
		{
			"IPv6",
			[]want{peer(1, "[2001:db8::1]:5555", "fd00::/64", netX)},
			[]wgtypes.Peer{there(peer(1, "[2001:db8::1]:5555", "fd00::/64"), time.Second)},
			[]string{"n1 " + netX},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfgs, lines := diff(tt.wanted, tt.have)
			var send []string
			for _, c := range cfgs {
				send = append(send, message(c))
			}
			if !slices.Equal(send, tt.send) {
				t.Errorf("sent\n%s\nwant\n%s", strings.Join(send, "\n"), strings.Join(tt.send, "\n"))
			}
			if len(lines) != len(cfgs) {
				t.Errorf("%d messages, but lines %q", len(cfgs), lines)
			}
		})
	}
}

// TestMovedEndpoint: an endpoint is "moved" against what this process set, also where
// the name that it goes by now was not resolved at first.
func TestMovedEndpoint(t *testing.T) {
	p, err := New(Config{MTU: func() int { return 1440 }, Key: newKey(t)})
	if err != nil {
		t.Fatal(err)
	}
	key := mesh.Key{1}
	at := func(host string) mesh.DataPlane {
		dp := mesh.DataPlane{Peers: []mesh.Peer{{PublicKey: key, Endpoint: mesh.Endpoint{Host: host, Port: 5555}}}}
		p.names.want(dp)
		return dp
	}
	step := func(name string, dp mesh.DataPlane, moved bool) {
		t.Helper()
		ws := p.resolved(dp)
		if ws[0].moved && !ws[0].endpoint.IsValid() {
			return // nothing to send
		}
		if ws[0].moved != moved {
			t.Errorf("%s: moved %v", name, ws[0].moved)
		}
		p.remember(ws)
	}
	step("first", at("192.0.2.1"), false)
	step("again", at("192.0.2.1"), false)
	step("another", at("192.0.2.2"), true)
	step("another, again", at("192.0.2.2"), false)
	dp := at("peer.example")
	p.remember(p.resolved(dp)) // not resolved yet
	p.names.clusters[""].addrs["peer.example"] = netip.MustParseAddr("192.0.2.3")
	step("resolved", dp, true)
	p.remember(nil) // no peer any more
	if len(p.set) != 0 {
		t.Errorf("still known: %v", p.set)
	}
}
