package nodepath

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"

	"github.com/sdn-tunnel/sdn-tunnel/internal/mesh"
	"github.com/sdn-tunnel/sdn-tunnel/internal/tunnelns"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Config says by which link the node reaches its pods. Zero values give the defaults.
type Config struct {
	Node tunnelns.Namespace // default: the process's own
	Link string             // default: tun0
	// NextHop is the hardware address of the tunnel's end of the pair.
	NextHop net.HardwareAddr // default: tunnelns.InsideMAC
	// MTU is the tunnel's, asked at each Apply; 0: not measured yet.
	MTU func() int
	Log *slog.Logger
}

// Part keeps the node's routes and the neighbour that they lead by.
type Part struct{ cfg Config }

// New checks the configuration; it touches nothing.
func New(c Config) (*Part, error) {
	if c.Link == "" {
		c.Link = tunnelns.DefaultPodLink
	}
	if c.NextHop == nil {
		c.NextHop = tunnelns.InsideMAC
	}
	if len(c.NextHop) != 6 {
		return nil, fmt.Errorf("hardware address %q of the next hop: want 6 bytes", c.NextHop)
	}
	if c.MTU == nil {
		return nil, errors.New("routes of the node need somebody to ask for the tunnel's MTU")
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &Part{cfg: c}, nil
}

// Name is the part's name in logs and metrics.
func (*Part) Name() string { return "node" }

// Apply makes the node's way to the remote pods equal to dp. Without a tunnel address
// there is none, and what was there is taken away.
func (p *Part) Apply(_ context.Context, dp mesh.DataPlane) ([]string, error) {
	mtu := p.cfg.MTU()
	if mtu == 0 {
		return nil, errors.New("the tunnel's MTU is not measured yet")
	}
	h, err := p.cfg.Node.Netlink()
	if err != nil {
		return nil, err
	}
	defer h.Close()
	gw, err := findGateway(h, p.cfg.Link, dp.Local)
	if err != nil && len(dp.Local) == 0 {
		gone, cleared := p.clear(h)
		return gone, errors.Join(err, cleared)
	}
	if err != nil {
		return nil, err
	}
	if gw.Link.Attrs().Flags&net.FlagUp == 0 {
		return nil, fmt.Errorf("link %s is down; set it up: %w", p.cfg.Link, ErrNoGateway)
	}
	changes, err := p.syncNeighbour(h, gw.Link, dp.TunnelAddress)
	if err != nil {
		return changes, err
	}
	routed, err := tunnelns.SyncRoutes(h, gw.Link, routes(dp, gw, mtu))
	return append(changes, routed...), err
}

// clear takes routes and neighbour away from the gateway link; without the link there are
// none.
func (p *Part) clear(h *netlink.Handle) ([]string, error) {
	link, err := h.LinkByName(p.cfg.Link)
	if errors.As(err, new(netlink.LinkNotFoundError)) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("find link %s: %w", p.cfg.Link, err)
	}
	changes, err := p.syncNeighbour(h, link, netip.Addr{})
	if err != nil {
		return changes, err
	}
	gone, err := tunnelns.SyncRoutes(h, link, nil)
	return append(changes, gone...), err
}

// routes lead by the tunnel address, which is on no link of the node: onlink. Their MTU
// is the tunnel's, so that the node need not learn it from errors.
func routes(dp mesh.DataPlane, gw Gateway, mtu int) []tunnelns.Route {
	if !dp.TunnelAddress.Is4() {
		return nil
	}
	var rs []tunnelns.Route
	for _, dst := range slices.Concat(dp.Remote, dp.RemoteService) {
		if dst.Addr().Is4() {
			rs = append(rs, tunnelns.Route{
				Dst: dst, Via: dp.TunnelAddress, Source: gw.Address, MTU: min(mtu, gw.Link.Attrs().MTU),
			})
		}
	}
	return rs
}

// syncNeighbour keeps the one permanent neighbour of ours, known by its hardware address.
func (p *Part) syncNeighbour(h *netlink.Handle, link netlink.Link, want netip.Addr) (changes []string, err error) {
	list, err := p.neighbours(h, link)
	if err != nil {
		return nil, err
	}
	there := false
	for _, n := range list {
		ip, _ := netip.AddrFromSlice(n.IP.To4())
		if ip == want {
			there = true
			continue
		}
		if err := h.NeighDel(&n); err != nil && !errors.Is(err, unix.ENOENT) {
			return changes, fmt.Errorf("delete neighbour %v of %s: %w", ip, p.cfg.Link, err)
		}
		changes = append(changes, fmt.Sprintf("neighbour %v dev %s deleted", ip, p.cfg.Link))
	}
	if there || !want.Is4() {
		return changes, nil
	}
	err = h.NeighSet(&netlink.Neigh{
		LinkIndex: link.Attrs().Index, Family: netlink.FAMILY_V4, State: netlink.NUD_PERMANENT,
		IP: want.AsSlice(), HardwareAddr: p.cfg.NextHop,
	})
	if err != nil {
		return changes, fmt.Errorf("set neighbour %v of %s: %w", want, p.cfg.Link, err)
	}
	return append(changes, fmt.Sprintf("neighbour %v lladdr %v dev %s set", want, p.cfg.NextHop, p.cfg.Link)), nil
}

// neighbours are the permanent ones with the next hop's hardware address.
func (p *Part) neighbours(h *netlink.Handle, link netlink.Link) ([]netlink.Neigh, error) {
	list, err := h.NeighList(link.Attrs().Index, netlink.FAMILY_V4)
	if err != nil {
		return nil, fmt.Errorf("list neighbours of %s: %w", p.cfg.Link, err)
	}
	var ours []netlink.Neigh
	for _, n := range list {
		if n.State&netlink.NUD_PERMANENT != 0 && bytes.Equal(n.HardwareAddr, p.cfg.NextHop) {
			ours = append(ours, n)
		}
	}
	return ours, nil
}

// Watch calls notify when the gateway link, or a route, address or neighbour over it,
// changes.
func (p *Part) Watch(ctx context.Context, notify func()) error {
	return tunnelns.KeepWatching(ctx, p.cfg.Log, func(ctx context.Context) error {
		return p.cfg.Node.Listen(ctx, unix.NETLINK_ROUTE, tunnelns.RouteGroups, func(e tunnelns.Event) {
			if p.concerns(e) {
				notify()
			}
		})
	})
}

// concerns leaves out pods' links, and neighbours that the kernel learns and forgets.
func (p *Part) concerns(e tunnelns.Event) bool {
	switch e.Type {
	case unix.RTM_NEWLINK, unix.RTM_DELLINK:
		return e.LinkName() == p.cfg.Link
	case unix.RTM_NEWNEIGH, unix.RTM_DELNEIGH:
		return bytes.Contains(e.Data, p.cfg.NextHop)
	}
	return true
}

// Remove takes routes and neighbour away. Without the link there are none.
func (p *Part) Remove(context.Context) error {
	h, err := p.cfg.Node.Netlink()
	if err != nil {
		return err
	}
	defer h.Close()
	link, err := h.LinkByName(p.cfg.Link)
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("find link %s: %w", p.cfg.Link, err)
	}
	_, err = tunnelns.SyncRoutes(h, link, nil)
	_, nerr := p.syncNeighbour(h, link, netip.Addr{})
	return errors.Join(err, nerr)
}
