package tunnelns

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/mdlayher/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// NfTables is the multicast group of rule-set changes (NFNLGRP_NFTABLES).
const NfTables = 7

// RouteGroups are the multicast groups of links, addresses, neighbours and routes.
var RouteGroups = []uint32{
	unix.RTNLGRP_LINK, unix.RTNLGRP_NEIGH,
	unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV4_ROUTE,
	unix.RTNLGRP_IPV6_IFADDR, unix.RTNLGRP_IPV6_ROUTE,
}

// Event is one kernel notification, as it came.
type Event struct {
	Type uint16 // e.g. unix.RTM_NEWLINK; message type of the netlink family
	Data []byte
}

// Listen calls event for each notification of the groups of a netlink family in the
// namespace, until ctx ends. It begins with an event of type 0, as something may have
// changed before, and makes good for notifications that were lost (a full buffer) by
// another. The open socket keeps the namespace from being destroyed: see WhileSame.
func (n Namespace) Listen(ctx context.Context, family int, groups []uint32, event func(Event)) error {
	conn, err := n.dial(family, groups)
	if err != nil {
		return err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	event(Event{})
	for {
		msgs, err := conn.Receive()
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, unix.ENOBUFS):
			event(Event{})
		case err != nil:
			return fmt.Errorf("read kernel events in %v: %w", n, err)
		}
		for _, m := range msgs {
			event(Event{Type: uint16(m.Header.Type), Data: m.Data})
		}
	}
}

func (n Namespace) dial(family int, groups []uint32) (*netlink.Conn, error) {
	cfg := &netlink.Config{}
	if n.path != "" {
		h, err := netns.GetFromPath(n.path)
		if err != nil {
			return nil, fmt.Errorf("open %v: %w", n, err)
		}
		defer h.Close()
		cfg.NetNS = int(h)
	}
	conn, err := netlink.Dial(family, cfg)
	if err != nil {
		return nil, fmt.Errorf("listen to kernel events in %v: %w", n, err)
	}
	for _, g := range groups {
		if err := conn.JoinGroup(g); err != nil {
			conn.Close()
			return nil, fmt.Errorf("join netlink group %d in %v: %w", g, n, err)
		}
	}
	_ = conn.SetReadBuffer(1 << 20) // best effort: losses are noticed anyway
	return conn, nil
}
