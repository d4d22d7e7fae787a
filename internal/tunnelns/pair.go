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
			if IsPair(node, p.cfg.Outside, inside, p.cfg.Inside) {
				return nil
			}
			attrs := netlink.NewLinkAttrs()
			attrs.Name, attrs.MTU = p.cfg.Outside, size
			pair := &netlink.Veth{LinkAttrs: attrs, PeerName: p.cfg.Inside, PeerMTU: uint32(size), PeerHardwareAddr: InsideMAC}
			if err := MakePair(node, inside, p.cfg.Namespace, pair); err != nil {
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
		want LinkState
	}{{p.cfg.Namespace, p.cfg.Inside, LinkState{InsideMAC, true, size}}, {p.cfg.Node, p.cfg.Outside, LinkState{MTU: size}}} {
		err := end.ns.with(func(h *netlink.Handle) error {
			done, err := SyncLink(h, end.name, end.want)
			changes = append(changes, done...)
			return err
		})
		if err != nil {
			return changes, err
		}
	}
	return changes, nil
}

// IsPair tells whether both ends are there and belong to each other; an end whose other
// one is in a namespace that was deleted, but is still held open, does not.
func IsPair(near *netlink.Handle, name string, far *netlink.Handle, peer string) bool {
	out, err1 := near.LinkByName(name)
	in, err2 := far.LinkByName(peer)
	return err1 == nil && err2 == nil &&
		out.Attrs().ParentIndex == in.Attrs().Index && in.Attrs().ParentIndex == out.Attrs().Index
}

// MakePair makes a pair whose far end is in the namespace into; ends of those names that
// were there are deleted.
func MakePair(near, far *netlink.Handle, into Namespace, pair *netlink.Veth) error {
	if err := errors.Join(deleteLink(near, pair.Name), deleteLink(far, pair.PeerName)); err != nil {
		return err
	}
	ns, err := netns.GetFromPath(into.path)
	if err != nil {
		return fmt.Errorf("open %v: %w", into, err)
	}
	defer ns.Close()
	pair.PeerNamespace = netlink.NsFd(int(ns))
	if err := near.LinkAdd(pair); err != nil {
		return fmt.Errorf("make veth pair %s-%s: %w", pair.PeerName, pair.Name, err)
	}
	return nil
}

// LinkState is what a link is to be besides up; what is zero is left as it is.
type LinkState struct {
	MAC   net.HardwareAddr
	NoARP bool
	MTU   int
}

// SyncLink makes a link so, and sets it up.
func SyncLink(h *netlink.Handle, name string, want LinkState) (changes []string, err error) {
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
	if want.MAC != nil && !bytes.Equal(a.HardwareAddr, want.MAC) {
		err = errors.Join(err, did("hardware address", h.LinkSetHardwareAddr(link, want.MAC)))
	}
	if want.NoARP && a.RawFlags&unix.IFF_NOARP == 0 {
		err = errors.Join(err, did("arp off", h.LinkSetARPOff(link)))
	}
	if want.MTU > 0 && a.MTU != want.MTU {
		err = errors.Join(err, did(fmt.Sprintf("mtu %d", want.MTU), h.LinkSetMTU(link, want.MTU)))
	}
	if a.Flags&net.FlagUp == 0 {
		err = errors.Join(err, did("up", h.LinkSetUp(link)))
	}
	return changes, err
}
