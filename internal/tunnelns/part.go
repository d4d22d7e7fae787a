package tunnelns

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"

	"github.com/sdn-tunnel/sdn-tunnel/internal/mesh"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Names of what the agent makes on a node.
const (
	DefaultPath    = "/run/netns/sdn-tunnel"
	DefaultInside  = "sdntun0"
	DefaultOutside = "sdntun1"
	DefaultPodLink = "tun0"
)

// InsideMAC is the hardware address of the veth end in the namespace. It is the same
// on every node and for ever, so that flows and neighbours that name it stay right
// when the pair is made again; it is only ever seen on that pair.
var InsideMAC = net.HardwareAddr{0x02, 's', 'd', 'n', 't', '0'}

// Config says where the namespace is and what its links are called. Zero values give
// the defaults.
type Config struct {
	Namespace Namespace // default: At(DefaultPath)
	Node      Namespace // the node's; default: the process's own
	// Inside and Outside are the ends of the veth pair.
	Inside, Outside string
	// PodLink is the node's link to its pods; its MTU is the pods'.
	PodLink string
	// MTU caps the tunnel's; 0: nothing does.
	MTU int
	// UserspaceDatapath tells, asked at each Apply, whether the switch that Outside is
	// plugged into runs in user space: it reads packets as they are, so checksums and
	// segmentation must not be left to hardware. nil: no.
	UserspaceDatapath func() bool
	Log               *slog.Logger
}

func (c Config) withDefaults() Config {
	if c.Namespace == (Namespace{}) {
		c.Namespace = At(DefaultPath)
	}
	if c.Inside == "" {
		c.Inside = DefaultInside
	}
	if c.Outside == "" {
		c.Outside = DefaultOutside
	}
	if c.PodLink == "" {
		c.PodLink = DefaultPodLink
	}
	if c.UserspaceDatapath == nil {
		c.UserspaceDatapath = func() bool { return false }
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

// Part keeps the namespace and what is in it, without the WireGuard interface.
type Part struct {
	cfg   Config
	rules []rule // of the last load; Apply's alone
	table string // what nft showed of it

	mu     sync.Mutex
	mtu    MTU
	looked map[int]bool // the node's links, by index, that the MTU was read from
}

// New checks the configuration; it touches nothing.
func New(c Config) (*Part, error) {
	c = c.withDefaults()
	if c.Namespace.path == c.Node.path {
		return nil, errors.New("the tunnel's namespace cannot be the node's own")
	}
	for _, name := range []string{c.Inside, c.Outside} {
		if len(name) > 15 {
			return nil, fmt.Errorf("link name %q: at most 15 bytes", name)
		}
	}
	return &Part{cfg: c}, nil
}

// Name is the part's name in logs and metrics.
func (*Part) Name() string { return "namespace" }

// MTU is what the last Apply measured.
func (p *Part) MTU() MTU {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mtu
}

// Apply makes the namespace and everything of this part in it equal to dp.
func (p *Part) Apply(ctx context.Context, dp mesh.DataPlane) ([]string, error) {
	mtu, changes, err := p.measure(dp)
	if err != nil {
		return nil, fmt.Errorf("measure the MTU: %w", err)
	}
	steps := []func() ([]string, error){
		p.syncNamespace,
		func() ([]string, error) { return p.syncPair(mtu) },
		func() ([]string, error) { return p.syncSysctls(dp) },
		func() ([]string, error) { return p.syncAddress(dp.TunnelAddress) },
		func() ([]string, error) { return p.syncRoutes(dp, mtu) },
		p.syncOffloads,
		func() ([]string, error) { return p.syncTable(ctx, dp) },
	}
	for _, step := range steps {
		done, err := step()
		changes = append(changes, done...)
		if err != nil {
			return changes, err
		}
	}
	return changes, nil
}

// measure reads the MTU. That it is another than before is a change, also where nothing of
// this part depends on it: the parts after this one have links and routes that do.
func (p *Part) measure(dp mesh.DataPlane) (m MTU, changes []string, err error) {
	m, looked, err := measureMTU(p.cfg.Node, dp.Peers, p.cfg.PodLink, p.cfg.MTU)
	if err != nil {
		return m, nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mtu != (MTU{}) && p.mtu != m {
		changes = append(changes, fmt.Sprintf("MTU of the underlay %d, tunnel %d, pods %d; was %d, %d, %d",
			m.Underlay, m.Tunnel, m.Pods, p.mtu.Underlay, p.mtu.Tunnel, p.mtu.Pods))
	}
	p.mtu, p.looked = m, looked
	return m, changes, nil
}

func (p *Part) syncNamespace() ([]string, error) {
	if p.cfg.Namespace.Exists() {
		return nil, nil
	}
	if err := p.cfg.Namespace.Create(); err != nil {
		return nil, err
	}
	return []string{p.cfg.Namespace.String() + " made"}, nil
}

// syncAddress puts the tunnel address on the loopback link: there it outlasts every
// other link, is answered whichever way a probe comes, and is what the kernel takes as
// the source of ICMP errors, as no other link has an address.
func (p *Part) syncAddress(want netip.Addr) (changes []string, err error) {
	err = p.cfg.Namespace.with(func(h *netlink.Handle) error {
		lo, err := h.LinkByName("lo")
		if err != nil {
			return fmt.Errorf("find lo in %v: %w", p.cfg.Namespace, err)
		}
		if lo.Attrs().Flags&net.FlagUp == 0 {
			if err := h.LinkSetUp(lo); err != nil {
				return fmt.Errorf("set lo up in %v: %w", p.cfg.Namespace, err)
			}
			changes = append(changes, "lo set up")
		}
		list, err := h.AddrList(lo, netlink.FAMILY_ALL)
		if err != nil {
			return fmt.Errorf("list addresses of lo: %w", err)
		}
		there := false
		for _, a := range list {
			switch have := addr(a.IP); {
			case have.IsLoopback():
			case have == want:
				there = true
			default:
				if err := h.AddrDel(lo, &a); err != nil {
					return fmt.Errorf("delete tunnel address %v: %w", have, err)
				}
				changes = append(changes, fmt.Sprintf("tunnel address %v deleted", have))
			}
		}
		if there || !want.IsValid() {
			return nil
		}
		host := ipNet(netip.PrefixFrom(want, want.BitLen()))
		if err := h.AddrAdd(lo, &netlink.Addr{IPNet: host}); err != nil {
			return fmt.Errorf("add tunnel address %v: %w", want, err)
		}
		changes = append(changes, fmt.Sprintf("tunnel address %v added", want))
		return nil
	})
	return changes, err
}

// syncRoutes leads the cluster's own pod networks back to the node.
func (p *Part) syncRoutes(dp mesh.DataPlane, mtu MTU) (changes []string, err error) {
	var want []Route
	for _, dst := range slices.Concat(dp.Local, dp.LocalPods) {
		r := Route{Dst: dst, MTU: mtu.Pods}
		if SameFamily(dst.Addr(), dp.TunnelAddress) {
			r.Source = dp.TunnelAddress
		}
		if !slices.Contains(want, r) {
			want = append(want, r)
		}
	}
	err = p.cfg.Namespace.with(func(h *netlink.Handle) error {
		link, err := h.LinkByName(p.cfg.Inside)
		if err != nil {
			return fmt.Errorf("find %s in %v: %w", p.cfg.Inside, p.cfg.Namespace, err)
		}
		changes, err = SyncRoutes(h, link, want)
		return err
	})
	return changes, err
}

// SameFamily tells whether b is a valid address of a's family.
func SameFamily(a, b netip.Addr) bool {
	return b.IsValid() && a.Is4() == b.Is4()
}

// Remove takes the pair and the namespace away.
func (p *Part) Remove(context.Context) error {
	err := DeleteLink(p.cfg.Node, p.cfg.Outside)
	return errors.Join(err, p.cfg.Namespace.Remove())
}

// DeleteLink deletes a link of a namespace; one that is not there is no error.
func DeleteLink(n Namespace, name string) error {
	return n.with(func(h *netlink.Handle) error { return deleteLink(h, name) })
}

func deleteLink(h *netlink.Handle, name string) error {
	link, err := h.LinkByName(name)
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		return nil
	}
	if err == nil {
		err = h.LinkDel(link)
	}
	// The end of a pair whose namespace has been deleted may go at this very moment.
	if err != nil && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("delete link %s: %w", name, err)
	}
	return nil
}
