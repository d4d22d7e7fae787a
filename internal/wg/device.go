package wg

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"

	"github.com/sdn-tunnel/sdn-tunnel/internal/mesh"
	"github.com/sdn-tunnel/sdn-tunnel/internal/tunnelns"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// errNoKernel: this kernel has no WireGuard.
var errNoKernel = errors.New("the kernel has no WireGuard; install or load the module wireguard, or allow the userspace implementation")

// syncDevice makes the interface if there is none of the right kind.
func (p *Part) syncDevice(mtu int) ([]string, error) {
	h, err := p.cfg.Namespace.Netlink()
	if err != nil {
		return nil, err
	}
	defer h.Close()
	link, err := h.LinkByName(p.cfg.Link)
	switch {
	case errors.As(err, &netlink.LinkNotFoundError{}):
	case err != nil:
		return nil, fmt.Errorf("find %s: %w", p.cfg.Link, err)
	case link.Type() == "wireguard" && p.cfg.Mode != Userspace:
		p.closeUser()
		p.impl = KernelWireGuard
		return nil, nil
	case link.Type() != "wireguard" && p.user.alive() && p.cfg.Mode != Kernel:
		return nil, nil
	case link.Type() != "wireguard" && p.user == nil:
		return nil, fmt.Errorf("%s in %v belongs to another process; is another agent running on this node?", p.cfg.Link, p.cfg.Namespace)
	case link.Type() == "wireguard":
		if err := h.LinkDel(link); err != nil {
			return nil, fmt.Errorf("delete the kernel's %s: %w", p.cfg.Link, err)
		}
	}
	p.closeUser()
	return p.makeDevice(mtu)
}

func (p *Part) makeDevice(mtu int) ([]string, error) {
	if p.cfg.Mode != Userspace {
		err := p.makeKernel()
		if err == nil {
			p.impl = KernelWireGuard
			return []string{p.cfg.Link + " made (kernel)"}, nil
		}
		if p.cfg.Mode == Kernel || !errors.Is(err, errNoKernel) {
			return nil, err
		}
	}
	user, err := startUser(p.cfg, mtu)
	if err != nil {
		return nil, err
	}
	p.user, p.impl = user, UserspaceWireGuard
	return []string{p.cfg.Link + " made (userspace)"}, nil
}

// makeKernel makes the interface in the node's namespace, where its UDP socket then
// stays, and moves it into the tunnel's.
func (p *Part) makeKernel() error {
	node, err := p.cfg.Node.Netlink()
	if err != nil {
		return err
	}
	defer node.Close()
	if left, err := node.LinkByName(p.cfg.Link); err == nil { // an earlier process died halfway
		if err := node.LinkDel(left); err != nil {
			return fmt.Errorf("delete leftover %s in %v: %w", p.cfg.Link, p.cfg.Node, err)
		}
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name = p.cfg.Link
	link := &netlink.Wireguard{LinkAttrs: attrs}
	if err := node.LinkAdd(link); err != nil {
		if errors.Is(err, unix.EOPNOTSUPP) {
			return errNoKernel
		}
		return fmt.Errorf("make %s: %w", p.cfg.Link, err)
	}
	ns, err := netns.GetFromPath(p.cfg.Namespace.Path())
	if err == nil {
		defer ns.Close()
		err = node.LinkSetNsFd(link, int(ns))
	}
	if err != nil {
		return errors.Join(fmt.Errorf("move %s into %v: %w", p.cfg.Link, p.cfg.Namespace, err), node.LinkDel(link))
	}
	return nil
}

// syncLink sets the interface up, and routes what belongs to the other members over it.
func (p *Part) syncLink(dp mesh.DataPlane, mtu int) ([]string, error) {
	h, err := p.cfg.Namespace.Netlink()
	if err != nil {
		return nil, err
	}
	defer h.Close()
	link, err := h.LinkByName(p.cfg.Link)
	if err != nil {
		return nil, fmt.Errorf("find %s: %w", p.cfg.Link, err)
	}
	var changes []string
	if link.Attrs().MTU != mtu {
		if err := h.LinkSetMTU(link, mtu); err != nil {
			return changes, fmt.Errorf("set MTU %d of %s: %w", mtu, p.cfg.Link, err)
		}
		changes = append(changes, fmt.Sprintf("%s: mtu %d set", p.cfg.Link, mtu))
	}
	if link.Attrs().Flags&net.FlagUp == 0 {
		if err := h.LinkSetUp(link); err != nil {
			return changes, p.explain(fmt.Errorf("set %s up: %w", p.cfg.Link, err), dp.ListenPort)
		}
		changes = append(changes, p.cfg.Link+": up")
	}
	if err := p.user.up(); err != nil {
		return changes, p.explain(fmt.Errorf("open the socket of %s: %w", p.cfg.Link, err), dp.ListenPort)
	}
	routed, err := tunnelns.SyncRoutes(h, link, routes(dp))
	return append(changes, routed...), err
}

func routes(dp mesh.DataPlane) []tunnelns.Route {
	var rs []tunnelns.Route
	for _, dst := range slices.Concat(dp.Remote, dp.RemoteTunnel) {
		r := tunnelns.Route{Dst: dst}
		if tunnelns.SameFamily(dst.Addr(), dp.TunnelAddress) {
			r.Source = dp.TunnelAddress
		}
		rs = append(rs, r)
	}
	return rs
}

func (p *Part) closeUser() {
	p.user.close()
	p.user = nil
}

// Close ends the userspace implementation, if it is in use; the kernel's goes on.
func (p *Part) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closeUser()
	return nil
}

// Remove takes the interface away, wherever an earlier process left it. The key stays:
// it is the node's.
func (p *Part) Remove(context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closeUser()
	p.applied = false
	var errs []error
	for _, ns := range []tunnelns.Namespace{p.cfg.Node, p.cfg.Namespace} {
		if ns.Exists() {
			errs = append(errs, tunnelns.DeleteLink(ns, p.cfg.Link))
		}
	}
	return errors.Join(errs...)
}
