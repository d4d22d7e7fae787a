package wg

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sdn-tunnel/sdn-tunnel/internal/mesh"
	"github.com/sdn-tunnel/sdn-tunnel/internal/tunnelns"
	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/wgctrl"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

// DefaultLink is the interface's name.
const DefaultLink = "sdntun-wg"

// Mode says which implementation of WireGuard to use.
type Mode string

// Modes.
const (
	Auto      Mode = "auto" // the kernel's, if it has one
	Kernel    Mode = "kernel"
	Userspace Mode = "userspace"
)

// What Implementation returns.
const (
	KernelWireGuard    = "wireguard"
	UserspaceWireGuard = "wireguard-userspace"
)

// Config is what a node's WireGuard interface is made from. Zero values give the
// defaults; the key has none.
type Config struct {
	Mode Mode
	Key  PrivateKey
	// Link is the interface's name. The userspace implementation's control socket
	// (/var/run/wireguard/<link>.sock) bears it too.
	Link string
	// Namespace holds the interface, Node its UDP socket.
	Namespace, Node tunnelns.Namespace
	// MTU is the tunnel's, asked at each Apply; 0: not measured yet.
	MTU      func() int
	Resolver Resolver
	Log      *slog.Logger
	// CheckPeers is how often Watch compares the peers with those wanted; of thousands,
	// more seldom. WireGuard announces no change of its peers, so this one thing has to be
	// looked at.
	CheckPeers time.Duration
}

// Part keeps a node's WireGuard interface.
type Part struct {
	cfg   Config
	names *names

	mu      sync.Mutex // one Apply, Peers or Remove at a time
	user    *userDevice
	wanted  mesh.DataPlane
	applied bool
	set     map[mesh.Key]netip.AddrPort // endpoints that this process set
	refs    map[mesh.Key]mesh.Ref
	ways    ways
	impl    string

	keepalive time.Duration // of every peer
}

// New checks the configuration; it touches nothing.
func New(c Config) (*Part, error) {
	switch c.Mode {
	case Auto, Kernel, Userspace:
	case "":
		c.Mode = Auto
	default:
		return nil, fmt.Errorf("WireGuard mode %q: want %s, %s or %s", c.Mode, Auto, Kernel, Userspace)
	}
	if c.Key.IsZero() {
		return nil, errors.New("WireGuard needs the node's private key")
	}
	if c.MTU == nil {
		return nil, errors.New("WireGuard needs somebody to ask for the tunnel's MTU")
	}
	if c.Link == "" {
		c.Link = DefaultLink
	}
	if c.Namespace == (tunnelns.Namespace{}) {
		c.Namespace = tunnelns.At(tunnelns.DefaultPath)
	}
	if c.Resolver == nil {
		c.Resolver = net.DefaultResolver
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.CheckPeers == 0 {
		c.CheckPeers = time.Second
	}
	return &Part{
		cfg: c, names: newNames(c.Resolver, c.Log),
		set: map[mesh.Key]netip.AddrPort{}, refs: map[mesh.Key]mesh.Ref{}, ways: ways{},
		keepalive: keepalive,
	}, nil
}

// Name is the part's name in logs and metrics.
func (*Part) Name() string { return "wireguard" }

// PublicKey is the node's.
func (p *Part) PublicKey() mesh.Key {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cfg.Key.Public()
}

// Rekey has the interface use another private key, at once, and calls every peer with it:
// one that knows the key already has a session within a round trip. What peers send in
// sessions with the former key still arrives. Without an interface the next Apply has it.
func (p *Part) Rekey(key PrivateKey) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cfg.Key = key
	if !p.applied {
		return nil
	}
	return p.device(func(c *wgctrl.Client, dev *wgtypes.Device) error {
		raw := key.raw()
		// WireGuard sends something at once to a peer whose keepalive is switched on.
		if err := c.ConfigureDevice(p.cfg.Link, wgtypes.Config{PrivateKey: &raw, Peers: keepalives(dev.Peers, 0)}); err != nil {
			return fmt.Errorf("set the private key of %s: %w", p.cfg.Link, err)
		}
		if err := c.ConfigureDevice(p.cfg.Link, wgtypes.Config{Peers: keepalives(dev.Peers, keepalive)}); err != nil {
			return fmt.Errorf("call the peers of %s: %w", p.cfg.Link, err)
		}
		return nil
	})
}

func keepalives(peers []wgtypes.Peer, every time.Duration) []wgtypes.PeerConfig {
	out := make([]wgtypes.PeerConfig, len(peers))
	for i, peer := range peers {
		out[i] = wgtypes.PeerConfig{PublicKey: peer.PublicKey, UpdateOnly: true, PersistentKeepaliveInterval: &every}
	}
	return out
}

// Implementation is KernelWireGuard or UserspaceWireGuard; empty before the first Apply.
func (p *Part) Implementation() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.impl
}

// Apply makes interface, peers and routes equal to dp. The namespace must be there.
func (p *Part) Apply(_ context.Context, dp mesh.DataPlane) ([]string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wanted = dp
	p.names.want(dp)
	mtu := p.cfg.MTU()
	if mtu == 0 {
		return nil, errors.New("the tunnel's MTU is not measured yet")
	}
	changes, err := p.syncDevice(mtu)
	if err != nil {
		return changes, err
	}
	for _, step := range []func() ([]string, error){
		func() ([]string, error) { return p.syncConfig(dp) },
		func() ([]string, error) { return p.syncLink(dp, mtu) },
	} {
		done, err := step()
		changes = append(changes, done...)
		if err != nil {
			return changes, err
		}
	}
	p.applied = true
	return changes, nil
}

// syncConfig sends the device what differs: key, port, and peers one by one.
func (p *Part) syncConfig(dp mesh.DataPlane) (changes []string, err error) {
	var stale []netip.AddrPort
	err = p.device(func(c *wgctrl.Client, dev *wgtypes.Device) error {
		var cfg wgtypes.Config
		if key := p.cfg.Key.raw(); dev.PrivateKey != key {
			cfg.PrivateKey = &key
			changes = append(changes, "private key set")
		}
		if port := int(dp.ListenPort); dev.ListenPort != port {
			if err := p.checkPort(port); err != nil {
				return err
			}
			cfg.ListenPort = &port
			changes = append(changes, fmt.Sprintf("listen port %d set", port))
		}
		wanted, now := p.resolved(dp), time.Now()
		p.ways.changed(otherWay(wanted, dev.Peers, cfg.ListenPort != nil), now)
		p.ways.look(wanted, dev.Peers, now)
		stale = p.ways.due(wanted, now)
		var lines []string
		cfg.Peers, lines = diff(wanted, dev.Peers)
		if changes = append(changes, lines...); len(changes) == 0 {
			p.remember(wanted)
			return nil
		}
		if err := c.ConfigureDevice(p.cfg.Link, cfg); err != nil {
			return p.explain(fmt.Errorf("configure %s: %w", p.cfg.Link, err), dp.ListenPort)
		}
		p.remember(wanted)
		return nil
	})
	p.forget(stale)
	return changes, err
}

// resolved adds to the peers where they are at the moment.
func (p *Part) resolved(dp mesh.DataPlane) []want {
	ws := make([]want, len(dp.Peers))
	carried := slices.Concat(dp.Remote, dp.RemoteService, dp.RemoteTunnel)
	for i, peer := range dp.Peers {
		e := p.names.addrPort(peer.Ref.Cluster, peer.Endpoint)
		before, known := p.set[peer.PublicKey]
		ws[i] = want{Peer: peer, endpoint: e, moved: known && before != e, keepalive: p.keepalive, carried: carried}
	}
	return ws
}

// remember keeps what was set. A peer whose new name is not resolved yet still has the
// endpoint that it had, so that what the name leads to is then known to be another one.
func (p *Part) remember(ws []want) {
	before := maps.Clone(p.set)
	clear(p.set)
	clear(p.refs)
	for _, w := range ws {
		p.refs[w.PublicKey] = w.Ref
		e := w.endpoint
		if !e.IsValid() {
			e = before[w.PublicKey]
		}
		if e.IsValid() {
			p.set[w.PublicKey] = e
		}
	}
}

// device runs fn in the namespace with a control client and the device's state.
func (p *Part) device(fn func(*wgctrl.Client, *wgtypes.Device) error) error {
	return p.cfg.Namespace.Do(func() error {
		c, err := wgctrl.New()
		if err != nil {
			return fmt.Errorf("open WireGuard's control: %w", err)
		}
		defer c.Close()
		dev, err := c.Device(p.cfg.Link)
		if err != nil {
			return fmt.Errorf("read %s: %w", p.cfg.Link, err)
		}
		return fn(c, dev)
	})
}

// checkPort tells in plain words that somebody else has the port, before anything is
// changed.
func (p *Part) checkPort(port int) error {
	return p.cfg.Node.Do(func() error {
		conn, err := net.ListenUDP("udp", &net.UDPAddr{Port: port})
		if err != nil {
			return p.explain(fmt.Errorf("listen on UDP port %d: %w", port, err), uint16(port))
		}
		return conn.Close()
	})
}

func (p *Part) explain(err error, port uint16) error {
	if !portTaken(err) {
		return err
	}
	return fmt.Errorf("UDP port %d of the node is taken by another program; find it with `ss -lunp sport = :%d` and stop it, or choose another tunnel_port: %w", port, port, err)
}

// portTaken tells whether the cable could not open its port. Userspace WireGuard answers
// with the number of the error, which wgctrl gives as text only.
func portTaken(err error) bool {
	return errors.Is(err, unix.EADDRINUSE) || strings.HasSuffix(err.Error(), fmt.Sprintf("errno=%d", -int(unix.EADDRINUSE)))
}
