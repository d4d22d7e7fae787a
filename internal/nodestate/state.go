package nodestate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.zx2c4.com/wireguard/wgctrl"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/sdn-tunnel/sdn-tunnel/internal/svcproxy"
	"github.com/sdn-tunnel/sdn-tunnel/internal/tunnelns"
	"github.com/sdn-tunnel/sdn-tunnel/internal/wg"
)

// State is what there is. What could not be read is among the Errors, and the rest there.
type State struct {
	WireGuard *Device `json:"wireguard,omitempty"`
	// Links and Routes are those of the tunnel's namespace, NodeRoutes the node's own that
	// are marked as ours.
	Links      []Link   `json:"links,omitempty"`
	Routes     []string `json:"routes,omitempty"`
	NodeRoutes []string `json:"nodeRoutes,omitempty"`
	// Tables are the nftables tables of ours, as nft lists them.
	Tables map[string]string `json:"tables,omitempty"`
	// Flows are those of ours on the bridge.
	Flows  []string `json:"flows,omitempty"`
	Errors []string `json:"errors,omitempty"`
}

// Device is the WireGuard interface without its secrets.
type Device struct {
	Name       string `json:"name"`
	Type       string `json:"type"`
	PublicKey  string `json:"publicKey"`
	ListenPort int    `json:"listenPort"`
	Peers      []Peer `json:"peers"`
}

// Peer is a peer as WireGuard has it.
type Peer struct {
	PublicKey     string     `json:"publicKey"`
	Endpoint      string     `json:"endpoint,omitempty"`
	AllowedIPs    []string   `json:"allowedIPs"`
	Keepalive     string     `json:"keepalive"`
	LastHandshake *time.Time `json:"lastHandshake,omitempty"`
	Received      int64      `json:"receivedBytes"`
	Sent          int64      `json:"sentBytes"`
}

// Link is a network interface.
type Link struct {
	Name      string   `json:"name"`
	Type      string   `json:"type"`
	MTU       int      `json:"mtu"`
	Up        bool     `json:"up"`
	Addresses []string `json:"addresses,omitempty"`
	Received  uint64   `json:"receivedBytes"`
	Sent      uint64   `json:"sentBytes"`
	Dropped   uint64   `json:"droppedPackets"`
	Errors    uint64   `json:"errorPackets"`
}

// Options of Read.
type Options struct {
	// Namespace is the tunnel's, Node the node's own.
	Namespace, Node tunnelns.Namespace
	// Link is the WireGuard interface.
	Link string
	// Flows dumps the flows of ours; nil: there is no bridge to ask.
	Flows func(context.Context) (string, error)
}

// Default is what an agent makes.
func Default(flows func(context.Context) (string, error)) Options {
	return Options{Namespace: tunnelns.At(tunnelns.DefaultPath), Node: tunnelns.Own(), Link: wg.DefaultLink, Flows: flows}
}

const (
	// maxTable bounds what is taken of one table, in bytes.
	maxTable = 4 << 20
)

// Read reads all that can be read.
func Read(ctx context.Context, o Options) State {
	var s State
	try := func(what string, read func() error) {
		if err := read(); err != nil {
			s.Errors = append(s.Errors, fmt.Sprintf("%s: %v", what, err))
		}
	}
	try("WireGuard", func() (err error) {
		s.WireGuard, err = device(o.Namespace, o.Link)
		return err
	})
	try("links", func() (err error) {
		s.Links, err = links(o.Namespace)
		return err
	})
	try("routes", func() (err error) {
		s.Routes, err = routes(o.Namespace, false)
		return err
	})
	try("the node's routes", func() (err error) {
		s.NodeRoutes, err = routes(o.Node, true)
		return err
	})
	s.Tables = map[string]string{}
	for _, table := range []string{"inet " + tunnelns.Table, "ip " + svcproxy.Table} {
		try("table "+table, func() error {
			text, err := listTable(ctx, o.Namespace, table)
			if err == nil {
				s.Tables[table] = text
			}
			return err
		})
	}
	if o.Flows != nil {
		try("flows", func() error {
			text, err := o.Flows(ctx)
			s.Flows = slices.Collect(lines(text))
			return err
		})
	}
	return s
}

func lines(text string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for line := range strings.Lines(text) {
			if line = strings.TrimSpace(line); line != "" && !yield(line) {
				return
			}
		}
	}
}

func device(ns tunnelns.Namespace, link string) (d *Device, err error) {
	err = ns.Do(func() error {
		c, err := wgctrl.New()
		if err != nil {
			return fmt.Errorf("open WireGuard's control: %w", err)
		}
		defer c.Close()
		dev, err := c.Device(link)
		if err != nil {
			return fmt.Errorf("read %s: %w", link, err)
		}
		d = public(dev)
		return nil
	})
	return d, err
}

// public takes what anybody may know.
func public(dev *wgtypes.Device) *Device {
	d := &Device{Name: dev.Name, Type: dev.Type.String(), PublicKey: dev.PublicKey.String(), ListenPort: dev.ListenPort, Peers: []Peer{}}
	for _, p := range dev.Peers {
		peer := Peer{PublicKey: p.PublicKey.String(), AllowedIPs: []string{}, Keepalive: p.PersistentKeepaliveInterval.String(),
			Received: p.ReceiveBytes, Sent: p.TransmitBytes}
		if p.Endpoint != nil {
			peer.Endpoint = p.Endpoint.String()
		}
		if !p.LastHandshakeTime.IsZero() {
			at := p.LastHandshakeTime.UTC()
			peer.LastHandshake = &at
		}
		for _, ip := range p.AllowedIPs {
			peer.AllowedIPs = append(peer.AllowedIPs, ip.String())
		}
		d.Peers = append(d.Peers, peer)
	}
	return d
}

func links(ns tunnelns.Namespace) ([]Link, error) {
	h, err := ns.Netlink()
	if err != nil {
		return nil, err
	}
	defer h.Close()
	all, err := h.LinkList()
	if err != nil {
		return nil, fmt.Errorf("list links: %w", err)
	}
	var found []Link
	for _, l := range all {
		a := l.Attrs()
		link := Link{Name: a.Name, Type: l.Type(), MTU: a.MTU, Up: a.OperState == netlink.OperUp || a.RawFlags&1 != 0}
		if s := a.Statistics; s != nil {
			link.Received, link.Sent, link.Dropped, link.Errors = s.RxBytes, s.TxBytes, s.RxDropped+s.TxDropped, s.RxErrors+s.TxErrors
		}
		addresses, err := h.AddrList(l, netlink.FAMILY_ALL)
		if err != nil {
			return nil, fmt.Errorf("list addresses of %s: %w", a.Name, err)
		}
		for _, address := range addresses {
			link.Addresses = append(link.Addresses, address.IPNet.String())
		}
		found = append(found, link)
	}
	return found, nil
}

// routes lists those of all tables, ours or all of them.
func routes(ns tunnelns.Namespace, ours bool) ([]string, error) {
	h, err := ns.Netlink()
	if err != nil {
		return nil, err
	}
	defer h.Close()
	filter, mask := &netlink.Route{}, netlink.RT_FILTER_TABLE
	if ours {
		filter.Protocol, mask = tunnelns.RouteProtocol, mask|netlink.RT_FILTER_PROTOCOL
	}
	all, err := h.RouteListFiltered(netlink.FAMILY_ALL, filter, mask)
	if err != nil {
		return nil, fmt.Errorf("list routes: %w", err)
	}
	found := make([]string, 0, len(all))
	for _, r := range all {
		found = append(found, r.String())
	}
	slices.Sort(found)
	return found, nil
}

// listTable has nft list one table.
func listTable(ctx context.Context, ns tunnelns.Namespace, table string) (text string, err error) {
	err = ns.Do(func() error {
		cmd := exec.CommandContext(ctx, "nft", append([]string{"list", "table"}, strings.Fields(table)...)...)
		var stdout, stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		if err := cmd.Run(); err != nil {
			return errors.Join(err, errors.New(strings.TrimSpace(stderr.String())))
		}
		text = stdout.String()
		return nil
	})
	if len(text) > maxTable {
		text = text[:maxTable] + "\n... and more\n"
	}
	return text, err
}
