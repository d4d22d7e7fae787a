package tunnelns

import (
	"bytes"
	"errors"
	"fmt"
	"net"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// syncPair makes the veth pair: as large as pods and underlay, so that whatever a pod sends
// gets as far as the namespace, where "too big" can be answered. A switch drops in silence
// what is larger than its port; and pods keep their MTU when the underlay's becomes smaller.
func (p *Part) syncPair(mtu MTU) (changes []string, err error) {
	size := max(mtu.Pods, mtu.Underlay)
	err = p.cfg.Node.with(func(node *netlink.Handle) error {
		return p.cfg.Namespace.with(func(inside *netlink.Handle) error {
			if p.isPair(node, inside) {
				return nil
			}
			if err := p.makePair(node, inside, size); err != nil {
				return err
			}
			changes = append(changes, fmt.Sprintf("veth pair %s-%s made", p.cfg.Inside, p.cfg.Outside))
			return nil
		})
	})
	if err != nil {
		return changes, err
	}
	for _, end := range []struct {
		ns   Namespace
		name string
		noop bool
	}{{p.cfg.Namespace, p.cfg.Inside, true}, {p.cfg.Node, p.cfg.Outside, false}} {
		err := end.ns.with(func(h *netlink.Handle) error {
			done, err := syncLink(h, end.name, size, end.noop)
			changes = append(changes, done...)
			return err
		})
		if err != nil {
			return changes, err
		}
	}
	return changes, nil
}

// isPair tells whether both ends are there and belong to each other; the outer end of
// a namespace that was deleted, but is still held open, does not.
func (p *Part) isPair(node, inside *netlink.Handle) bool {
	out, err1 := node.LinkByName(p.cfg.Outside)
	in, err2 := inside.LinkByName(p.cfg.Inside)
	return err1 == nil && err2 == nil &&
		out.Attrs().ParentIndex == in.Attrs().Index && in.Attrs().ParentIndex == out.Attrs().Index
}

func (p *Part) makePair(node, inside *netlink.Handle, mtu int) error {
	if err := errors.Join(deleteLink(node, p.cfg.Outside), deleteLink(inside, p.cfg.Inside)); err != nil {
		return err
	}
	ns, err := netns.GetFromPath(p.cfg.Namespace.path)
	if err != nil {
		return fmt.Errorf("open %v: %w", p.cfg.Namespace, err)
	}
	defer ns.Close()
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU = p.cfg.Outside, mtu
	err = node.LinkAdd(&netlink.Veth{
		LinkAttrs: attrs, PeerName: p.cfg.Inside, PeerMTU: uint32(mtu),
		PeerHardwareAddr: InsideMAC, PeerNamespace: netlink.NsFd(int(ns)),
	})
	if err != nil {
		return fmt.Errorf("make veth pair %s-%s: %w", p.cfg.Inside, p.cfg.Outside, err)
	}
	return nil
}

// syncLink makes an end's MTU, and of the inner end (fixed) the hardware address and
// "arp off" too, as they should be, and sets it up.
func syncLink(h *netlink.Handle, name string, mtu int, fixed bool) (changes []string, err error) {
	link, err := h.LinkByName(name)
	if err != nil {
		return nil, fmt.Errorf("find link %s: %w", name, err)
	}
	a := link.Attrs()
	did := func(what string, err error) error {
		if err != nil {
			return fmt.Errorf("set %s of %s: %w", what, name, err)
		}
		changes = append(changes, fmt.Sprintf("%s: %s set", name, what))
		return nil
	}
	if fixed && !bytes.Equal(a.HardwareAddr, InsideMAC) {
		err = errors.Join(err, did("hardware address", h.LinkSetHardwareAddr(link, InsideMAC)))
	}
	if fixed && a.RawFlags&unix.IFF_NOARP == 0 {
		err = errors.Join(err, did("arp off", h.LinkSetARPOff(link)))
	}
	if a.MTU != mtu {
		err = errors.Join(err, did(fmt.Sprintf("mtu %d", mtu), h.LinkSetMTU(link, mtu)))
	}
	if a.Flags&net.FlagUp == 0 {
		err = errors.Join(err, did("up", h.LinkSetUp(link)))
	}
	return changes, err
}
